// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is written is read back by opentelemetry-proto's own types and compared field by field.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource as OtlpResource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status as OtlpStatus, TracesData},
};

use super::*;
use crate::{
    enrich::Resource,
    moment::WallTime,
    policy::released_for_tests,
    spans::{Attribute, Kind, Sampled, Span, SpanId, Status, TraceId, Value},
};

fn resource(id: u64, service: &'static str) -> Arc<Resource> {
    Arc::new(Resource { id, attributes: vec![Attribute { key: "service.name", value: Value::Text(service.into()) }] })
}

fn root() -> Span {
    Span {
        trace_id: TraceId([0xab; 16]),
        span_id: SpanId([1; 8]),
        parent: None,
        parent_is_remote: false,
        trace_state: None,
        sampled: Sampled::Undecided,
        kind: Kind::Server,
        name: "GET".into(),
        start: WallTime(1_700_000_000_123_456_789),
        end: WallTime(1_700_000_000_123_456_790),
        standing: None,
        client_port: 0,
        attributes: Vec::new(),
        status: Status::Unset,
        tgid: 1,
    }
}

fn call() -> Span {
    Span {
        span_id: SpanId([0xf0; 8]),
        parent: Some(SpanId([1; 8])),
        parent_is_remote: true,
        trace_state: Some("vendor=\"1\"".to_owned()),
        kind: Kind::Client,
        standing: None,
        client_port: 0,
        attributes: vec![
            Attribute { key: "text", value: Value::Text("a \"quoted\"\nline \u{1b}[0m ✓".into()) },
            Attribute { key: "integer", value: Value::Integer(i64::MIN) },
            Attribute { key: "boolean", value: Value::Boolean(true) },
            Attribute { key: "texts", value: Value::Texts(vec!["a".to_owned(), String::new()]) },
        ],
        status: Status::Error,
        ..root()
    }
}

fn line(spans: &[ReleasedSpan]) -> String {
    let mut line = Vec::new();
    write_line(&mut line, spans);
    String::from_utf8(line).unwrap()
}

fn text(text: &str) -> any_value::Value {
    any_value::Value::StringValue(text.to_owned())
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn expected(service: &str, spans: Vec<OtlpSpan>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(OtlpResource {
            attributes: vec![attribute("service.name", text(service))],
            ..OtlpResource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "onlooker".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            }),
            spans,
            schema_url: SCHEMA_URL.to_owned(),
        }],
        schema_url: SCHEMA_URL.to_owned(),
    }
}

fn expected_root() -> OtlpSpan {
    OtlpSpan {
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        flags: 0x101,
        name: "GET".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_123_456_789,
        end_time_unix_nano: 1_700_000_000_123_456_790,
        status: Some(OtlpStatus::default()),
        ..OtlpSpan::default()
    }
}

fn expected_call() -> OtlpSpan {
    let texts = [text("a"), text("")].map(|value| AnyValue { value: Some(value) });
    OtlpSpan {
        span_id: vec![0xf0; 8],
        parent_span_id: vec![1; 8],
        trace_state: "vendor=\"1\"".to_owned(),
        flags: 0x301,
        kind: 3,
        attributes: vec![
            attribute("text", text("a \"quoted\"\nline \u{1b}[0m ✓")),
            attribute("integer", any_value::Value::IntValue(i64::MIN)),
            attribute("boolean", any_value::Value::BoolValue(true)),
            attribute("texts", any_value::Value::ArrayValue(ArrayValue { values: texts.to_vec() })),
        ],
        status: Some(OtlpStatus { code: 2, ..OtlpStatus::default() }),
        ..expected_root()
    }
}

#[test]
fn every_field_is_read_back_as_it_was() {
    let (shop, stock) = (resource(1, "shop"), resource(2, "stock"));
    let spans = [
        released_for_tests(root(), Arc::clone(&shop)),
        released_for_tests(root(), Arc::clone(&stock)),
        released_for_tests(call(), shop),
    ];
    let line = line(&spans);
    assert_eq!(line.matches('\n').count(), 1, "one line");
    let read: TracesData = serde_json::from_str(&line).unwrap();
    let shop = expected("shop", vec![expected_root(), expected_call()]);
    let stock = expected("stock", vec![expected_root()]);
    assert_eq!(read, TracesData { resource_spans: vec![shop, stock] });
}

/// The reader above forgives, for one, numbers that are no strings; collectors differ in what they forgive.
#[test]
fn the_encoding_is_the_one_of_the_specification() {
    let json: serde_json::Value = serde_json::from_str(&line(&[released_for_tests(call(), resource(1, "a"))])).unwrap();
    let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "abababababababababababababababab");
    assert_eq!(span["parentSpanId"], "0101010101010101");
    assert_eq!(span["startTimeUnixNano"], "1700000000123456789");
    assert_eq!(span["kind"], 3);
    assert_eq!(span["attributes"][1]["value"]["intValue"], "-9223372036854775808");
    assert_eq!(span["status"]["code"], 2);
}

#[test]
fn no_spans_are_no_line() {
    assert_eq!(line(&[]), "");
}
