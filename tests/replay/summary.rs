// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Spans as a text that a person can compare with what a client saw: a line each, and the counters that tell of losses.
//!
//! Left out: ids, times, ports and everything else that differs between two recordings of one scenario. A carried trace id
//! is no accident and stays.

use std::fmt::Write as _;

use onlooker_tests::{Ledger, Span};

/// Attributes in the order of a line, with the word that stands for each.
const ATTRIBUTES: [(&str, &str); 12] = [
    ("http.response.status_code", "status"),
    ("http.request.body.size", "sent"),
    ("http.response.body.size", "received"),
    ("network.protocol.version", "http"),
    ("network.transport", "transport"),
    ("server.address", "server"),
    ("user_agent.original", "agent"),
    ("url.query", "query"),
    ("url.full", "url"),
    ("http.request.method_original", "method"),
    ("error.type", "error"),
    ("onlooker.partial", "partial"),
];

/// Counters that say that something was not understood, or lost.
const TROUBLES: [&str; 4] = [
    "onlooker_exchanges_incomplete_total",
    "onlooker_message_problems_total",
    "onlooker_connections_dropped_total",
    "onlooker_parents_ambiguous_total",
];

pub fn of(spans: &[Span], ledger: &Ledger) -> String {
    let mut spans: Vec<&Span> = spans.iter().collect();
    spans.sort_by_key(|span| (span.start_unix_nanos, span.kind == "SERVER"));
    let mut text = String::new();
    for (number, span) in spans.iter().enumerate() {
        let _ = write!(text, "{number:2} {} {} {}", span.service().unwrap_or("-"), span.kind, span.name);
        let _ = write!(text, " {}", span.text("url.path").unwrap_or("-"));
        let parent = spans.iter().position(|other| other.span_id == span.parent_span_id);
        match parent {
            Some(parent) => {
                assert_eq!(spans[parent].trace_id, span.trace_id, "a parent is of the same trace");
                let _ = write!(text, " parent={parent}");
            }
            None if !span.parent_span_id.is_empty() => {
                let _ = write!(text, " remote={}/{}", span.trace_id, span.parent_span_id);
            }
            None => {}
        }
        for (key, word) in ATTRIBUTES {
            if let Some(value) = span.attributes.get(key) {
                let _ = write!(text, " {word}={}", value.to_string().trim_matches('"'));
            }
        }
        text.push_str(if span.is_error { " ERROR\n" } else { "\n" });
    }
    for family in TROUBLES {
        let total = ledger.total(family);
        if total != 0 {
            let _ = writeln!(text, "{family} {total}");
        }
    }
    text
}
