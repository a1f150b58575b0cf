// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any head, by httparse.
//!
//! In: bytes that begin where a head is due. Out: the head, that it has only begun, or that it is none.
//! Does not: hurry. Heads that are whole and plain do not come here.

use alloc::vec::Vec;
use core::mem::MaybeUninit;

use httparse::{Error, Header, ParserConfig, Status};

use super::{
    fields::{self, Field, Fields},
    head::{Parsed, RequestHead, ResponseHead},
};
use crate::{http::HttpVersion, message::Problem};

/// Header fields that are parsed without an allocation. Larger: stack. Smaller: ordinary heads take the slow path.
const FIELDS_ON_STACK: usize = 96;

pub(super) fn request(bytes: &[u8]) -> Parsed<RequestHead> {
    with_fields(bytes, |room| {
        let mut head = httparse::Request::new(&mut []);
        let length = match config().parse_request_with_uninit_headers(&mut head, bytes, room) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(Parsed::Begun { first_line: head.version.is_some() }),
            Err(error) => return malformed(error, head.version.is_some()),
        };
        let method = head.method.unwrap_or_default().as_bytes();
        let mut fields = Fields::of_request(method, head.path.unwrap_or_default().as_bytes());
        note(head.headers, fields::of_request, &mut fields);
        Ok(Parsed::Whole { head: RequestHead::new(version(head.version), method, fields), length })
    })
}

pub(super) fn response(bytes: &[u8]) -> Parsed<ResponseHead> {
    with_fields(bytes, |room| {
        let mut head = httparse::Response::new(&mut []);
        let length = match config().parse_response_with_uninit_headers(&mut head, bytes, room) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(Parsed::Begun { first_line: head.code.is_some() }),
            Err(error) => return malformed(error, head.code.is_some()),
        };
        let mut fields = Fields::default();
        note(head.headers, fields::of_response, &mut fields);
        let status = head.code.unwrap_or_default();
        Ok(Parsed::Whole { head: ResponseHead::new(version(head.version), status, fields), length })
    })
}

fn note(headers: &[Header<'_>], of: impl Fn(&[u8]) -> Option<(Field, &[u8])>, fields: &mut Fields) {
    for header in headers {
        if let Some((field, b"")) = of(header.name.as_bytes()) {
            fields.note(field, header.value);
        }
    }
}

type Room<'bytes> = [MaybeUninit<Header<'bytes>>];

/// More fields than there was room for.
struct TooManyFields;

/// Parses with room for the usual number of fields, and again with enough for any where that was too little.
fn with_fields<'bytes, H>(
    bytes: &'bytes [u8],
    parse: impl for<'room> Fn(&'room mut Room<'bytes>) -> Result<Parsed<H>, TooManyFields>,
) -> Parsed<H> {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    if let Ok(parsed) = parse(&mut room) {
        return parsed;
    }
    // Each field takes a line. A head that is not whole is parsed again later; then the room is made once more.
    let lines = memchr::memchr_iter(b'\n', bytes).count();
    let mut room: Vec<_> = core::iter::repeat_with(MaybeUninit::uninit).take(lines + 1).collect();
    parse(&mut room).unwrap_or(Parsed::Malformed(Problem::MalformedHead))
}

fn malformed<H>(error: Error, first_line: bool) -> Result<Parsed<H>, TooManyFields> {
    match error {
        Error::TooManyHeaders => Err(TooManyFields),
        _ if first_line => Ok(Parsed::Malformed(Problem::MalformedHead)),
        _ => Ok(Parsed::Malformed(Problem::NotAMessage)),
    }
}

fn config() -> ParserConfig {
    let mut config = ParserConfig::default();
    config
        .ignore_invalid_headers_in_requests(true)
        .ignore_invalid_headers_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    config
}

fn version(minor: Option<u8>) -> HttpVersion {
    match minor {
        Some(0) => HttpVersion::Http10,
        _ => HttpVersion::Http11,
    }
}
