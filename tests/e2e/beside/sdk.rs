// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A service with the SDK of OpenTelemetry in it, which sends its spans to the same collector: the two tell one story, and
//! the sending itself is not told.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Collector, Onlooker, PATIENCE, ServerProcess, Span, python_with_packages};

use super::{ask, context, source};
use crate::peer::Peer;

const REQUESTS: usize = 20;

/// Of each request: the SDK tells the front's two ends, Onlooker those and the store's.
const SPANS: usize = 5;

fn is_onlookers(span: &Span) -> bool {
    span.resource.get("telemetry.distro.name").and_then(|name| name.as_str()) == Some("onlooker")
}

/// The one span of this request by this teller.
fn the<'a>(spans: &[&'a Span], service: &str, kind: &str, by_onlooker: bool) -> Result<&'a Span> {
    let is_it = |span: &&&Span| {
        is_onlookers(span) == by_onlooker && span.kind == kind && span.service().unwrap_or_default().contains(service)
    };
    let mut found = spans.iter().filter(is_it);
    let span = found.next().with_context(|| format!("no {kind} span of {service}: {spans:#?}"))?;
    ensure!(found.next().is_none(), "several {kind} spans of {service}: {spans:#?}");
    Ok(span)
}

#[test]
fn the_sdk_of_a_service_and_onlooker_tell_one_trace() -> Result<()> {
    let Some(python) = python_with_packages(&source("sdk/requirements.txt"))? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let mut collector = Collector::start(folder.path(), None)?;
    let store = ServerProcess::start()?;
    let mut command = Command::new(python);
    command.arg(source("sdk/front.py")).args([store.address().to_string(), collector.http.to_string()]);
    let mut front = Peer::start(command.env("OTEL_SERVICE_NAME", "front").env("OTEL_BSP_SCHEDULE_DELAY", "600000"))?;
    let address = ([127, 0, 0, 1], front.port()?).into();
    let endpoint = format!("http://{}", collector.grpc);
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let pids = format!("{},{}", front.pid(), store.pid());
    let onlooker = Onlooker::start(&["--pid", &pids, "--print", "none"], &environment)?;

    for number in 0..REQUESTS {
        // The caller is not watched: its context is all that is known of it.
        ask(address, &format!("/{number}"), &context(number).2)?;
        front.order("send")?;
    }
    collector.wait_count(REQUESTS * SPANS, PATIENCE)?;
    let finished = onlooker.stop()?;
    collector.stop()?;
    let received = collector.received()?;
    ensure!(received.len() == REQUESTS * SPANS, "{} spans: {received:#?}", received.len());
    for number in 0..REQUESTS {
        let (trace, parent, _) = context(number);
        let spans: Vec<&Span> = received.iter().filter(|span| span.trace_id == trace).collect();
        let (served, called) = (the(&spans, "front", "SERVER", false)?, the(&spans, "front", "CLIENT", false)?);
        let (seen_served, seen_called) = (the(&spans, "front", "SERVER", true)?, the(&spans, "front", "CLIENT", true)?);
        let stored = the(&spans, "sample-server", "SERVER", true)?;
        // Both saw the caller's request. The call is the SDK's: its context is what both ends of it carry.
        let chain = [(served, &parent), (seen_served, &parent), (called, &served.span_id)];
        let on = [(seen_called, &called.span_id), (stored, &called.span_id)];
        for (span, parent) in chain.into_iter().chain(on) {
            ensure!(span.parent_span_id == *parent, "{span:#?} is not below {parent}: {spans:#?}");
        }
    }
    // One export each, at the exporter's end.
    let exports = finished.ledger.total_of("onlooker_spans_dropped_total", &[("reason", "telemetry")]);
    ensure!(exports == REQUESTS as u64, "{exports} exports: {}", finished.stderr);
    finished.ledger.assert_conserved("otlp");
    Ok(())
}
