// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Header fields: which are kept, and what they say about the body's length.
//!
//! In: names and values as sent. Out: a [`Header`], or the facts that tell where the body ends.
//! Does not: lower-case or copy anything: a name is found by its length and first letter, and then compared once.

use crate::http::Header;

use super::body::Framing;

/// The header that a name stands for, if it is one that is kept.
pub(super) fn kept(name: &str) -> Option<Header> {
    let first = name.as_bytes().first()? | LOWER_CASE;
    let (header, expected) = match (name.len(), first) {
        (2, b'b') => (Header::B3, "b3"),
        (4, b'h') => (Header::Host, "host"),
        (7, b'u') => (Header::Upgrade, "upgrade"),
        (10, b'u') => (Header::UserAgent, "user-agent"),
        (10, b't') => (Header::Tracestate, "tracestate"),
        (10, b'x') => (Header::B3Flags, "x-b3-flags"),
        (11, b'g') => (Header::GrpcStatus, "grpc-status"),
        (11, b't') => (Header::Traceparent, "traceparent"),
        (11, b'x') => (Header::B3SpanId, "x-b3-spanid"),
        (12, b'g') => (Header::GrpcTimeout, "grpc-timeout"),
        (12, b'c') => (Header::ContentType, "content-type"),
        (12, b'x') if name.as_bytes()[5] | LOWER_CASE == b's' => (Header::B3Sampled, "x-b3-sampled"),
        (12, b'x') => (Header::B3TraceId, "x-b3-traceid"),
        (14, b'c') => (Header::ContentLength, "content-length"),
        (15, b'x') => (Header::XForwardedFor, "x-forwarded-for"),
        (17, b'x') => (Header::XForwardedProto, "x-forwarded-proto"),
        _ => return None,
    };
    name.eq_ignore_ascii_case(expected).then_some(header)
}

/// Set in every lower-case letter.
const LOWER_CASE: u8 = 0x20;

/// What the fields of one head say about the length of its body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LengthFields {
    length: Option<u64>,
    length_is_invalid: bool,
    /// The last coding was `chunked`, or another one.
    chunked: Option<bool>,
}

impl LengthFields {
    pub(super) fn of(fields: &[httparse::Header<'_>]) -> Self {
        let mut lengths = Self::default();
        for field in fields {
            lengths.note(field.name, field.value);
        }
        lengths
    }

    fn note(&mut self, name: &str, value: &[u8]) {
        if name.len() == 14 && name.eq_ignore_ascii_case("content-length") {
            for part in value.split(|byte| *byte == b',') {
                match (decimal(part.trim_ascii()), self.length) {
                    (Some(length), None) => self.length = Some(length),
                    (Some(length), Some(before)) if length == before => {}
                    _ => self.length_is_invalid = true,
                }
            }
        } else if name.len() == 17 && name.eq_ignore_ascii_case("transfer-encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            self.chunked = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        }
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
