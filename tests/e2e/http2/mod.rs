// SPDX-License-Identifier: Apache-2.0 OR MIT
//! HTTP/2 and gRPC between real programs, both ends watched: what each has done is what must be told, span by span.
//!
//! In: clients and servers in the languages that this machine has, started as processes. A program that is not there is
//! named and skipped; a package that cannot be fetched is a failure.

mod conformance;
mod counts;
mod download;
mod floods;
mod packages;
mod shops;
mod web;
mod web_calls;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Finished, Onlooker, PATIENCE, Span};

use crate::peer::Peer;

/// Watches these processes and nothing else. They were started before, and have not spoken yet.
fn watch(peers: &[&Peer]) -> Result<Onlooker> {
    let pids: Vec<String> = peers.iter().map(|peer| peer.pid().to_string()).collect();
    Onlooker::start(&["--pid", &pids.join(",")], &[])
}

/// Waits for as many spans, stops, and checks what must always hold: nothing was lost, nothing else came, and every server
/// span that was asked for by a watched client hangs below that client's span.
fn finish(mut onlooker: Onlooker, expected: usize) -> Result<Finished> {
    // Too few is told below, and better: which ones.
    let _ = onlooker.wait_spans(|spans| spans.len() >= expected, PATIENCE);
    let finished = onlooker.stop()?;
    ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
    assert_eq!(finished.spans.len(), expected, "{}\n{}", outline(&finished.spans), finished.stderr);
    assert_eq!(finished.ledger.total("onlooker_kernel_records_lost_total"), 0, "{}", finished.stderr);
    finished.ledger.assert_conserved("stdout");
    Ok(finished)
}

/// Each client span with the server span of the same exchange, which is its child.
fn pairs(spans: &[Span]) -> Result<Vec<(&Span, &Span)>> {
    let clients = spans.iter().filter(|span| span.kind == "CLIENT").map(|span| (span.span_id.as_str(), span));
    let mut clients: BTreeMap<&str, &Span> = clients.collect();
    let mut pairs = Vec::new();
    for server in spans.iter().filter(|span| span.kind == "SERVER") {
        let client = clients
            .remove(server.parent_span_id.as_str())
            .with_context(|| format!("a server span that is no client span's only child: {server:?}"))?;
        ensure!(client.parent_span_id.is_empty(), "nobody asked the client: {client:?}");
        ensure!(client.trace_id == server.trace_id && client.name == server.name, "{client:?}\n{server:?}");
        pairs.push((client, server));
    }
    ensure!(clients.is_empty(), "client spans without a server span: {clients:?}");
    Ok(pairs)
}

/// Spans that a failure shows. More hide what else it says.
const OUTLINED: usize = 12;

/// A line for each span, of the first ones.
fn outline(spans: &[Span]) -> String {
    let line = |span: &Span| format!("{} {} {:?}\n", span.kind, span.name, span.attributes);
    spans.iter().take(OUTLINED).map(line).collect()
}
