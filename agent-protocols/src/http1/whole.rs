// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ordinary conversation: a request in one piece, its response in another, and nothing else under way.
//!
//! In: the first piece of a half-turn. Out: the message, if the piece is that and no byte more.
//! Does not: know anything that the long way does not. What it does not take has changed nothing, and a test compares the
//! two on whatever comes.

use super::{
    Outstanding, Parser,
    body::{Framing, Step},
    chunks::Chunks,
    head::{Method, ResponseHead},
};
use crate::{
    message::{BodyEnd, Request, Response, Whole, WholeMessage},
    piece::Direction,
};

impl<M: Copy> Parser<M> {
    /// Takes a half-turn's first piece in place of its `Turn` and its `Bytes`, or leaves it to them.
    pub fn handle_whole(&mut self, direction: Direction, bytes: &[u8]) -> Option<WholeMessage> {
        let is_idle = !self.finished && self.open_request.is_none() && self.messages.is_empty();
        // Empty lines before a head are no part of it.
        let is_idle = is_idle && !matches!(bytes, [] | [b'\r' | b'\n', ..]);
        if !is_idle || !self.requests.is_at_head() || !self.responses.is_at_head() {
            return None;
        }
        if direction == self.direction { self.whole_request(bytes) } else { self.whole_response(bytes) }
    }

    fn whole_request(&mut self, bytes: &[u8]) -> Option<WholeMessage> {
        if !self.outstanding.is_empty() {
            return None;
        }
        let (head, length) = self.requests.read_ahead(bytes)?;
        if head.method == Method::Connect || head.length_is_invalid {
            return None;
        }
        let end = whole_body(head.framing, &bytes[length..])?;
        self.requests.pass_message(end);
        self.turned_since_head = false;
        self.batch_is_split = false;
        self.batch = self.batch.wrapping_add(1);
        let stream = self.next_stream;
        self.next_stream += 1;
        let outstanding = Outstanding {
            stream,
            method: head.method,
            is_web_call: head.is_web_call(),
            batch: self.batch,
            after_loss: false,
        };
        self.outstanding.push_back(outstanding);
        Some(WholeMessage { stream, whole: Whole::Request(Request::Http(head.request), end) })
    }

    fn whole_response(&mut self, bytes: &[u8]) -> Option<WholeMessage> {
        if self.outstanding.len() != 1 {
            return None;
        }
        let Outstanding { stream, method, is_web_call, .. } = *self.outstanding.front()?;
        if is_web_call {
            return None;
        }
        let (head, length) = self.responses.read_ahead(bytes)?;
        let status = head.response.status;
        let is_tunnel = method == Method::Connect && (200..300).contains(&status);
        if (100..200).contains(&status) || is_tunnel || head.length_is_invalid {
            return None;
        }
        let end = whole_body(head.framing_of(method), &bytes[length..])?;
        self.responses.pass_message(end);
        self.outstanding.pop_front();
        Some(WholeMessage { stream, whole: Whole::Response(Response::Http(head.response), end) })
    }
}

impl ResponseHead {
    /// Whether there is a body is up to the status and the request.
    pub(super) const fn framing_of(&self, method: Method) -> Framing {
        match (method, self.response.status) {
            (Method::Head, _) | (_, 204 | 304) => Framing::Length(0),
            _ => self.framing,
        }
    }
}

/// The end of a body that is exactly these bytes.
fn whole_body(framing: Framing, bytes: &[u8]) -> Option<BodyEnd> {
    let mut counted = bytes.len() as u64;
    let is_whole = match framing {
        Framing::Length(length) => length == counted,
        Framing::Chunked => {
            counted = 0;
            Chunks::new().read(bytes, &mut counted) == Step::Ended { used: bytes.len() as u64 }
        }
        Framing::UntilClose | Framing::Unknown => false,
    };
    is_whole.then_some(BodyEnd { body_bytes: Some(counted), bytes_lost: false })
}
