// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The protocols that are known: whose are these first bytes, and the parser of each.
//!
//! In: what begins at a turn of a conversation. Out: a protocol, and which way its requests flow.
//! Does not: decide anything by port. A new protocol is one folder, and one line in each list here.

use crate::{
    http1,
    message::{Message, Problem, Protocol},
    piece::{Direction, StreamPiece},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    Found {
        protocol: Protocol,
        /// The direction in which requests flow.
        requests: Direction,
    },
    /// No protocol that is known.
    NotMine,
    /// It can still become one: ask again with more bytes. Never said of more than [`RECOGNITION_BYTES`].
    NeedMore,
}

/// Bytes that a caller may have to hold until a protocol is found. Larger: garbage without a line break is held longer.
/// Smaller: a connection that begins with a longer request target is not recognised.
pub const RECOGNITION_BYTES: usize = 16 * 1024;

/// Whose are these bytes, which begin at a turn of the conversation?
#[must_use]
pub fn recognise(direction: Direction, first_bytes: &[u8]) -> Recognition {
    // One protocol is known. With more of them: the first that finds itself, else the first that needs more.
    match http1::recognise(direction, first_bytes) {
        Recognition::NeedMore if first_bytes.len() >= RECOGNITION_BYTES => Recognition::NotMine,
        recognition => recognition,
    }
}

/// The parser of one connection.
#[derive(Debug)]
pub enum Parser<M> {
    Http1(http1::Parser<M>),
}

/// Calls the same method of whichever parser it is.
macro_rules! each {
    ($parser:expr, $inner:ident => $call:expr) => {
        match $parser {
            Self::Http1($inner) => $call,
        }
    };
}

impl<M: Copy> Parser<M> {
    /// `requests` is the direction in which requests flow. With `joined_mid_stream` the first bytes may be any part
    /// of a message.
    #[must_use]
    pub fn new(protocol: Protocol, requests: Direction, joined_mid_stream: bool) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1(http1::Parser::new(requests, joined_mid_stream)),
        }
    }

    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Http1(_) => Protocol::Http1,
        }
    }

    /// Takes the next piece of a direction. Poll messages and problems after each.
    pub fn handle(&mut self, direction: Direction, piece: StreamPiece<'_>, mark: M) {
        each!(self, parser => parser.handle(direction, piece, mark));
    }

    pub fn poll_message(&mut self) -> Option<Message<M>> {
        each!(self, parser => parser.poll_message())
    }

    pub fn poll_problem(&mut self) -> Option<Problem> {
        each!(self, parser => parser.poll_problem())
    }

    /// Nothing that follows on this connection is of this protocol.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        each!(self, parser => parser.is_finished())
    }

    /// Bytes of input that are held until they are understood.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        each!(self, parser => parser.held_bytes())
    }
}
