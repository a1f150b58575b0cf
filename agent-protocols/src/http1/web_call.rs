// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The answer to a call of gRPC-Web: the messages in its body, the last of which holds the status.
//!
//! In: the body as it lies on the wire, chunked or not. Out: what the call said beside heads and bodies.
//! Does not: read the request's messages, or bodies in base64 (`grpc-web-text`). A gap ends it: its end is what matters.

use alloc::boxed::Box;

use super::{body::Framing, chunks::Chunks};
use crate::{message::Rpc, rpc::MessageWalk};

#[derive(Debug)]
pub(super) struct WebCall {
    /// Absent where the body is not chunked.
    chunks: Option<Chunks>,
    walk: MessageWalk,
}

impl WebCall {
    pub(super) fn new(framing: Framing) -> Self {
        let chunks = (framing == Framing::Chunked).then(Chunks::new);
        Self { chunks, walk: MessageWalk::default() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let walk = &mut self.walk;
        match &mut self.chunks {
            // Where the framing ends or breaks, the body's own reader says so.
            Some(chunks) => drop(chunks.read_data(bytes, &mut 0, |data| walk.push(data))),
            None => walk.push(bytes),
        }
    }

    pub(super) fn told(&self) -> Box<Rpc> {
        Box::new(Rpc { responses: self.walk.messages(), status: self.walk.status(), ..Rpc::default() })
    }
}
