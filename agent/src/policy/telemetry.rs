// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Spans that tell of telemetry on its way: an SDK that exports its own, a collector that passes on what it was given.
//!
//! In: a span. Out: whether the exchange was an export over OTLP. Such spans do not leave: a collector that is watched
//! would be sent one for each that it sends on, for ever, and a service with an SDK would be told about its plumbing.
//! Does not: look at where it goes. Over HTTP the path alone proves nothing; the exporter must name itself as one, as the
//! OTLP specification asks for ("User Agent"). Bias: a span too many of an exporter that says nothing, none too few.

use crate::spans::{Span, Value};

/// gRPC: every service of OTLP, of which each has the one method `Export`.
const SERVICES: &str = "opentelemetry.proto.collector.";

/// HTTP: below whatever the endpoint has in front.
const PATHS: [&str; 3] = ["/v1/traces", "/v1/metrics", "/v1/logs"];

/// Of SDKs (`OTel-OTLP-Exporter-Python/1.45`; Go and PHP write spaces) and of collectors, in lower case.
const EXPORTERS: [&str; 4] = ["otel-otlp-exporter", "otel otlp exporter", "opentelemetry collector", "otelcol"];

#[must_use]
pub fn is_export(span: &Span) -> bool {
    // Nearly all spans are done with here.
    match &*span.name {
        "POST" => is_to_a_receiver(span) && names_an_exporter(span),
        method => method.starts_with(SERVICES),
    }
}

fn is_to_a_receiver(span: &Span) -> bool {
    let target = span.attribute("url.path").or_else(|| span.attribute("url.full"));
    let Some(Value::Text(target)) = target.as_deref() else { return false };
    let path = target.split(['?', '#']).next().unwrap_or(target);
    PATHS.iter().any(|end| path.ends_with(end))
}

fn names_an_exporter(span: &Span) -> bool {
    let agent = span.attribute("user_agent.original");
    let Some(Value::Text(agent)) = agent.as_deref() else { return false };
    let agent = agent.to_ascii_lowercase();
    EXPORTERS.iter().any(|name| agent.contains(name))
}
