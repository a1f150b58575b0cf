// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Header fields: which are of interest, and what they say about the body's length.
//!
//! In: names and values as sent. Out: the values that are kept, and the facts that tell where the body ends.
//! Does not: lower-case or copy anything: a name is found by its length and first letter, and then compared once.

use super::body::Framing;
use crate::http::{Header, Kept};

/// What a field is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Kept(Header),
    ContentLength,
    TransferEncoding,
}

/// What a request's field of this name is good for; most are good for nothing.
pub(super) fn of_request(name: &[u8]) -> Option<Field> {
    let first = name.first()? | LOWER_CASE;
    let (field, usual, expected) = match (name.len(), first) {
        (2, b'b') => (Field::Kept(Header::B3), "B3", "b3"),
        (4, b'h') => (Field::Kept(Header::Host), "Host", "host"),
        (10, b'u') => (Field::Kept(Header::UserAgent), "User-Agent", "user-agent"),
        (10, b't') => (Field::Kept(Header::Tracestate), "Tracestate", "tracestate"),
        (10, b'x') => (Field::Kept(Header::B3Flags), "X-B3-Flags", "x-b3-flags"),
        (11, b't') => (Field::Kept(Header::Traceparent), "Traceparent", "traceparent"),
        (11, b'x') => (Field::Kept(Header::B3SpanId), "X-B3-SpanId", "x-b3-spanid"),
        (12, b'c') => (Field::Kept(Header::ContentType), "Content-Type", "content-type"),
        (12, b'x') if name[5] | LOWER_CASE == b's' => (Field::Kept(Header::B3Sampled), "X-B3-Sampled", "x-b3-sampled"),
        (12, b'x') => (Field::Kept(Header::B3TraceId), "X-B3-TraceId", "x-b3-traceid"),
        (15, b'x') => (Field::Kept(Header::XForwardedFor), "X-Forwarded-For", "x-forwarded-for"),
        (17, b'x') => (Field::Kept(Header::XForwardedProto), "X-Forwarded-Proto", "x-forwarded-proto"),
        _ => return of_any(name, first),
    };
    is_named(name, usual, expected).then_some(field)
}

/// As `of_request`, for a response: no span tells anything of its fields.
pub(super) fn of_response(name: &[u8]) -> Option<Field> {
    of_any(name, name.first()? | LOWER_CASE)
}

fn of_any(name: &[u8], first: u8) -> Option<Field> {
    let (field, usual, expected) = match (name.len(), first) {
        (14, b'c') => (Field::ContentLength, "Content-Length", "content-length"),
        (17, b't') => (Field::TransferEncoding, "Transfer-Encoding", "transfer-encoding"),
        _ => return None,
    };
    is_named(name, usual, expected).then_some(field)
}

/// Nearly all names are spelled in one of two ways, and to compare whole words is cheap.
fn is_named(name: &[u8], usual: &str, expected: &str) -> bool {
    name == usual.as_bytes() || name == expected.as_bytes() || name.eq_ignore_ascii_case(expected.as_bytes())
}

/// Set in every lower-case letter.
const LOWER_CASE: u8 = 0x20;

/// Gathers what is of interest in the fields of one head.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) kept: Kept,
    pub(super) lengths: LengthFields,
}

impl Fields {
    pub(super) fn note(&mut self, field: Field, value: &[u8]) {
        match field {
            Field::Kept(header) => self.kept.add(header, value),
            Field::ContentLength => self.lengths.note_length(value),
            Field::TransferEncoding => self.lengths.note_coding(value),
        }
    }
}

/// What the fields of one head say about the length of its body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LengthFields {
    length: Option<u64>,
    length_is_invalid: bool,
    /// The last coding was `chunked`, or another one.
    chunked: Option<bool>,
}

impl LengthFields {
    fn note_length(&mut self, value: &[u8]) {
        for part in value.split(|byte| *byte == b',') {
            match (decimal(part.trim_ascii()), self.length) {
                (Some(length), None) => self.length = Some(length),
                (Some(length), Some(before)) if length == before => {}
                _ => self.length_is_invalid = true,
            }
        }
    }

    fn note_coding(&mut self, value: &[u8]) {
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
        self.chunked = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    }

    /// Both kinds of length were sent (RFC 9112 section 6.3).
    pub(super) fn is_ambiguous(&self) -> bool {
        self.chunked.is_some() && (self.length.is_some() || self.length_is_invalid)
    }

    /// `otherwise`: what it means when neither is there.
    pub(super) fn framing(&self, otherwise: Framing) -> Framing {
        match *self {
            Self { chunked: Some(true), .. } => Framing::Chunked,
            // A coding that is not known has no end that is known: a response lasts until the connection closes, and
            // of a request nothing can be said.
            Self { chunked: Some(false), .. } if otherwise == Framing::UntilClose => Framing::UntilClose,
            Self { chunked: Some(false), .. } | Self { length_is_invalid: true, .. } => Framing::Unknown,
            Self { length: Some(length), .. } => Framing::Length(length),
            _ => otherwise,
        }
    }

    pub(super) fn is_invalid(&self) -> bool {
        self.length_is_invalid && self.chunked.is_none()
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    // `parse` would take a leading plus.
    digits.first().filter(|first| first.is_ascii_digit())?;
    core::str::from_utf8(digits).ok()?.parse().ok()
}
