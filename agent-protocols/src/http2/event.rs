// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the frames of a lane say, to the streams that they are for.

use super::{head::Head, place::Place};
use crate::message::Problem;

pub(super) enum Event<'a, M> {
    /// A header block of this stream, or of the stream that was promised.
    Block {
        stream: u32,
        is_promise: bool,
        ends_stream: bool,
        head: &'a Head,
        begin: Place<M>,
        end: Place<M>,
    },
    /// There was one, and it cannot be read.
    BlockLost {
        stream: u32,
        ends_stream: bool,
        end: Place<M>,
    },
    Data {
        stream: u32,
        bytes: &'a [u8],
    },
    /// DATA that is not known. `is_counted`: but its length is.
    DataLost {
        stream: u32,
        length: u64,
        is_counted: bool,
    },
    /// The last DATA frame is over.
    StreamEnded {
        stream: u32,
        end: Place<M>,
    },
    Reset {
        stream: u32,
        code: Option<u32>,
        end: Place<M>,
    },
    GoAway {
        last_stream: u32,
        end: Place<M>,
    },
    /// Frames were lost; nobody knows of which streams.
    PlaceLost {
        at: Place<M>,
    },
    Noticed(Problem),
}
