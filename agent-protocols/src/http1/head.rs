// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Heads: the request or status line and the header fields, parsed by httparse.
//!
//! In: bytes that begin where a head is due. Out: what is kept of it and how its body is framed; or that it has only
//! begun; or that it is none.
//! Does not: judge as a server would. Lines that are no header fields are stepped over: what was sent and answered is
//! an exchange, whatever is wrong with it.

use alloc::vec::Vec;
use core::mem::MaybeUninit;

use httparse::{Error, ParserConfig, Status};

use super::{
    body::Framing,
    fields::{self, LengthFields},
};
use crate::{
    http::{HttpRequest, HttpResponse, HttpVersion},
    message::Problem,
};

/// Header fields that are parsed without an allocation. Larger: stack. Smaller: ordinary heads take the slow path.
const FIELDS_ON_STACK: usize = 96;

pub(super) enum Parsed<H> {
    Whole {
        head: H,
        length: usize,
    },
    /// More bytes are needed.
    Begun {
        /// The first line is that of a message: what follows can only be its header fields.
        first_line: bool,
    },
    Malformed(Problem),
}

pub(super) trait Head: Sized {
    fn parse(bytes: &[u8]) -> Parsed<Self>;
}

/// What the method says about the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    Other,
}

#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) request: HttpRequest,
    pub(super) method: Method,
    pub(super) framing: Framing,
    pub(super) length_is_invalid: bool,
}

#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) response: HttpResponse,
    /// For a response that may have a body; whether it may is up to its status and the request.
    pub(super) framing: Framing,
    pub(super) length_is_invalid: bool,
}

impl Head for RequestHead {
    fn parse(bytes: &[u8]) -> Parsed<Self> {
        with_fields(bytes, |room| {
            let mut head = httparse::Request::new(&mut []);
            let length = match config().parse_request_with_uninit_headers(&mut head, bytes, room) {
                Ok(Status::Complete(length)) => length,
                Ok(Status::Partial) => return Ok(Parsed::Begun { first_line: head.version.is_some() }),
                Err(error) => return malformed(error, head.version.is_some()),
            };
            let (method, target) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
            let kept = head.headers.iter().filter_map(|field| Some((fields::kept(field.name)?, field.value)));
            let mut request = HttpRequest::keep(version(head.version), method.as_bytes(), target.as_bytes(), kept);
            let lengths = LengthFields::of(head.headers);
            request.ambiguous_length = lengths.is_ambiguous();
            let head = Self {
                request,
                method: match method {
                    "HEAD" => Method::Head,
                    "CONNECT" => Method::Connect,
                    _ => Method::Other,
                },
                framing: lengths.framing(Framing::Length(0)),
                length_is_invalid: lengths.is_invalid(),
            };
            Ok(Parsed::Whole { head, length })
        })
    }
}

impl Head for ResponseHead {
    fn parse(bytes: &[u8]) -> Parsed<Self> {
        with_fields(bytes, |room| {
            let mut head = httparse::Response::new(&mut []);
            let length = match config().parse_response_with_uninit_headers(&mut head, bytes, room) {
                Ok(Status::Complete(length)) => length,
                Ok(Status::Partial) => return Ok(Parsed::Begun { first_line: head.code.is_some() }),
                Err(error) => return malformed(error, head.code.is_some()),
            };
            let kept = head.headers.iter().filter_map(|field| Some((fields::kept(field.name)?, field.value)));
            let mut response = HttpResponse::keep(version(head.version), head.code.unwrap_or_default(), kept);
            let lengths = LengthFields::of(head.headers);
            response.ambiguous_length = lengths.is_ambiguous();
            let head = Self {
                response,
                framing: lengths.framing(Framing::UntilClose),
                length_is_invalid: lengths.is_invalid(),
            };
            Ok(Parsed::Whole { head, length })
        })
    }
}

type Room<'bytes> = [MaybeUninit<httparse::Header<'bytes>>];

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
