// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is kept of an HTTP request and response, whatever the version on the wire.
//!
//! In: a parsed head. Out: one small allocation a head with the values that spans need, and nothing else of it.
//! Does not: keep cookies, credentials or bodies.

use alloc::{boxed::Box, vec::Vec};

/// The headers that are kept; all others are forgotten as they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Header {
    Host,
    UserAgent,
    ContentType,
    ContentLength,
    Traceparent,
    Tracestate,
    B3,
    B3TraceId,
    B3SpanId,
    B3Sampled,
    B3Flags,
    XForwardedFor,
    XForwardedProto,
    Upgrade,
    /// The pseudo-headers `:scheme` and `:protocol` of HTTP/2; its `:authority` is [`Header::Host`].
    Scheme,
    Protocol,
    GrpcTimeout,
    GrpcStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    Http10,
    Http11,
    Http2,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    pub version: HttpVersion,
    /// Both Content-Length and Transfer-Encoding were sent: a sign of request smuggling (RFC 9112 section 6.3).
    pub ambiguous_length: bool,
    /// It had fields that were named before the connection was seen: of what is absent (the method and the target are
    /// empty then), nobody can say that it was not sent.
    pub has_unknown_fields: bool,
    values: Values,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpResponse {
    pub version: HttpVersion,
    /// 0 where it is among the fields that are not known.
    pub status: u16,
    pub ambiguous_length: bool,
    pub has_unknown_fields: bool,
    values: Values,
}

impl HttpRequest {
    #[must_use]
    pub fn new(version: HttpVersion, method: &[u8], target: &[u8], headers: &[(Header, &[u8])]) -> Self {
        Self::keep(version, method, target, headers.iter().copied())
    }

    /// As `new`, without a list of the headers in between: they are walked twice, and stored once.
    pub fn keep<'a>(
        version: HttpVersion,
        method: &'a [u8],
        target: &'a [u8],
        headers: impl Iterator<Item = (Header, &'a [u8])> + Clone,
    ) -> Self {
        Self {
            version,
            ambiguous_length: false,
            has_unknown_fields: false,
            values: Values::new([method, target], headers),
        }
    }

    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.values.fixed(0)
    }

    /// The request target as sent: origin form, absolute form, authority form or `*`.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.values.fixed(1)
    }

    /// Values of a header, in the order sent.
    pub fn headers(&self, name: Header) -> impl Iterator<Item = &[u8]> {
        self.values.headers(name)
    }

    #[must_use]
    pub fn header(&self, name: Header) -> Option<&[u8]> {
        self.headers(name).next()
    }
}

impl HttpResponse {
    #[must_use]
    pub fn new(version: HttpVersion, status: u16, headers: &[(Header, &[u8])]) -> Self {
        Self::keep(version, status, headers.iter().copied())
    }

    /// As `new`, without a list of the headers in between: they are walked twice, and stored once.
    pub fn keep<'a>(
        version: HttpVersion,
        status: u16,
        headers: impl Iterator<Item = (Header, &'a [u8])> + Clone,
    ) -> Self {
        Self { version, status, ambiguous_length: false, has_unknown_fields: false, values: Values::new([], headers) }
    }

    pub fn headers(&self, name: Header) -> impl Iterator<Item = &[u8]> {
        self.values.headers(name)
    }

    #[must_use]
    pub fn header(&self, name: Header) -> Option<&[u8]> {
        self.headers(name).next()
    }
}

/// Values laid end to end in one allocation: each is a tag byte, a length in four bytes, and the bytes.
#[derive(Clone, Debug, PartialEq)]
struct Values(Box<[u8]>);

/// Tag of values that are no header; above every [`Header`].
const FIXED: u8 = u8::MAX;

/// What stands before each value: its tag and its length.
const PREFIX_BYTES: usize = 1 + size_of::<u32>();

impl Values {
    fn new<'a, const N: usize>(
        fixed: [&'a [u8]; N],
        headers: impl Iterator<Item = (Header, &'a [u8])> + Clone,
    ) -> Self {
        let values = fixed.into_iter().map(|value| (FIXED, value));
        let values = values.chain(headers.map(|(name, value)| (name as u8, value)));
        let mut bytes = Vec::with_capacity(values.clone().map(|(_, value)| value.len() + PREFIX_BYTES).sum());
        for (tag, value) in values {
            // A value that four bytes cannot measure is forgotten; no parser holds a head of that size.
            let Ok(length) = u32::try_from(value.len()) else { continue };
            let [a, b, c, d] = length.to_le_bytes();
            bytes.extend_from_slice(&[tag, a, b, c, d]);
            bytes.extend_from_slice(value);
        }
        Self(bytes.into_boxed_slice())
    }

    fn fixed(&self, index: usize) -> &[u8] {
        self.with_tag(FIXED).nth(index).unwrap_or_default()
    }

    fn headers(&self, name: Header) -> impl Iterator<Item = &[u8]> {
        self.with_tag(name as u8)
    }

    fn with_tag(&self, wanted: u8) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        core::iter::from_fn(move || {
            let (&tag, after_tag) = rest.split_first()?;
            let (length, after_length) = after_tag.split_first_chunk::<4>()?;
            let (value, after) = after_length.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = after;
            Some((tag, value))
        })
        .filter_map(move |(tag, value)| (tag == wanted).then_some(value))
    }
}
