// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes written here, read by the generated types.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, ArrayValue, KeyValue, any_value},
    trace::v1::{self as proto, status::StatusCode},
};
use proptest::{collection::vec, option, prelude::*};
use prost::Message as _;

use super::*;
use crate::export::{SCHEMA_URL, otlp::batch::Batch};

fn request(batch: &Batch) -> ExportTraceServiceRequest {
    let mut bytes = Vec::new();
    batch.write_request(&mut bytes);
    ExportTraceServiceRequest::decode(bytes.as_slice()).expect("it is OTLP")
}

fn round_trip(span: &Span) -> proto::Span {
    let mut batch = Batch::default();
    batch.push(span, &resource(1));
    request(&batch).resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) }
}

fn attribute(attribute: &Attribute) -> KeyValue {
    let value = match &attribute.value {
        Value::Text(value) => text(value),
        Value::Integer(value) => AnyValue { value: Some(any_value::Value::IntValue(*value)) },
        Value::Boolean(value) => AnyValue { value: Some(any_value::Value::BoolValue(*value)) },
        Value::Texts(values) => {
            let values = values.iter().map(|value| text(value)).collect();
            AnyValue { value: Some(any_value::Value::ArrayValue(ArrayValue { values })) }
        }
    };
    KeyValue { key: attribute.key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn expected(span: &Span) -> proto::Span {
    proto::Span {
        trace_id: span.trace_id.0.to_vec(),
        span_id: span.span_id.0.to_vec(),
        trace_state: span.trace_state.clone().unwrap_or_default(),
        parent_span_id: span.parent.map(|id| id.0.to_vec()).unwrap_or_default(),
        flags: if span.parent_is_remote { 0x301 } else { 0x101 },
        name: span.name.to_string(),
        kind: match span.kind {
            Kind::Server => proto::span::SpanKind::Server.into(),
            Kind::Client => proto::span::SpanKind::Client.into(),
        },
        start_time_unix_nano: span.start.0,
        end_time_unix_nano: span.end.0,
        attributes: span.all_attributes().map(|found| attribute(&found)).collect(),
        status: (span.status == Status::Error)
            .then(|| proto::Status { code: StatusCode::Error.into(), message: String::new() }),
        ..proto::Span::default()
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        ".{0,200}".prop_map(|text| Value::Text(text.into())),
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Boolean),
        vec(".{0,60}", 0..4).prop_map(Value::Texts),
    ]
}

prop_compose! {
    fn any_span()(
        ids in any::<([u8; 16], [u8; 8], Option<[u8; 8]>)>(),
        trace_state in option::of("[ -~]{0,300}"),
        remote: bool,
        client: bool,
        error: bool,
        name in ".{0,140}",
        times in any::<(u64, u64)>(),
        values in vec(any_value(), 0..20),
        stands in option::of((vec(any_value(), 0..4), 0_usize..3)),
        client_port: u16,
    ) -> Span {
        const PORT_KEYS: &[&str] = &["client.port", "network.peer.port"];
        let standing = stands.map(|(values, ports)| {
            let attributes = values.into_iter().map(|value| Attribute { key: "server.address", value }).collect();
            Arc::new(Standing::new(attributes, &PORT_KEYS[..ports]))
        });
        let keys = ["http.request.method", "url.path", "server.port"].into_iter().cycle();
        Span {
            trace_id: TraceId(ids.0),
            span_id: SpanId(ids.1),
            parent: ids.2.map(SpanId),
            parent_is_remote: remote,
            trace_state,
            kind: if client { Kind::Client } else { Kind::Server },
            name: name.into(),
            start: WallTime(times.0),
            end: WallTime(times.1),
            standing,
            client_port,
            attributes: keys.zip(values).map(|(key, value)| Attribute { key, value }).collect(),
            status: if error { Status::Error } else { Status::Unset },
            ..span(0)
        }
    }
}

proptest! {
    #[test]
    fn every_span_is_read_as_it_was(span in any_span(), other_port: u16) {
        prop_assert_eq!(round_trip(&span), expected(&span));
        // What stands is encoded now; the port is that of another connection.
        let span = Span { client_port: other_port, ..span };
        prop_assert_eq!(round_trip(&span), expected(&span));
    }

    #[test]
    fn spans_stand_with_their_resource_in_order_of_arrival(owners in vec(0_u64..6, 1..80)) {
        let mut batch = Batch::default();
        // The second round uses memory that held another batch.
        for _ in 0..2 {
            batch.clear();
            for (number, owner) in owners.iter().enumerate() {
                batch.push(&span(number as u64), &resource(*owner));
            }
            let request = request(&batch);
            let mut seen = Vec::new();
            for group in &request.resource_spans {
                prop_assert_eq!(&group.schema_url, SCHEMA_URL);
                let attributes = &group.resource.as_ref().expect("there is a resource").attributes;
                let owner: u64 = (0..6).find(|id| attributes == &[attribute(&resource(*id).attributes[0])]).unwrap();
                prop_assert!(!seen.contains(&owner), "one ResourceSpans per resource");
                seen.push(owner);
                let [scope] = group.scope_spans.as_slice() else { panic!("one ScopeSpans per resource") };
                prop_assert_eq!(&scope.schema_url, SCHEMA_URL);
                let name = scope.scope.as_ref().expect("there is a scope");
                prop_assert_eq!((name.name.as_str(), name.version.as_str()), ("onlooker", env!("CARGO_PKG_VERSION")));
                let theirs = owners.iter().enumerate().filter(|(_, of)| **of == owner);
                let theirs: Vec<_> = theirs.map(|(number, _)| expected(&span(number as u64))).collect();
                prop_assert_eq!(&scope.spans, &theirs);
            }
            prop_assert_eq!(batch.spans(), owners.len());
        }
    }
}
