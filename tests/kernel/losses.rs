// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ledger under deliberate overload: what was asked is what was told, plus what is counted as lost. Exactly.

use anyhow::Result;
use onlooker_tests::{Ledger, Load, Onlooker, PATIENCE, ServerProcess, Span};

use crate::alone;

/// Exchanges of which nothing can be told, by whoever noticed.
fn lost(ledger: &Ledger) -> u64 {
    let noticed = ledger.total_of("onlooker_exchanges_incomplete_total", &[("reason", "records_lost")]);
    let unreported = ledger.total_of("onlooker_kernel_records_lost_total", &[("reason", "exchanges_unreported")]);
    noticed + unreported
}

/// `stall` stops the daemon while the load runs, so that the ring is full for most of it.
fn check(connections: usize, keep_alive: bool, stall: bool) -> Result<()> {
    const REQUESTS: u64 = 5_000;
    let _alone = alone();
    let server = ServerProcess::start()?;
    let pid = server.pid().to_string();
    // The queue to stdout is not what is to overflow here.
    let mut onlooker =
        Onlooker::start(&["--pid", &pid, "--ring-size", "4KiB"], &[("OTEL_BSP_MAX_QUEUE_SIZE", "20000")])?;
    let load = |name: &str| Load::new(server.address(), connections, REQUESTS, keep_alive).prefix(name).run();
    let first = load("/losses/flood/")?;
    if stall {
        onlooker.signal(libc::SIGSTOP)?;
    }
    let second = load("/losses/stalled/")?;
    onlooker.signal(libc::SIGCONT)?;
    let asked = first.answered + second.answered;
    assert_eq!(asked, 2 * REQUESTS);
    // What follows the flood is whole again.
    let after = Load::new(server.address(), 1, 10, false).prefix("/losses/after/").run()?.answered;
    // What was lost of connections that were never announced is known at the end.
    let is_last = |span: &Span| span.text("url.path") == Some("/losses/after/9");
    onlooker.wait_spans(|spans| spans.iter().any(is_last), PATIENCE)?;
    let finished = onlooker.stop()?;
    let ledger = &finished.ledger;
    assert_eq!(
        ledger.total("onlooker_spans_total") + lost(ledger),
        asked + after,
        "requests = spans + losses\n{ledger:#?}"
    );
    assert!(lost(ledger) > 0, "the ring was large enough: nothing was provoked\n{ledger:#?}");
    ledger.assert_conserved("stdout");
    assert_eq!(finished.spans.len() as u64, ledger.exported("stdout"));
    let mut paths: Vec<&str> = finished.spans.iter().filter_map(|span| span.text("url.path")).collect();
    paths.sort_unstable();
    let told = paths.len();
    paths.dedup();
    assert_eq!(paths.len(), told, "no request is told twice");
    for number in 0..after {
        assert!(paths.binary_search(&format!("/losses/after/{number}").as_str()).is_ok(), "the ring has room again");
    }
    Ok(())
}

#[test]
fn a_flood_over_kept_connections() -> Result<()> {
    check(50, true, false)
}

#[test]
fn a_flood_of_connections() -> Result<()> {
    check(20, false, false)
}

#[test]
fn a_daemon_that_stands_still() -> Result<()> {
    check(50, true, true)
}

#[test]
fn a_daemon_that_stands_still_while_connections_come_and_go() -> Result<()> {
    check(20, false, true)
}
