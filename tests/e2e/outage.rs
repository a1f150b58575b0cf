// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The collector goes away and comes back: memory stays flat, what is dropped is counted, delivery resumes by itself.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use onlooker_tests::{Load, PATIENCE};

use crate::{Protocol, Stage};

/// Back-off may have grown to seconds when the collector returns.
const RECOVERY: Duration = Duration::from_secs(60);

/// What buffers, batches and the allocator may move by; a queue that grows with the load would pass it.
const STEADY_BYTES: u64 = 8 << 20;

fn check(protocol: Protocol) -> Result<()> {
    const QUEUE: u64 = 1_000;
    let queue = QUEUE.to_string();
    let mut stage = Stage::set(
        protocol,
        &[("OTEL_BSP_MAX_QUEUE_SIZE", queue.as_str()), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "200")],
    )?;
    let load = |prefix: &str, requests| Load::new(stage.server.address(), 20, requests, true).prefix(prefix).run();

    load("/before/", 500)?;
    stage.collector.wait_count(500, PATIENCE)?;
    stage.collector.stop()?;

    load("/during/", 10_000)?;
    stage.onlooker.wait_ledger(|ledger| ledger.total("onlooker_spans_total") == 10_500, PATIENCE)?;
    let full = stage.onlooker.memory_bytes("VmRSS")?;
    load("/during/more/", 20_000)?;
    let ledger = stage.onlooker.wait_ledger(|ledger| ledger.total("onlooker_spans_total") == 30_500, PATIENCE)?;
    assert!(ledger.dropped("otlp") >= 30_000 - 2 * QUEUE, "the queue is bounded\n{ledger:#?}");
    let later = stage.onlooker.memory_bytes("VmRSS")?;
    assert!(later < full + STEADY_BYTES, "memory grew from {full} to {later} with the collector down");

    stage.collector.restart()?;
    // All that waited is delivered or given up before more comes, so that the queue has room for it.
    stage.onlooker.wait_ledger(|ledger| ledger.is_conserved("otlp"), RECOVERY)?;
    load("/after/", 500)?;
    let at_rest =
        |ledger: &onlooker_tests::Ledger| ledger.total("onlooker_spans_total") == 31_000 && ledger.is_conserved("otlp");
    stage.onlooker.wait_ledger(at_rest, RECOVERY)?;

    let finished = stage.onlooker.stop()?;
    assert!(finished.status.success(), "{}", finished.stderr);
    stage.collector.stop()?;
    let received = stage.collector.received()?;
    finished.ledger.assert_conserved("otlp");
    assert_eq!(received.len() as u64, finished.ledger.exported("otlp"), "delivered is what arrived");

    let paths: BTreeSet<&str> = received.iter().filter_map(|span| span.text("url.path")).collect();
    assert_eq!(paths.len(), received.len(), "nothing arrived twice");
    for phase in ["/before/", "/after/"] {
        assert_eq!(paths.iter().filter(|path| path.starts_with(phase)).count(), 500, "{phase}");
    }
    Ok(())
}

#[test]
fn grpc_collector_stops_and_starts_again() -> Result<()> {
    check(Protocol::Grpc)
}

#[test]
fn http_collector_stops_and_starts_again() -> Result<()> {
    check(Protocol::Http)
}
