// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many streams at once: each request comes back in exactly one server span and one client span, also where Onlooker
//! is started in the middle.
//!
//! `ONLOOKER_TEST_REQUESTS` says how many requests; CI makes a tenth of what the whole test is.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    process::Command,
};

use anyhow::{Context as _, Result};
use onlooker_tests::{Collector, Onlooker, PATIENCE, Span};

use super::pairs;
use crate::peer::Peer;

const CONNECTIONS: &str = "10";
const STREAMS: &str = "100";

/// Requests where nothing else is said: a tenth of 10 000 on each connection.
const REQUESTS: u64 = 10_000;

/// So many at once, and the next when their spans have been delivered: what is counted here is the way, and not how much
/// waits for a collector that is slower than the load.
const PORTION: u64 = 10_000;

fn requests() -> Result<u64> {
    env::var("ONLOOKER_TEST_REQUESTS").map_or(Ok(REQUESTS), |text| text.parse().context(text))
}

/// `before`: requests on the same connections before Onlooker is there.
fn check(before: u64) -> Result<()> {
    let requests = requests()?;
    let mut server = Peer::start(Command::new(env!("CARGO_BIN_EXE_http2-load")).arg("serve"))?;
    let port = server.port()?.to_string();
    let mut client =
        Peer::start(Command::new(env!("CARGO_BIN_EXE_http2-load")).args(["call", &port, CONNECTIONS, STREAMS]))?;
    if before > 0 {
        client.order(&format!("{requests} {before}"))?;
    }

    let folder = tempfile::tempdir()?;
    let mut collector = Collector::start(folder.path(), None)?;
    let endpoint = format!("http://{}", collector.grpc);
    let pids = format!("{},{}", server.pid(), client.pid());
    let queue = (2 * PORTION).to_string();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", &queue),
    ];
    let onlooker = Onlooker::start(&["--pid", &pids, "--print", "none"], &environment)?;
    for first in (0..requests).step_by(PORTION as usize) {
        let count = PORTION.min(requests - first);
        client.order(&format!("{first} {count}"))?;
        // What is missing is told below.
        let due = 2 * (first + count);
        let _ = onlooker.wait_ledger(|ledger| ledger.total("onlooker_spans_exported_total") >= due, PATIENCE);
    }
    client.end()?;
    let finished = onlooker.stop()?;
    collector.stop()?;
    assert_eq!(finished.ledger.total("onlooker_kernel_records_lost_total"), 0, "{}", finished.stderr);
    finished.ledger.assert_conserved("otlp");
    let spans = collector.received()?;
    for kind in ["SERVER", "CLIENT"] {
        let of_kind: Vec<&Span> = spans.iter().filter(|span| span.kind == kind).collect();
        assert_eq!(of_kind.len() as u64, requests, "{kind}: {}", finished.stderr);
        let paths: BTreeSet<&str> = of_kind.iter().filter_map(|span| path(span)).collect();
        let due: Vec<String> = (0..requests).map(|number| format!("/n/{number}")).collect();
        assert_eq!(paths, due.iter().map(String::as_str).collect(), "{kind}: each request, once");
    }
    let mut names = BTreeMap::<&str, u64>::new();
    for (client, server) in pairs(&spans)? {
        assert_eq!(path(client), path(server));
        for span in [client, server] {
            *names.entry(&span.name).or_default() += 1;
            let is_whole = !span.attributes.contains_key("onlooker.partial");
            assert!(is_whole || before > 0, "{span:?}");
            let status = span.integer("http.response.status_code");
            assert!(status == Some(200) || (!is_whole && status.is_none()), "{span:?}");
        }
    }
    println!("{requests} requests, {before} before: {names:?}");
    Ok(())
}

/// The server knows a path, the client an address.
fn path(span: &Span) -> Option<&str> {
    match span.kind {
        "SERVER" => span.text("url.path"),
        _ => span.text("url.full")?.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..])),
    }
}

#[test]
fn every_stream_is_told_once() -> Result<()> {
    check(0)
}

#[test]
fn every_stream_that_begins_after_the_start_is_told_once() -> Result<()> {
    check(1000)
}
