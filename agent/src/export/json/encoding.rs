// SPDX-License-Identifier: Apache-2.0 OR MIT
//! OTLP's messages as views of our own types: what is serialised is what is there, and nothing is copied first.
//!
//! The names are those of opentelemetry/proto/trace/v1/trace.proto; serde turns them into lowerCamelCase.

use std::fmt;

use serde::{
    Serialize, Serializer,
    ser::{SerializeSeq as _, SerializeStruct as _},
};

use crate::spans::{Attribute, Kind, Span, Status, Value};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracesData<'a> {
    pub resource_spans: Vec<ResourceSpans<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceSpans<'a> {
    pub resource: ResourceFields<'a>,
    pub scope_spans: [ScopeSpans<'a>; 1],
    pub schema_url: &'static str,
}

#[derive(Serialize)]
pub struct ResourceFields<'a> {
    #[serde(serialize_with = "attributes")]
    pub attributes: &'a [Attribute],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeSpans<'a> {
    pub scope: Scope,
    pub spans: Vec<SpanFields<'a>>,
    pub schema_url: &'static str,
}

#[derive(Serialize)]
pub struct Scope {
    pub name: &'static str,
    pub version: &'static str,
}

pub struct SpanFields<'a>(pub &'a Span);

/// The W3C flag `sampled`: what was released was sampled.
const SAMPLED: u32 = 0x01;
/// `SpanFlags`: whether the parent is remote is known; it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// `Span.SpanKind`.
const KIND_SERVER: u8 = 2;
const KIND_CLIENT: u8 = 3;

/// `Status.StatusCode`.
const STATUS_ERROR: u8 = 2;

impl Serialize for SpanFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = self.0;
        let mut fields = serializer.serialize_struct("Span", 11)?;
        fields.serialize_field("traceId", &Hex(&span.trace_id.0))?;
        fields.serialize_field("spanId", &Hex(&span.span_id.0))?;
        if let Some(state) = span.trace_state.as_deref().filter(|state| !state.is_empty()) {
            fields.serialize_field("traceState", state)?;
        }
        if let Some(parent) = &span.parent {
            fields.serialize_field("parentSpanId", &Hex(&parent.0))?;
        }
        let remote = if span.parent_is_remote { IS_REMOTE } else { 0 };
        fields.serialize_field("flags", &(SAMPLED | HAS_IS_REMOTE | remote))?;
        fields.serialize_field("name", &span.name)?;
        fields.serialize_field("kind", &kind(span.kind))?;
        fields.serialize_field("startTimeUnixNano", &Decimal(&span.start.0))?;
        fields.serialize_field("endTimeUnixNano", &Decimal(&span.end.0))?;
        fields.serialize_field("attributes", &SpanAttributes(span))?;
        fields.serialize_field("status", &StatusFields { code: status(span.status) })?;
        fields.end()
    }
}

const fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::Server => KIND_SERVER,
        Kind::Client => KIND_CLIENT,
    }
}

/// Unset is the default, and so it is left out.
const fn status(status: Status) -> Option<u8> {
    match status {
        Status::Unset => None,
        Status::Error => Some(STATUS_ERROR),
    }
}

#[derive(Serialize)]
struct StatusFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
}

fn attributes<S: Serializer>(attributes: &&[Attribute], serializer: S) -> Result<S::Ok, S::Error> {
    Attributes(attributes).serialize(serializer)
}

struct SpanAttributes<'a>(&'a Span);

impl Serialize for SpanAttributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut attributes = serializer.serialize_seq(None)?;
        for attribute in self.0.all_attributes() {
            attributes.serialize_element(&KeyValue::of(&attribute))?;
        }
        attributes.end()
    }
}

struct Attributes<'a>(&'a [Attribute]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(KeyValue::of))
    }
}

#[derive(Serialize)]
struct KeyValue<'a> {
    key: &'static str,
    value: AnyValue<'a>,
}

impl<'a> KeyValue<'a> {
    fn of(attribute: &'a Attribute) -> Self {
        Self { key: attribute.key, value: any(&attribute.value) }
    }
}

#[derive(Serialize)]
enum AnyValue<'a> {
    #[serde(rename = "stringValue")]
    Text(&'a str),
    #[serde(rename = "intValue")]
    Integer(Decimal<'a, i64>),
    #[serde(rename = "boolValue")]
    Boolean(bool),
    #[serde(rename = "arrayValue")]
    Array(ArrayValue<'a>),
}

#[derive(Serialize)]
struct ArrayValue<'a> {
    values: Vec<AnyValue<'a>>,
}

fn any(value: &Value) -> AnyValue<'_> {
    match value {
        Value::Text(text) => AnyValue::Text(text),
        Value::Integer(number) => AnyValue::Integer(Decimal(number)),
        Value::Boolean(truth) => AnyValue::Boolean(*truth),
        Value::Texts(texts) => {
            let values = texts.iter().map(|text| AnyValue::Text(text)).collect();
            AnyValue::Array(ArrayValue { values })
        }
    }
}

/// JavaScript's numbers lose digits past 2⁵³.
struct Decimal<'a, N>(&'a N);

impl<N: fmt::Display> Serialize for Decimal<'_, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
