// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One span for each answered request, no more and no fewer, at every concurrency and in both encodings.

use std::collections::BTreeSet;

use anyhow::Result;
use onlooker_tests::{Load, PATIENCE};

use crate::{Protocol, Stage};

fn check(protocol: Protocol, connections: usize, requests: u64, keep_alive: bool) -> Result<()> {
    // The queue is as long as the load: what is counted here is the way, not the queue's length.
    let mut stage = Stage::set(protocol, &[("OTEL_BSP_MAX_QUEUE_SIZE", "20000")])?;
    let report = Load::new(stage.server.address(), connections, requests, keep_alive).run()?;
    assert_eq!(report.answered, requests);

    stage.collector.wait_count(requests as usize, PATIENCE)?;
    let finished = stage.onlooker.stop()?;
    assert!(finished.status.success(), "{}", finished.stderr);
    stage.collector.stop()?;
    let received = stage.collector.received()?;

    let paths: BTreeSet<&str> = received.iter().filter_map(|span| span.text("url.path")).collect();
    let expected: Vec<String> = (0..requests).map(|number| format!("/{number}")).collect();
    assert_eq!(paths, expected.iter().map(String::as_str).collect(), "each request has its span");
    assert_eq!(received.len() as u64, requests, "and only one");
    for span in &received {
        assert_eq!((span.kind, span.integer("http.response.status_code")), ("SERVER", Some(200)), "{span:?}");
        assert_eq!(span.attributes.get("onlooker.partial"), None, "{span:?}");
    }
    let traces: BTreeSet<&str> = received.iter().map(|span| span.trace_id.as_str()).collect();
    assert_eq!(traces.len() as u64, requests, "no request belongs to another");

    let ledger = finished.ledger;
    assert_eq!(ledger.total("onlooker_spans_total"), requests, "{ledger:#?}");
    assert_eq!(ledger.exported("otlp"), requests, "{ledger:#?}");
    assert_eq!(ledger.total("onlooker_kernel_records_lost_total"), 0, "{ledger:#?}");
    ledger.assert_conserved("otlp");
    Ok(())
}

macro_rules! exact_counts {
    ($($name:ident: $protocol:ident, $connections:literal connections, $requests:literal requests, $keep_alive:literal;)*) => {
        $(
            #[test]
            fn $name() -> Result<()> {
                check(Protocol::$protocol, $connections, $requests, $keep_alive)
            }
        )*
    };
}

exact_counts! {
    grpc_one_connection: Grpc, 1 connections, 2_000 requests, true;
    grpc_50_connections: Grpc, 50 connections, 10_000 requests, true;
    grpc_500_connections: Grpc, 500 connections, 10_000 requests, true;
    grpc_one_at_a_time: Grpc, 1 connections, 1_000 requests, false;
    grpc_50_at_a_time: Grpc, 50 connections, 3_000 requests, false;
    grpc_500_at_a_time: Grpc, 500 connections, 3_000 requests, false;
    http_one_connection: Http, 1 connections, 2_000 requests, true;
    http_50_connections: Http, 50 connections, 10_000 requests, true;
    http_500_connections: Http, 500 connections, 10_000 requests, true;
    http_one_at_a_time: Http, 1 connections, 1_000 requests, false;
    http_50_at_a_time: Http, 50 connections, 3_000 requests, false;
    http_500_at_a_time: Http, 500 connections, 3_000 requests, false;
}
