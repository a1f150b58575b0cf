// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Heads: the request or status line and the header fields, read as they lie where they are plain, else by httparse.
//!
//! In: bytes that begin where a head is due. Out: what is kept of it and how its body is framed; or that it has only
//! begun; or that it is none.
//! Does not: judge as a server would. Lines that are no header fields are stepped over: what was sent and answered is
//! an exchange, whatever is wrong with it.

use super::{body::Framing, carefully, fields::Fields, plain};
use crate::{
    http::{Header, HttpRequest, HttpResponse, HttpVersion},
    message::Problem,
    rpc,
};

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

pub(super) trait Head: Clone {
    fn parse(bytes: &[u8]) -> Parsed<Self>;

    /// The head of this first line, its end included, with the fields of this one; nothing where the line is not plain.
    fn with_line(&self, line: &[u8]) -> Option<Self>;
}

impl RequestHead {
    pub(super) fn is_web_call(&self) -> bool {
        self.request.header(Header::ContentType).is_some_and(rpc::is_web)
    }
}

/// What the method says about the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    Other,
}

impl Method {
    const fn of(method: &[u8]) -> Self {
        match method {
            b"HEAD" => Self::Head,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct RequestHead {
    pub(super) request: HttpRequest,
    pub(super) method: Method,
    pub(super) framing: Framing,
    pub(super) length_is_invalid: bool,
}

#[derive(Clone, Debug)]
pub(super) struct ResponseHead {
    pub(super) response: HttpResponse,
    /// For a response that may have a body; whether it may is up to its status and the request.
    pub(super) framing: Framing,
    pub(super) length_is_invalid: bool,
}

impl RequestHead {
    /// `fields` begin with the method and the target.
    pub(super) fn new(version: HttpVersion, method: &[u8], fields: Fields) -> Self {
        let lengths = fields.lengths;
        Self {
            request: HttpRequest::keep(version, fields.kept, lengths.is_ambiguous()),
            method: Method::of(method),
            framing: lengths.framing(Framing::Length(0)),
            length_is_invalid: lengths.is_invalid(),
        }
    }
}

impl ResponseHead {
    pub(super) fn new(version: HttpVersion, status: u16, fields: Fields) -> Self {
        let lengths = fields.lengths;
        let response = HttpResponse::keep(version, status, fields.kept, lengths.is_ambiguous());
        Self { response, framing: lengths.framing(Framing::UntilClose), length_is_invalid: lengths.is_invalid() }
    }
}

impl Head for RequestHead {
    fn parse(bytes: &[u8]) -> Parsed<Self> {
        match plain::request(bytes) {
            Some((head, length)) => Parsed::Whole { head, length },
            None => carefully::request(bytes),
        }
    }

    fn with_line(&self, line: &[u8]) -> Option<Self> {
        let (version, method, target) = plain::request_line(plain::without_end(line)?)?;
        let request = self.request.with_line(version, method, target);
        Some(Self { request, method: Method::of(method), ..*self })
    }
}

impl Head for ResponseHead {
    fn parse(bytes: &[u8]) -> Parsed<Self> {
        match plain::response(bytes) {
            Some((head, length)) => Parsed::Whole { head, length },
            None => carefully::response(bytes),
        }
    }

    fn with_line(&self, line: &[u8]) -> Option<Self> {
        let (version, status) = plain::status_line(plain::without_end(line)?)?;
        let mut head = self.clone();
        (head.response.version, head.response.status) = (version, status);
        Some(head)
    }
}
