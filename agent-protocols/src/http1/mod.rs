// SPDX-License-Identifier: Apache-2.0 OR MIT
//! HTTP/1.0 and HTTP/1.1, both directions of one connection (RFC 9110, RFC 9112).
//!
//! In: [`StreamPiece`]s of both directions, in the order in which they happened. Out: [`Message`]s and [`Problem`]s.
//! Does not: hold bodies; hold more than the beginning of a head; guess what was in a gap. A gap is stepped over where
//! the framing says what it hides. Where it does not, the exchange is flagged or broken, and reading goes on at the
//! next turn of the conversation.
//!
//! `lane` reads one direction; `requests` and `responses` say what it means for the exchanges that are outstanding.

mod again;
mod body;
mod carefully;
mod chunks;
mod fields;
mod head;
mod head_reader;
mod lane;
mod plain;
mod recognition;
mod requests;
mod responses;
mod tail;
mod web_call;
mod whole;

#[cfg(test)]
mod tests;

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

pub use self::recognition::recognise;
use self::{
    head::{Method, RequestHead, ResponseHead},
    lane::{Lane, Place},
    web_call::WebCall,
};
use crate::{
    message::{BodyEnd, Broken, Message, Part, Problem},
    piece::{Direction, End, StreamPiece},
};

/// Bytes of one head: 64 KiB, which is what servers that allow much allow, and 4 KiB for a long target before it.
/// Larger: a stream of garbage that looks like a head holds more memory, per connection and direction. Smaller: a
/// traceparent behind large cookies is lost, and the exchange with it.
pub const MAX_HEAD_BYTES: usize = 68 * 1024;

/// Requests that may wait for their response. Larger: memory on connections that only ever send requests, 24 bytes
/// each. Smaller: clients that pipeline deeper lose the requests beyond.
pub const MAX_OUTSTANDING: usize = 128;

#[derive(Debug)]
pub struct Parser<M> {
    /// The direction in which requests flow.
    direction: Direction,
    requests: Lane<M, RequestHead>,
    responses: Lane<M, ResponseHead>,
    /// The request of which the end has not been told yet.
    open_request: Option<u64>,
    /// Requests without a whole response, oldest first.
    outstanding: VecDeque<Outstanding>,
    next_stream: u64,
    /// Requests that followed one another without a turn in between were pipelined: a batch.
    batch: u32,
    /// The conversation has turned between requests of the newest batch, inside a body: after a loss nobody can say
    /// which of them a response is for.
    batch_is_split: bool,
    /// The conversation has turned since the newest request's head began.
    turned_since_head: bool,
    finished: bool,
    upgraded: Option<Box<Upgraded<M>>>,
    /// The body that is being read among the responses answers a call of gRPC-Web.
    web_call: Option<Box<WebCall>>,
    messages: VecDeque<Message<M>>,
    problems: VecDeque<Problem>,
}

/// A connection on which HTTP/2 was asked for and granted (RFC 7540 section 3.2). The request is answered there.
#[derive(Debug)]
pub(crate) struct Upgrade<M> {
    /// The direction in which requests flow.
    pub(crate) requests: Direction,
    pub(crate) upgraded: Upgraded<M>,
    /// What has not been polled.
    pub(crate) messages: VecDeque<Message<M>>,
    pub(crate) problems: VecDeque<Problem>,
}

#[derive(Debug)]
pub(crate) struct Upgraded<M> {
    /// The number of the request that asked for it.
    pub(crate) request: u64,
    /// Where the response's head ends that granted it, and what came behind it in its piece.
    pub(crate) mark: M,
    pub(crate) offset: u32,
    pub(crate) rest: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    stream: u64,
    method: Method,
    /// A call of gRPC-Web, the status of which ends the response's body.
    is_web_call: bool,
    batch: u32,
    /// Requests may have been lost right before it: the next response is its own only if it begins at a turn.
    after_loss: bool,
}

impl<M: Copy> Parser<M> {
    /// `requests` is the direction in which requests flow. With `joined_mid_stream` the first bytes may be any part
    /// of a message.
    #[must_use]
    pub fn new(requests: Direction, joined_mid_stream: bool) -> Self {
        Self {
            direction: requests,
            requests: Lane::new(joined_mid_stream),
            responses: Lane::new(joined_mid_stream),
            open_request: None,
            outstanding: VecDeque::new(),
            next_stream: 0,
            batch: 0,
            batch_is_split: false,
            turned_since_head: false,
            finished: false,
            upgraded: None,
            web_call: None,
            messages: VecDeque::new(),
            problems: VecDeque::new(),
        }
    }

    /// Takes the next piece. Poll messages and problems after each: what one piece can yield is bounded by
    /// [`MAX_OUTSTANDING`], what waits to be polled is not.
    pub fn handle(&mut self, direction: Direction, piece: StreamPiece<'_>, mark: M) {
        if self.finished {
            return;
        }
        let is_settled = self.requests.has_no_half_head() && self.responses.has_no_half_head();
        if !is_settled && matches!(piece, StreamPiece::Turn | StreamPiece::End(_)) {
            // What has come so far is judged now, so that garbage does not swallow what follows the turn.
            let (request, response) = (self.requests.settle(), self.responses.settle());
            self.request_event(request);
            self.response_event(response, mark);
        }
        if direction == self.direction {
            self.handle_request_piece(piece, mark);
        } else {
            self.handle_response_piece(piece, mark);
        }
    }

    pub fn poll_message(&mut self) -> Option<Message<M>> {
        self.messages.pop_front()
    }

    pub fn poll_problem(&mut self) -> Option<Problem> {
        self.problems.pop_front()
    }

    /// The connection was upgraded or became a tunnel: nothing that follows is HTTP/1.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Gives what HTTP/2 goes on with, once, if the piece that was just handled made it that.
    #[cold]
    pub(crate) fn take_upgrade(&mut self) -> Option<Upgrade<M>> {
        let upgraded = *self.upgraded.take()?;
        let (messages, problems) = (core::mem::take(&mut self.messages), core::mem::take(&mut self.problems));
        Some(Upgrade { requests: self.direction, upgraded, messages, problems })
    }

    /// Forgets the heads before.
    pub fn rest(&mut self) {
        self.requests.rest();
        self.responses.rest();
    }

    /// Bytes of incomplete heads that are held: at most [`MAX_HEAD_BYTES`] a direction.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.requests.held_bytes() + self.responses.held_bytes()
    }

    fn tell(&mut self, stream: u64, place: Place<M>, part: Part) {
        self.messages.push_back(Message { stream, mark: place.mark, offset: place.offset, part });
    }

    fn note(&mut self, problem: Problem) {
        self.problems.push_back(problem);
    }

    /// Tells the end of the request that is open, if one is.
    fn end_request(&mut self, end: BodyEnd, place: Place<M>) {
        if let Some(stream) = self.open_request.take() {
            self.tell(stream, place, Part::RequestEnd(end));
        }
    }

    /// Ends the oldest outstanding exchange without a response.
    fn break_oldest(&mut self, broken: Broken, mark: M) {
        self.web_call = None;
        if let Some(oldest) = self.outstanding.pop_front() {
            if self.open_request == Some(oldest.stream) {
                self.open_request = None;
            }
            self.tell(oldest.stream, Place { mark, offset: 0 }, Part::Broken(broken));
        }
    }

    fn break_all(&mut self, broken: Broken, mark: M) {
        while !self.outstanding.is_empty() {
            self.break_oldest(broken, mark);
        }
    }

    /// Why exchanges break when nothing more can come, if nothing is known that broke them before.
    fn reason_of_end(&self, end: End) -> Broken {
        match end {
            End::Abandoned => Broken::Abandoned,
            End::Finished if self.requests.ended() != Some(End::Reset) => Broken::ConnectionClosed,
            _ => Broken::ConnectionReset,
        }
    }
}
