// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The protocols that are known: whose are these first bytes, and the parser of each.
//!
//! In: what begins at a turn of a conversation. Out: a protocol, and which way its requests flow.
//! Does not: decide anything by port. A new protocol is one folder, with `recognise` and `Parser` as http1 has them,
//! and one line here.

use crate::{
    http1, http2,
    message::{Message, Problem, WholeMessage},
    piece::{Direction, StreamPiece},
};

protocols! {
    // In the order in which they are asked.
    Http1 = http1,
    Http2 = http2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    Found {
        protocol: Protocol,
        /// The direction in which requests flow.
        requests: Direction,
    },
    /// No protocol that is known.
    NotMine,
    /// It can still become one: ask again with more bytes. Never said of [`RECOGNITION_BYTES`] or more.
    NeedMore,
}

/// Bytes that a caller may have to hold until a protocol is found. Larger: garbage without a line break is held longer.
/// Smaller: a connection that begins with a longer request target is not recognised.
pub const RECOGNITION_BYTES: usize = 16 * 1024;

/// Whose are these bytes, which begin at a turn of the conversation?
#[must_use]
pub fn recognise(direction: Direction, first_bytes: &[u8]) -> Recognition {
    let mut recognition = Recognition::NotMine;
    for protocol in Protocol::ALL {
        match protocol.recognise(direction, first_bytes) {
            found @ Recognition::Found { .. } => return found,
            Recognition::NeedMore if first_bytes.len() < RECOGNITION_BYTES => recognition = Recognition::NeedMore,
            Recognition::NeedMore | Recognition::NotMine => {}
        }
    }
    recognition
}

impl Protocol {
    /// Many exchanges are under way at once on one connection, so that its turns say nothing of their number.
    #[must_use]
    pub const fn is_multiplexed(self) -> bool {
        matches!(self, Self::Http2)
    }
}

/// Whose is this piece, which lies anywhere in a connection that was joined? Only protocols are asked that can be joined
/// at any place; the others begin at a turn. `NeedMore` says that it is likely one of theirs: ask again with the next.
#[must_use]
pub fn recognise_inside(direction: Direction, piece: &[u8]) -> Recognition {
    http2::recognise_inside(direction, piece)
}

impl<M: Copy> Parser<M> {
    /// A connection can be handed over to another protocol (RFC 7540 section 3.2): what follows goes to its parser.
    fn hand_over(&mut self) {
        if let Self::Http1(http1) = self
            && http1.is_finished()
            && let Some(upgrade) = http1.take_upgrade()
        {
            *self = Self::Http2(http2::Parser::upgraded(upgrade));
        }
    }
}

/// Makes the enums of a list of protocols, and hands each call on to the protocol's own.
macro_rules! protocols {
    ($($name:ident = $folder:ident,)+) => {
        /// The protocols that are known.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Protocol {
            $($name,)+
        }

        impl Protocol {
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// The `protocol` label of the ledger.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($folder),)+
                }
            }

            fn recognise(self, direction: Direction, first_bytes: &[u8]) -> Recognition {
                match self {
                    $(Self::$name => $folder::recognise(direction, first_bytes),)+
                }
            }
        }

        /// The parser of one connection.
        #[derive(Debug)]
        pub enum Parser<M> {
            $($name($folder::Parser<M>),)+
        }

        impl<M: Copy> Parser<M> {
            /// `requests` is the direction in which requests flow. With `joined_mid_stream` the first bytes may be any
            /// part of a message.
            #[must_use]
            pub fn new(protocol: Protocol, requests: Direction, joined_mid_stream: bool) -> Self {
                match protocol {
                    $(Protocol::$name => Self::$name($folder::Parser::new(requests, joined_mid_stream)),)+
                }
            }

            #[must_use]
            pub const fn protocol(&self) -> Protocol {
                match self {
                    $(Self::$name(_) => Protocol::$name,)+
                }
            }

            /// Takes the next piece of a direction. Poll messages and problems after each.
            pub fn handle(&mut self, direction: Direction, piece: StreamPiece<'_>, mark: M) {
                match self {
                    $(Self::$name(parser) => parser.handle(direction, piece, mark),)+
                }
                self.hand_over();
            }

            /// Takes the first piece of a half-turn, in place of its `Turn` and its `Bytes`, where it is a whole message
            /// and nothing else is under way. Else nothing has happened, and `handle` has the word.
            pub fn handle_whole(&mut self, direction: Direction, bytes: &[u8]) -> Option<WholeMessage> {
                match self {
                    $(Self::$name(parser) => parser.handle_whole(direction, bytes),)+
                }
            }

            pub fn poll_message(&mut self) -> Option<Message<M>> {
                match self {
                    $(Self::$name(parser) => parser.poll_message(),)+
                }
            }

            pub fn poll_problem(&mut self) -> Option<Problem> {
                match self {
                    $(Self::$name(parser) => parser.poll_problem(),)+
                }
            }

            /// Nothing that follows on this connection is of this protocol.
            #[must_use]
            pub fn is_finished(&self) -> bool {
                match self {
                    $(Self::$name(parser) => parser.is_finished(),)+
                }
            }

            /// Nothing has come for a while: forgets what would only make the next message cheaper.
            pub fn rest(&mut self) {
                match self {
                    $(Self::$name(parser) => parser.rest(),)+
                }
            }

            /// Bytes of input that are held until they are understood.
            #[must_use]
            pub fn held_bytes(&self) -> usize {
                match self {
                    $(Self::$name(parser) => parser.held_bytes(),)+
                }
            }
        }
    };
}

use protocols;
