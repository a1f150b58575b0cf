// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a parser is fed: pieces of one direction of a connection.

/// Which way bytes flow, seen from the watched process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Received,
    Sent,
}

impl Direction {
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Received => Self::Sent,
            Self::Sent => Self::Received,
        }
    }
}

/// A piece of one direction, in stream order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamPiece<'a> {
    /// The conversation has turned: the next bytes of this direction are the first since bytes of the other one.
    /// A parser that has lost its place looks for a message here.
    Turn,
    Bytes(&'a [u8]),
    /// Bytes that were there and are not known; their number is. A gap is told before anything that followed it, in
    /// either direction, and before the turn that it did not reach into: a response is taken for that of the oldest
    /// request that is known to be without one.
    Gap {
        length: u64,
    },
    /// Nothing more will come in this direction.
    End(End),
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order: the sender closed or shut down.
    Finished,
    /// By a reset or a failure.
    Reset,
    /// The watched process ended, or Onlooker stopped watching: what the peer saw is not known.
    Abandoned,
}
