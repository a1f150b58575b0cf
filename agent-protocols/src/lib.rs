// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pure protocol parsers: pieces of two byte streams in, messages out.
//!
//! In: [`StreamPiece`]s of both directions of one connection, each with a mark of the caller's choosing.
//! Out: [`Message`]s that carry the mark of the piece they were found in, and counted [`Problem`]s.
//! Does not: look at a clock, a socket or a file; know spans, processes or pods; fail. A gap is ordinary input.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod http;
pub mod http1;
pub mod http2;
mod message;
mod piece;
mod registry;
mod rpc;
pub mod tls;

pub use message::{
    BodyEnd, Broken, ErrorCode, Message, Messages, Part, Problem, Request, Response, Rpc, Whole, WholeMessage,
};
pub use piece::{Direction, End, StreamPiece};
pub use registry::{Parser, Protocol, RECOGNITION_BYTES, Recognition, recognise, recognise_inside};
