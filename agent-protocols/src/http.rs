// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is kept of an HTTP request and response, whatever the version on the wire.
//!
//! In: a parsed head. Out: one small allocation a head with the values that spans need, and nothing else of it.
//! Does not: keep cookies, credentials or bodies.

use alloc::rc::Rc;

use smallvec::SmallVec;

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
}

impl Header {
    /// Set in a list of names for this one.
    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// It says which trace the request belongs to, and nothing of the request: other in every request.
    const fn is_context(self) -> bool {
        use Header::{B3, B3Flags, B3Sampled, B3SpanId, B3TraceId, Traceparent, Tracestate};
        matches!(self, Traceparent | Tracestate | B3 | B3TraceId | B3SpanId | B3Sampled | B3Flags)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    Http10,
    Http11,
    Http2,
}

/// Cheap to clone: the values are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    pub version: HttpVersion,
    /// Both Content-Length and Transfer-Encoding were sent: a sign of request smuggling (RFC 9112 section 6.3).
    pub ambiguous_length: bool,
    /// Where the method ends in the values, and where behind it the target.
    method_end: u32,
    target_end: u32,
    fields: Fields,
}

/// Cheap to clone, as a request is.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpResponse {
    pub version: HttpVersion,
    pub status: u16,
    pub ambiguous_length: bool,
    fields: Fields,
}

impl HttpRequest {
    #[must_use]
    pub fn new(version: HttpVersion, method: &[u8], target: &[u8], headers: &[(Header, &[u8])]) -> Self {
        let mut kept = Kept::default();
        kept.begin(method, target);
        headers.iter().for_each(|(name, value)| kept.add(*name, value));
        Self::keep(version, &mut kept)
    }

    /// `kept` begins with the method and the target.
    #[must_use]
    pub fn keep(version: HttpVersion, kept: &mut Kept) -> Self {
        let (method_end, target_end) = (kept.method_end, kept.target_end);
        Self { version, ambiguous_length: false, method_end, target_end, fields: kept.fields() }
    }

    #[must_use]
    pub fn method(&self) -> &[u8] {
        &self.fields.bytes()[..self.method_end as usize]
    }

    /// The request target as sent: origin form, absolute form, authority form or `*`.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        &self.fields.bytes()[self.method_end as usize..self.target_end as usize]
    }

    /// Values of a header, in the order sent.
    pub fn headers(&self, name: Header) -> impl Iterator<Item = &[u8]> {
        self.fields.values(name)
    }

    #[must_use]
    pub fn header(&self, name: Header) -> Option<&[u8]> {
        self.headers(name).next()
    }

    /// Whether any header that names a trace was sent, valid or not.
    #[must_use]
    pub const fn has_context(&self) -> bool {
        self.fields.has_context()
    }

    /// All that is kept of the fields but the trace context, as it lies in memory: two requests of which it is equal say
    /// the same but for their line and their trace.
    #[must_use]
    pub fn standing_fields(&self) -> &[u8] {
        &self.fields.bytes()[self.fields.standing as usize..]
    }
}

impl HttpResponse {
    #[must_use]
    pub fn new(version: HttpVersion, status: u16, headers: &[(Header, &[u8])]) -> Self {
        let mut kept = Kept::default();
        headers.iter().for_each(|(name, value)| kept.add(*name, value));
        Self::keep(version, status, &mut kept)
    }

    #[must_use]
    pub fn keep(version: HttpVersion, status: u16, kept: &mut Kept) -> Self {
        Self { version, status, ambiguous_length: false, fields: kept.fields() }
    }

    pub fn headers(&self, name: Header) -> impl Iterator<Item = &[u8]> {
        self.fields.values(name)
    }

    #[must_use]
    pub fn header(&self, name: Header) -> Option<&[u8]> {
        self.headers(name).next()
    }
}

/// Bytes of kept values that are gathered without an allocation. Larger: stack. Smaller: ordinary heads take a second
/// allocation.
const USUAL_BYTES: usize = 256;

/// What stands before each value: its header and its length.
const PREFIX_BYTES: usize = 1 + size_of::<u32>();

/// Gathers what is kept of one head: a request's method and target, the trace context, the other values. Each value
/// stands behind its header and its length.
#[derive(Debug, Default)]
pub struct Kept {
    method_end: u32,
    target_end: u32,
    names: u32,
    line_and_context: SmallVec<[u8; USUAL_BYTES]>,
    standing: SmallVec<[u8; USUAL_BYTES]>,
}

impl Kept {
    /// Of a request: comes first.
    pub fn begin(&mut self, method: &[u8], target: &[u8]) {
        self.line_and_context.extend_from_slice(method);
        self.method_end = self.measured();
        self.line_and_context.extend_from_slice(target);
        self.target_end = self.measured();
    }

    pub fn add(&mut self, name: Header, value: &[u8]) {
        // A value that four bytes cannot measure is forgotten; no parser holds a head of that size.
        let Ok(length) = u32::try_from(value.len()) else { return };
        self.names |= name.bit();
        let [a, b, c, d] = length.to_le_bytes();
        let place = if name.is_context() { &mut self.line_and_context } else { &mut self.standing };
        place.extend_from_slice(&[name as u8, a, b, c, d]);
        place.extend_from_slice(value);
    }

    /// One allocation of it; none where there is nothing.
    fn fields(&mut self) -> Fields {
        let standing = self.measured();
        self.line_and_context.extend_from_slice(&self.standing);
        let bytes = (!self.line_and_context.is_empty()).then(|| Rc::from(&*self.line_and_context));
        Fields { bytes, names: self.names, context: self.target_end, standing }
    }

    fn measured(&self) -> u32 {
        u32::try_from(self.line_and_context.len()).expect("no parser holds a head that four bytes cannot measure")
    }
}

/// Values laid end to end in one allocation.
#[derive(Clone, Debug, PartialEq)]
struct Fields {
    bytes: Option<Rc<[u8]>>,
    /// The headers of which there are values.
    names: u32,
    /// Where the values of the trace context begin, and where the others.
    context: u32,
    standing: u32,
}

impl Fields {
    fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    const fn has_context(&self) -> bool {
        self.context < self.standing
    }

    fn values(&self, wanted: Header) -> impl Iterator<Item = &[u8]> {
        let start = if wanted.is_context() { self.context } else { self.standing };
        let is_there = self.names & wanted.bit() != 0;
        let mut rest = if is_there { &self.bytes()[start as usize..] } else { &[] };
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
    fn the_trace_context_stands_apart_and_every_value_is_found() {
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
    }

    #[test]
    fn nothing_is_kept_of_a_response_without_headers() {
        let response = HttpResponse::new(HttpVersion::Http11, 200, &[]);
        assert_eq!(response.fields.bytes, None);
        assert_eq!(response.header(Header::ContentType), None);
    }

    #[test]
    fn values_that_are_longer_than_usual_are_whole() {
        let long = [b'x'; 5 * USUAL_BYTES];
        let request = HttpRequest::new(HttpVersion::Http11, b"GET", &long, &[(Header::Host, &long)]);
        assert_eq!((request.target(), request.header(Header::Host)), (&long[..], Some(&long[..])));
    }
}
