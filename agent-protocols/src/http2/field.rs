// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Header fields of HTTP/2 by their names: which mean something to the parser, which are kept, which are forgotten.
//!
//! In: a name as sent, in lower case (RFC 9113 section 8.2). Out: a [`Field`].
//! Does not: keep the names of the others: a table entry of theirs is a length and nothing else.

use crate::http::Header;

/// What a field is to the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Method,
    Scheme,
    Path,
    Authority,
    /// Of an extended CONNECT (RFC 8441).
    Protocol,
    Status,
    Kept(Header),
    Other,
    /// It was named before the connection was seen, or in bytes that were lost.
    Unknown,
}

impl Field {
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":path" => Self::Path,
            b":authority" => Self::Authority,
            b":protocol" => Self::Protocol,
            b":status" => Self::Status,
            b"grpc-status" => Self::Kept(Header::GrpcStatus),
            b"grpc-timeout" => Self::Kept(Header::GrpcTimeout),
            b"host" => Self::Kept(Header::Host),
            b"user-agent" => Self::Kept(Header::UserAgent),
            b"content-type" => Self::Kept(Header::ContentType),
            b"traceparent" => Self::Kept(Header::Traceparent),
            b"tracestate" => Self::Kept(Header::Tracestate),
            b"b3" => Self::Kept(Header::B3),
            b"x-b3-traceid" => Self::Kept(Header::B3TraceId),
            b"x-b3-spanid" => Self::Kept(Header::B3SpanId),
            b"x-b3-sampled" => Self::Kept(Header::B3Sampled),
            b"x-b3-flags" => Self::Kept(Header::B3Flags),
            b"x-forwarded-for" => Self::Kept(Header::XForwardedFor),
            b"x-forwarded-proto" => Self::Kept(Header::XForwardedProto),
            _ => Self::Other,
        }
    }

    pub(super) const fn has_kept_value(self) -> bool {
        !matches!(self, Self::Other | Self::Unknown)
    }

    pub(super) const fn is_of_request(self) -> bool {
        matches!(self, Self::Method | Self::Scheme | Self::Path | Self::Authority | Self::Protocol)
    }
}
