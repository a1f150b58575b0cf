// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ledger under deliberate overload: what was asked is what was told, plus what is counted as lost. Exactly.

use std::time::Duration;

use anyhow::{Context as _, Result};
use onlooker_tests::{Ledger, Load, Onlooker, PATIENCE, ServerProcess, Span};

use crate::alone;

/// Longer than a span takes, shorter than patience: its end is no failure here.
const HALF_SECOND: Duration = Duration::from_millis(500);

/// Exchanges of which nothing can be told, by whoever noticed.
fn lost(ledger: &Ledger) -> u64 {
    let incomplete = |reason| ledger.total_of("onlooker_exchanges_incomplete_total", &[("reason", reason)]);
    // Requests of which nothing but the beginning was seen, and not even their connection's end, are open at the end.
    let noticed = incomplete("records_lost") + incomplete("watching_stopped");
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
    let mut asked = first.answered + second.answered;
    assert_eq!(asked, 2 * REQUESTS);
    // Once the ring is empty again, nothing more is lost.
    let mut ask_alone = |name: String, patience| -> Result<bool> {
        Load::new(server.address(), 1, 1, false).prefix(&name).run()?;
        asked += 1;
        let is_it = |span: &Span| span.text("url.path").is_some_and(|path| path.starts_with(&name));
        Ok(onlooker.wait_spans(|spans| spans.iter().any(is_it), patience).is_ok())
    };
    let mut tries = 0..40;
    while !ask_alone(format!("/losses/try/{}/", tries.next().context("the ring is never empty")?), HALF_SECOND)? {}
    for number in 0..5 {
        assert!(ask_alone(format!("/losses/after/{number}/"), PATIENCE)?, "a request alone was lost");
    }
    let finished = onlooker.stop()?;
    let ledger = &finished.ledger;
    assert_eq!(ledger.total("onlooker_spans_total") + lost(ledger), asked, "requests = spans + losses\n{ledger:#?}");
    // One that runs may keep up, on a machine of one processor.
    assert!(!stall || lost(ledger) > 0, "the ring was large enough: nothing was provoked\n{ledger:#?}");
    ledger.assert_conserved("stdout");
    assert_eq!(finished.spans.len() as u64, ledger.exported("stdout"));
    let mut paths: Vec<&str> = finished.spans.iter().filter_map(|span| span.text("url.path")).collect();
    paths.sort_unstable();
    let told = paths.len();
    paths.dedup();
    assert_eq!(paths.len(), told, "no request is told twice");
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
