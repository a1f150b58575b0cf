// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a parser gives: parts of requests and responses, in the order in which they were understood.

use crate::http::{HttpRequest, HttpResponse};

/// A part of a request or a response. A request's head comes first. The exchange is over when both its `RequestEnd` and
/// its `ResponseEnd` have come, in either order (a server may answer before it has read the request), or when it is
/// `Broken`: nothing of it follows then.
///
/// `M` is the caller's mark of the piece in which the part was found: for a head
/// the piece with its first byte, for an end the piece with its last.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<M> {
    /// Joins the parts of one exchange: numbered by the parser, unique on its connection, growing with the order of
    /// the requests.
    pub stream: u64,
    pub mark: M,
    /// Bytes between the start of the mark's piece and the part's first byte (head) or past its last (end).
    pub offset: u32,
    pub part: Part,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    RequestHead(Request),
    RequestEnd(BodyEnd),
    /// The final response; informational ones before it are not messages.
    ResponseHead(Response),
    ResponseEnd(BodyEnd),
    /// The exchange is over without (the rest of) its response. Marked with the piece in which that was noticed.
    Broken(Broken),
}

/// Why an exchange ended before its response did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// The connection was closed in order, by either end.
    ConnectionClosed,
    ConnectionReset,
    /// The watched process ended, or watching stopped.
    Abandoned,
    /// Bytes were lost, and with them the place of the response's end.
    BytesLost,
    /// What came was no response.
    NotUnderstood,
}

impl Broken {
    pub const ALL: [Self; 5] =
        [Self::ConnectionClosed, Self::ConnectionReset, Self::Abandoned, Self::BytesLost, Self::NotUnderstood];

    /// The `reason` label, and the value of `error.type` where there is no better one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionClosed => "connection_closed",
            Self::ConnectionReset => "connection_reset",
            Self::Abandoned => "abandoned",
            Self::BytesLost => "bytes_lost",
            Self::NotUnderstood => "not_understood",
        }
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyEnd {
    /// Bytes of the body as sent, without chunk framing; absent where they could not be counted: the framing was lost
    /// or not understood, or the sender of a request gave up before its end.
    pub body_bytes: Option<u64>,
    /// Bytes inside this part were lost on the way (its end is certain all the same).
    pub bytes_lost: bool,
}

/// A request, by protocol; cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Http(HttpRequest),
}

/// A response, by protocol; cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    Http(HttpResponse),
}

/// What a parser noticed and stepped over; counted by the caller, never fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// Bytes that began no message where one was due.
    NotAMessage,
    /// A header block larger than the parser holds.
    HeadTooLarge,
    /// A head whose first line is that of a message and whose other lines do not follow the grammar.
    MalformedHead,
    /// A head that had begun when its direction ended, or when bytes were lost.
    HeadCutShort,
    /// A body length that is no number, or several that differ: the body's end is unknown.
    InvalidLength,
    /// Chunk framing that does not follow the grammar.
    MalformedChunk,
    /// A response with no request before it.
    ResponseWithoutRequest,
    /// More requests without a response than the parser remembers.
    TooManyOutstanding,
}

impl Problem {
    pub const ALL: [Self; 8] = [
        Self::NotAMessage,
        Self::HeadTooLarge,
        Self::MalformedHead,
        Self::HeadCutShort,
        Self::InvalidLength,
        Self::MalformedChunk,
        Self::ResponseWithoutRequest,
        Self::TooManyOutstanding,
    ];

    /// The `reason` label of the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAMessage => "not_a_message",
            Self::HeadTooLarge => "head_too_large",
            Self::MalformedHead => "malformed_head",
            Self::HeadCutShort => "head_cut_short",
            Self::InvalidLength => "invalid_length",
            Self::MalformedChunk => "malformed_chunk",
            Self::ResponseWithoutRequest => "response_without_request",
            Self::TooManyOutstanding => "too_many_outstanding",
        }
    }
}
