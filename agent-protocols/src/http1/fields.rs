// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Header fields: which are of interest, and what they say about the body's length.
//!
//! In: names and values as sent. Out: the values that are kept, and the facts that tell where the body ends.
//! Does not: lower-case or copy anything: a name is found by its first letter, and then compared once or twice. No name of
//! interest begins with another.

use super::body::Framing;
use crate::http::{Header, Kept};

/// What a field is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Kept(Header),
    ContentLength,
    TransferEncoding,
}

/// What a request's field line is good for, and what follows its name; most are good for nothing.
pub(super) fn of_request(line: &[u8]) -> Option<(Field, &[u8])> {
    match line.first()? | LOWER_CASE {
        b'h' => kept(Header::Host, behind(line, b"Host", b"host")),
        b'u' => kept(Header::UserAgent, behind(line, b"User-Agent", b"user-agent")),
        b'b' => kept(Header::B3, behind(line, b"B3", b"b3")),
        b't' => kept(Header::Traceparent, behind(line, b"Traceparent", b"traceparent"))
            .or_else(|| kept(Header::Tracestate, behind(line, b"Tracestate", b"tracestate")))
            .or_else(|| of_any(line)),
        b'g' => kept(Header::GrpcTimeout, behind(line, b"Grpc-Timeout", b"grpc-timeout")),
        b'c' => kept(Header::ContentType, behind(line, b"Content-Type", b"content-type")).or_else(|| of_any(line)),
        b'x' => kept(Header::XForwardedFor, behind(line, b"X-Forwarded-For", b"x-forwarded-for"))
            .or_else(|| kept(Header::XForwardedProto, behind(line, b"X-Forwarded-Proto", b"x-forwarded-proto")))
            .or_else(|| kept(Header::B3TraceId, behind(line, b"X-B3-TraceId", b"x-b3-traceid")))
            .or_else(|| kept(Header::B3SpanId, behind(line, b"X-B3-SpanId", b"x-b3-spanid")))
            .or_else(|| kept(Header::B3Sampled, behind(line, b"X-B3-Sampled", b"x-b3-sampled")))
            .or_else(|| kept(Header::B3Flags, behind(line, b"X-B3-Flags", b"x-b3-flags"))),
        _ => None,
    }
}

/// As `of_request`, for a response: no span tells anything of its fields but how a gRPC call ended.
pub(super) fn of_response(line: &[u8]) -> Option<(Field, &[u8])> {
    match line.first()? | LOWER_CASE {
        b'c' | b't' => of_any(line),
        b'g' => kept(Header::GrpcStatus, behind(line, b"Grpc-Status", b"grpc-status")),
        b'u' => kept(Header::Upgrade, behind(line, b"Upgrade", b"upgrade")),
        _ => None,
    }
}

fn kept(header: Header, rest: Option<&[u8]>) -> Option<(Field, &[u8])> {
    Some((Field::Kept(header), rest?))
}

fn of_any(line: &[u8]) -> Option<(Field, &[u8])> {
    let length = behind(line, b"Content-Length", b"content-length").map(|rest| (Field::ContentLength, rest));
    let coding = || behind(line, b"Transfer-Encoding", b"transfer-encoding");
    length.or_else(|| coding().map(|rest| (Field::TransferEncoding, rest)))
}

/// What follows a name. Nearly all are spelled in one of two ways, and to compare words of a known length is cheap.
#[inline]
fn behind<'a, const N: usize>(line: &'a [u8], usual: &[u8; N], lower: &[u8; N]) -> Option<&'a [u8]> {
    let (name, rest) = line.split_first_chunk::<N>()?;
    (name == usual
        || name == lower
        || (rest.first().is_none_or(|byte| *byte == b':') && name.eq_ignore_ascii_case(lower)))
    .then_some(rest)
}

/// Set in every lower-case letter.
const LOWER_CASE: u8 = 0x20;

/// Gathers what is of interest in the fields of one head.
/// Those of a response begin with nothing.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) kept: Kept,
    pub(super) lengths: LengthFields,
}

impl Fields {
    pub(super) fn of_request(method: &[u8], target: &[u8]) -> Self {
        Self { kept: Kept::of_request(method, target), lengths: LengthFields::default() }
    }

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
        // A list is rare, and so is a second header.
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
