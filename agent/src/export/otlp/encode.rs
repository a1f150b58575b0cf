// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A span or a resource in, its OTLP protobuf bytes out, at the end of a buffer. It decides nothing and sends nothing.
//!
//! Field numbers are those of `opentelemetry/proto/{trace,common,resource}/v1`.

use super::wire::{Field, Writer, delimited_len, varint_len};
use crate::{
    enrich::Resource,
    spans::{Attribute, Kind, Span, Standing, Status, Value},
};

/// The bit of W3C trace flags; every released span was sampled in, whoever decided it.
const SAMPLED: u32 = 0x01;
/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`: whether the parent is remote is known.
const HAS_IS_REMOTE: u32 = 0x100;
/// `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`
const IS_REMOTE: u32 = 0x200;

const RESOURCE_SPANS_RESOURCE: Field = Field::new(1);
const RESOURCE_ATTRIBUTES: Field = Field::new(1);
const SCOPE_SPANS_SPANS: Field = Field::new(2);

/// Appends the span as one entry of `ScopeSpans.spans`, tag and length included, so that entries need only stand one
/// after the other.
pub fn encode_span(span: &Span, out: &mut Vec<u8>) {
    const TRACE_ID: Field = Field::new(1);
    const SPAN_ID: Field = Field::new(2);
    const TRACE_STATE: Field = Field::new(3);
    const PARENT_SPAN_ID: Field = Field::new(4);
    const NAME: Field = Field::new(5);
    const KIND: Field = Field::new(6);
    const START_TIME_UNIX_NANO: Field = Field::new(7);
    const END_TIME_UNIX_NANO: Field = Field::new(8);
    const ATTRIBUTES: Field = Field::new(9);
    const STATUS: Field = Field::new(15);
    const STATUS_CODE: Field = Field::new(3);
    const STATUS_CODE_ERROR: u64 = 2;

    Writer(out).message::<2>(SCOPE_SPANS_SPANS, |out| {
        out.bytes(TRACE_ID, &span.trace_id.0);
        out.bytes(SPAN_ID, &span.span_id.0);
        if let Some(state) = &span.trace_state {
            out.text(TRACE_STATE, state);
        }
        if let Some(parent) = &span.parent {
            out.bytes(PARENT_SPAN_ID, &parent.0);
        }
        out.text(NAME, &span.name);
        out.varint(KIND, kind_number(span.kind));
        out.fixed64(START_TIME_UNIX_NANO, span.start.0);
        out.fixed64(END_TIME_UNIX_NANO, span.end.0);
        if let Some(standing) = &span.standing {
            encode_standing(ATTRIBUTES, standing, span.client_port, out);
        }
        for attribute in &span.attributes {
            encode_attribute(ATTRIBUTES, attribute, out);
        }
        if span.status == Status::Error {
            out.message::<1>(STATUS, |status| status.varint(STATUS_CODE, STATUS_CODE_ERROR));
        }
        flags(span, out);
    });
}

/// `flags` is field 16: the only one here whose tag takes two bytes, and the only fixed32.
fn flags(span: &Span, out: &mut Writer<'_>) {
    const FLAGS_FIXED32_TAG: [u8; 2] = [0x85, 0x01];
    let remote = if span.parent_is_remote { IS_REMOTE } else { 0 };
    out.0.extend_from_slice(&FLAGS_FIXED32_TAG);
    out.0.extend_from_slice(&(SAMPLED | HAS_IS_REMOTE | remote).to_le_bytes());
}

const fn kind_number(kind: Kind) -> u64 {
    match kind {
        Kind::Server => 2,
        Kind::Client => 3,
    }
}

/// Appends the resource as `ResourceSpans.resource`, tag and length included.
pub fn encode_resource(resource: &Resource, out: &mut Vec<u8>) {
    Writer(out).message::<2>(RESOURCE_SPANS_RESOURCE, |out| {
        for attribute in &resource.attributes {
            encode_attribute(RESOURCE_ATTRIBUTES, attribute, out);
        }
    });
}

/// Appends what was encoded once, with the client's port written into its places: they are the last bytes of its last
/// attributes.
fn encode_standing(field: Field, standing: &Standing, client_port: u16, out: &mut Writer<'_>) {
    let encoded = standing.encoded(|standing| {
        let mut out = Vec::new();
        let attributes = standing.attributes.iter().cloned().chain(standing.client_ports(USUAL_PORT));
        attributes.for_each(|attribute| encode_attribute(field, &attribute, &mut Writer(&mut out)));
        out.into()
    });
    out.0.extend_from_slice(encoded);
    let keys = standing.client_port_keys;
    if client_port >= USUAL_PORT {
        let bytes = [client_port as u8 | 0x80, (client_port >> 7) as u8 | 0x80, (client_port >> 14) as u8];
        let mut end = out.0.len();
        for key in keys.iter().rev() {
            out.0[end - bytes.len()..end].copy_from_slice(&bytes);
            end -= key.len() + AROUND_KEY;
        }
    } else if !keys.is_empty() {
        let end = out.0.len() - keys.iter().map(|key| key.len() + AROUND_KEY).sum::<usize>();
        out.0.truncate(end);
        standing.client_ports(client_port).for_each(|attribute| encode_attribute(field, &attribute, out));
    }
}

/// The least of the ports that take as many bytes as those that systems choose for clients.
const USUAL_PORT: u16 = 1 << 14;

/// What an attribute of a usual port takes beside its key: a tag and a length of one byte each for the attribute, the key
/// and the value, then the value's own tag and three bytes.
const AROUND_KEY: usize = 3 * 2 + 1 + varint_len(USUAL_PORT as u64);

#[inline]
fn encode_attribute(field: Field, attribute: &Attribute, out: &mut Writer<'_>) {
    const KEY: Field = Field::new(1);
    const VALUE: Field = Field::new(2);
    let value_length = value_length(&attribute.value);
    let length = delimited_len(attribute.key.len()) + delimited_len(value_length);
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        // Nearly all are: then no length takes more than a byte, and what stands between key and value is written at once.
        let (key, value) = (attribute.key, &attribute.value);
        out.0.extend_from_slice(&[field.delimited_tag(), short, KEY.delimited_tag(), key.len() as u8]);
        out.0.extend_from_slice(key.as_bytes());
        out.0.extend_from_slice(&[VALUE.delimited_tag(), value_length as u8]);
        return encode_value(value, out);
    }
    out.delimited(field, length);
    out.text(KEY, attribute.key);
    out.delimited(VALUE, value_length);
    encode_value(&attribute.value, out);
}

/// Bytes that `encode_value` writes.
fn value_length(value: &Value) -> usize {
    match value {
        Value::Text(text) => delimited_len(text.len()),
        Value::Boolean(_) => 2,
        Value::Integer(value) => 1 + varint_len(value.cast_unsigned()),
        Value::Texts(texts) => delimited_len(texts_length(texts)),
    }
}

fn texts_length(texts: &[String]) -> usize {
    texts.iter().map(|text| delimited_len(delimited_len(text.len()))).sum()
}

#[inline]
fn encode_value(value: &Value, out: &mut Writer<'_>) {
    const STRING: Field = Field::new(1);
    const BOOL: Field = Field::new(2);
    const INT: Field = Field::new(3);
    const ARRAY: Field = Field::new(5);
    const ARRAY_VALUES: Field = Field::new(1);
    match value {
        Value::Text(text) => out.text(STRING, text),
        Value::Boolean(value) => out.varint(BOOL, u64::from(*value)),
        // int64 on the wire is its two's complement in 64 bits.
        Value::Integer(value) => out.varint(INT, value.cast_unsigned()),
        Value::Texts(texts) => {
            out.delimited(ARRAY, texts_length(texts));
            for text in texts {
                out.delimited(ARRAY_VALUES, delimited_len(text.len()));
                out.text(STRING, text);
            }
        }
    }
}
