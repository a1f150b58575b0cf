// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a parser gives: parts of requests and responses, in the order in which they were understood.

use alloc::boxed::Box;

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
    /// What the framing inside the bodies of a gRPC call and its trailers said. Comes right before the last part.
    /// Boxed, so that no other message carries its size.
    Rpc(Box<Rpc>),
    /// The exchange is over without (the rest of) its response. Marked with the piece in which that was noticed.
    Broken(Broken),
}

/// What a gRPC call says beside heads and bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rpc {
    /// Absent where bytes were lost that hid the beginning of a message.
    pub requests: Option<Messages>,
    pub responses: Option<Messages>,
    /// `grpc-status`, from wherever it came.
    pub status: Option<u32>,
    /// It came, but may be among fields that were named before the connection was seen.
    pub status_is_unknown: bool,
}

/// The messages of one side of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    pub count: u64,
    /// As sent (they can be compressed), without what frames them.
    pub bytes: u64,
}

/// A message that one piece holds, from its first byte to its last.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeMessage {
    /// As of a [`Message`].
    pub stream: u64,
    pub whole: Whole,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Whole {
    Request(Request, BodyEnd),
    Response(Response, BodyEnd),
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
    /// Either side gave up this stream of several.
    StreamReset(ErrorCode),
    /// The connection is being closed, and its other end has said that it will not process this request.
    GoAway,
}

/// Why a stream was reset (RFC 9113 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    NoError,
    ProtocolError,
    InternalError,
    FlowControlError,
    SettingsTimeout,
    StreamClosed,
    FrameSizeError,
    RefusedStream,
    Cancel,
    CompressionError,
    ConnectError,
    EnhanceYourCalm,
    InadequateSecurity,
    Http11Required,
    /// It is in no registry, or its bytes were lost.
    Unknown,
}

impl ErrorCode {
    /// By their numbers.
    pub const ALL: [Self; 15] = [
        Self::NoError,
        Self::ProtocolError,
        Self::InternalError,
        Self::FlowControlError,
        Self::SettingsTimeout,
        Self::StreamClosed,
        Self::FrameSizeError,
        Self::RefusedStream,
        Self::Cancel,
        Self::CompressionError,
        Self::ConnectError,
        Self::EnhanceYourCalm,
        Self::InadequateSecurity,
        Self::Http11Required,
        Self::Unknown,
    ];

    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self::ALL.get(number as usize).copied().unwrap_or(Self::Unknown)
    }

    /// As the RFC calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoError => "NO_ERROR",
            Self::ProtocolError => "PROTOCOL_ERROR",
            Self::InternalError => "INTERNAL_ERROR",
            Self::FlowControlError => "FLOW_CONTROL_ERROR",
            Self::SettingsTimeout => "SETTINGS_TIMEOUT",
            Self::StreamClosed => "STREAM_CLOSED",
            Self::FrameSizeError => "FRAME_SIZE_ERROR",
            Self::RefusedStream => "REFUSED_STREAM",
            Self::Cancel => "CANCEL",
            Self::CompressionError => "COMPRESSION_ERROR",
            Self::ConnectError => "CONNECT_ERROR",
            Self::EnhanceYourCalm => "ENHANCE_YOUR_CALM",
            Self::InadequateSecurity => "INADEQUATE_SECURITY",
            Self::Http11Required => "HTTP_1_1_REQUIRED",
            Self::Unknown => "UNKNOWN_ERROR_CODE",
        }
    }
}

impl Broken {
    pub const ALL: [Self; 6 + ErrorCode::ALL.len()] = {
        let mut all = [Self::GoAway; 6 + ErrorCode::ALL.len()];
        (all[0], all[1], all[2]) = (Self::ConnectionClosed, Self::ConnectionReset, Self::Abandoned);
        (all[3], all[4]) = (Self::BytesLost, Self::NotUnderstood);
        let mut code = 0;
        while code < ErrorCode::ALL.len() {
            all[6 + code] = Self::StreamReset(ErrorCode::ALL[code]);
            code += 1;
        }
        all
    };

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::ConnectionClosed => 0,
            Self::ConnectionReset => 1,
            Self::Abandoned => 2,
            Self::BytesLost => 3,
            Self::NotUnderstood => 4,
            Self::GoAway => 5,
            Self::StreamReset(code) => 6 + code as usize,
        }
    }

    /// The `reason` label, and the value of `error.type` where there is no better one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionClosed => "connection_closed",
            Self::ConnectionReset => "connection_reset",
            Self::Abandoned => "abandoned",
            Self::BytesLost => "bytes_lost",
            Self::NotUnderstood => "not_understood",
            Self::GoAway => "goaway",
            Self::StreamReset(code) => code.name(),
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
    /// A frame that nobody may send; what follows is searched for the next one.
    MalformedFrame,
    /// Bytes were lost that hid where a frame began: whatever streams it was for.
    FramesLost,
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
    pub const ALL: [Self; 10] = [
        Self::NotAMessage,
        Self::HeadTooLarge,
        Self::MalformedHead,
        Self::MalformedFrame,
        Self::FramesLost,
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
            Self::MalformedFrame => "malformed_frame",
            Self::FramesLost => "frames_lost",
            Self::HeadCutShort => "head_cut_short",
            Self::InvalidLength => "invalid_length",
            Self::MalformedChunk => "malformed_chunk",
            Self::ResponseWithoutRequest => "response_without_request",
            Self::TooManyOutstanding => "too_many_outstanding",
        }
    }
}
