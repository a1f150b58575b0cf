// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is kept of an HTTP request and response, whatever the version on the wire.
//!
//! In: a parsed head. Out: the values that spans need, in one piece, and nothing else of it.
//! Does not: keep cookies, credentials or bodies.

use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::{cell::OnceCell, hash::Hasher as _, ops::Deref};

use rustc_hash::FxHasher;

/// The headers that are kept; all others are forgotten as they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Header {
    Host,
    UserAgent,
    ContentType,
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

impl Header {
    /// Set in a list of names for this one.
    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Those that say which trace a request belongs to, and nothing of the request.
const CONTEXT_NAMES: u32 = Header::Traceparent.bit()
    | Header::Tracestate.bit()
    | Header::B3.bit()
    | Header::B3TraceId.bit()
    | Header::B3SpanId.bit()
    | Header::B3Sampled.bit()
    | Header::B3Flags.bit();

/// Those that differ from one request of a client to the next.
const CHANGING_NAMES: u32 = CONTEXT_NAMES | Header::GrpcTimeout.bit();

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    Http10,
    Http11,
    Http2,
}

/// Cheap to clone: what it says is shared.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest(Rc<HttpRequestHead>);

#[derive(Debug)]
pub struct HttpRequestHead {
    pub version: HttpVersion,
    /// Both Content-Length and Transfer-Encoding were sent: a sign of request smuggling (RFC 9112 section 6.3).
    pub ambiguous_length: bool,
    /// It had fields that were named before the connection was seen: of what is absent (the method and the target are
    /// empty then), nobody can say that it was not sent.
    pub has_unknown_fields: bool,
    kept: Kept,
    /// Made at the first question: most requests are never asked.
    number: OnceCell<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpResponse {
    pub version: HttpVersion,
    /// 0 where it is among the fields that are not known.
    pub status: u16,
    pub ambiguous_length: bool,
    pub has_unknown_fields: bool,
    kept: Option<Box<Kept>>,
}

impl Deref for HttpRequest {
    type Target = HttpRequestHead;

    fn deref(&self) -> &HttpRequestHead {
        &self.0
    }
}

impl HttpRequest {
    #[must_use]
    pub fn new(version: HttpVersion, method: &[u8], target: &[u8], headers: &[(Header, &[u8])]) -> Self {
        let mut kept = Kept::of_request(method, target);
        headers.iter().for_each(|(name, value)| kept.add(*name, value));
        Self::keep(version, kept, false)
    }

    /// `kept` begins with the method and the target.
    #[must_use]
    pub fn keep(version: HttpVersion, mut kept: Kept, ambiguous_length: bool) -> Self {
        kept.finish();
        let has_unknown_fields = kept.is_incomplete;
        Self(Rc::new(HttpRequestHead { version, ambiguous_length, has_unknown_fields, kept, number: OnceCell::new() }))
    }

    /// They say the same; quick where both are one value.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0) || self == other
    }

    /// It names no trace: the next one may be the same. Of HTTP/2, where heads of many streams follow one another, it must
    /// be one that the parser still has.
    #[must_use]
    pub fn may_come_again(&self) -> bool {
        !self.has_context() && (self.version != HttpVersion::Http2 || Rc::strong_count(&self.0) > 1)
    }

    /// A request with the fields of this one.
    #[must_use]
    pub fn with_line(&self, version: HttpVersion, method: &[u8], target: &[u8]) -> Self {
        Self(Rc::new(HttpRequestHead {
            version,
            ambiguous_length: self.ambiguous_length,
            has_unknown_fields: self.has_unknown_fields,
            kept: self.kept.with_line(method, target),
            number: OnceCell::new(),
        }))
    }
}

impl PartialEq for HttpRequestHead {
    fn eq(&self, other: &Self) -> bool {
        let is_alike = self.version == other.version && self.ambiguous_length == other.ambiguous_length;
        is_alike && self.has_unknown_fields == other.has_unknown_fields && self.kept == other.kept
    }
}

impl HttpRequestHead {
    /// A number that requests share which say the same, and others rarely do.
    #[must_use]
    pub fn number(&self) -> u64 {
        *self.number.get_or_init(|| {
            let mut hasher = FxHasher::default();
            hasher.write(&self.kept.bytes);
            hasher.finish()
        })
    }

    #[must_use]
    pub fn method(&self) -> &[u8] {
        &self.kept.bytes[..self.kept.method_end]
    }

    /// The request target as sent: origin form, absolute form, authority form or `*`.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        &self.kept.bytes[self.kept.method_end..self.kept.target_end]
    }

    /// Values of a header, in the order sent.
    pub fn headers(&self, name: Header) -> impl Iterator<Item = &[u8]> {
        self.kept.values(name)
    }

    #[must_use]
    pub fn header(&self, name: Header) -> Option<&[u8]> {
        self.headers(name).next()
    }

    /// Whether any header that names a trace was sent, valid or not.
    #[must_use]
    pub const fn has_context(&self) -> bool {
        self.kept.names & CONTEXT_NAMES != 0
    }

    /// All that is kept of the fields but what changes with every request (trace context, deadline), as it lies in
    /// memory: two requests of which it is equal say the same but for that and their line.
    #[must_use]
    pub fn standing_fields(&self) -> &[u8] {
        &self.kept.bytes[self.kept.target_end..self.kept.standing_end]
    }
}

impl HttpResponse {
    #[must_use]
    pub fn new(version: HttpVersion, status: u16, headers: &[(Header, &[u8])]) -> Self {
        let mut kept = Kept::default();
        headers.iter().for_each(|(name, value)| kept.add(*name, value));
        Self::keep(version, status, kept, false)
    }

    #[must_use]
    pub fn keep(version: HttpVersion, status: u16, mut kept: Kept, ambiguous_length: bool) -> Self {
        kept.finish();
        let has_unknown_fields = kept.is_incomplete;
        let kept = (!kept.bytes.is_empty()).then(|| Box::new(kept));
        Self { version, status, ambiguous_length, has_unknown_fields, kept }
    }

    pub fn headers(&self, name: Header) -> impl Iterator<Item = &[u8]> {
        self.kept.iter().flat_map(move |kept| kept.values(name))
    }

    #[must_use]
    pub fn header(&self, name: Header) -> Option<&[u8]> {
        self.headers(name).next()
    }
}

/// Bytes that are set aside for what is kept of a request. Larger: memory for every request that is open. Smaller: the
/// room grows while ordinary heads are read.
const USUAL_BYTES: usize = 192;

/// What stands before each value: its header and its length.
const PREFIX_BYTES: usize = 1 + size_of::<u32>();

/// What is kept of one head, laid end to end: a request's method and target, the values of headers, last those that
/// change with every request. Each value stands behind its header and its length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    bytes: Vec<u8>,
    method_end: usize,
    target_end: usize,
    /// Where the values begin that change.
    standing_end: usize,
    /// The headers of which there are values.
    names: u32,
    /// Some fields are not known.
    is_incomplete: bool,
    /// The values that change, until the head is whole.
    changing: Vec<u8>,
}

impl Kept {
    #[must_use]
    pub fn of_request(method: &[u8], target: &[u8]) -> Self {
        let (method_end, target_end) = (method.len(), method.len() + target.len());
        let mut bytes = Vec::with_capacity(target_end + USUAL_BYTES);
        bytes.extend_from_slice(method);
        bytes.extend_from_slice(target);
        Self { bytes, method_end, target_end, ..Self::default() }
    }

    pub fn add(&mut self, name: Header, value: &[u8]) {
        // A value that four bytes cannot measure is forgotten; no parser holds a head of that size.
        let Ok(length) = u32::try_from(value.len()) else { return };
        self.names |= name.bit();
        let [a, b, c, d] = length.to_le_bytes();
        let place = if name.bit() & CHANGING_NAMES == 0 { &mut self.bytes } else { &mut self.changing };
        place.extend_from_slice(&[name as u8, a, b, c, d]);
        place.extend_from_slice(value);
    }

    /// There was a field that was named before the connection was seen.
    pub const fn note_unknown(&mut self) {
        self.is_incomplete = true;
    }

    fn with_line(&self, method: &[u8], target: &[u8]) -> Self {
        let (method_end, target_end) = (method.len(), method.len() + target.len());
        let fields = &self.bytes[self.target_end..];
        let standing_end = target_end + (self.standing_end - self.target_end);
        let bytes = [method, target, fields].concat();
        Self { bytes, method_end, target_end, standing_end, changing: Vec::new(), ..*self }
    }

    fn finish(&mut self) {
        self.standing_end = self.bytes.len();
        if !self.changing.is_empty() {
            self.bytes.append(&mut self.changing);
        }
    }

    fn values(&self, wanted: Header) -> impl Iterator<Item = &[u8]> {
        let start = if wanted.bit() & CHANGING_NAMES == 0 { self.target_end } else { self.standing_end };
        let is_there = self.names & wanted.bit() != 0;
        let mut rest = if is_there { &self.bytes[start..] } else { &[] };
        core::iter::from_fn(move || {
            loop {
                let ([name, length @ ..], after) = rest.split_first_chunk::<PREFIX_BYTES>()?;
                let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                rest = after;
                if *name == wanted as u8 {
                    return Some(value);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn what_changes_stands_apart_and_every_value_is_found() {
        let headers: [(Header, &[u8]); 5] = [
            (Header::Host, b"a"),
            (Header::Traceparent, b"x"),
            (Header::XForwardedFor, b"b"),
            (Header::Traceparent, b""),
            (Header::XForwardedFor, b"c"),
        ];
        let request = HttpRequest::new(HttpVersion::Http11, b"GET", b"/", &headers);
        assert_eq!((request.method(), request.target()), (&b"GET"[..], &b"/"[..]));
        let values = |name| request.headers(name).collect::<Vec<_>>();
        assert_eq!(values(Header::Traceparent), [&b"x"[..], b""]);
        assert_eq!(values(Header::XForwardedFor), [b"b", b"c"]);
        assert_eq!(request.header(Header::B3), None);

        let others = [headers[0], headers[2], headers[4]];
        let untraced = HttpRequest::new(HttpVersion::Http11, b"POST", b"/d", &others);
        assert!(request.has_context() && !untraced.has_context());
        assert_eq!(request.standing_fields(), untraced.standing_fields());
        let fewer = HttpRequest::new(HttpVersion::Http11, b"GET", b"/", &others[..2]);
        assert_ne!(request.standing_fields(), fewer.standing_fields());

        let in_time = [&others[..], &[(Header::GrpcTimeout, b"1S")]].concat();
        let in_time = HttpRequest::new(HttpVersion::Http2, b"POST", b"/d", &in_time);
        assert_eq!(in_time.header(Header::GrpcTimeout), Some(&b"1S"[..]));
        assert!(!in_time.has_context() && in_time.standing_fields() == request.standing_fields());
    }

    #[test]
    fn nothing_is_kept_of_a_response_without_headers() {
        let response = HttpResponse::new(HttpVersion::Http11, 200, &[]);
        assert_eq!(response.kept, None);
        assert_eq!(response.header(Header::ContentType), None);
    }

    #[test]
    fn values_that_are_longer_than_usual_are_whole() {
        let long = [b'x'; 5 * USUAL_BYTES];
        let request = HttpRequest::new(HttpVersion::Http11, b"GET", &long, &[(Header::Host, &long)]);
        assert_eq!((request.target(), request.header(Header::Host)), (&long[..], Some(&long[..])));
    }
}
