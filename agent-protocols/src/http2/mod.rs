// SPDX-License-Identifier: Apache-2.0 OR MIT
//! HTTP/2, both directions of one connection (RFC 9113), with gRPC's framing inside of it.
//!
//! In: [`StreamPiece`]s of both directions, in the order in which they happened. Out: [`Message`]s and [`Problem`]s.
//! Every stream is an exchange, from the head of its request to the end of its later side, its reset, or the connection's
//! end. A connection that is joined in its midst is followed from the first frame that is one beyond doubt.
//! Does not: hold bodies, police the peers, or guess what was in a gap. What stood in a table before it was seen is
//! absent, and the head says so.
//!
//! `lane` reads the frames of one direction, `hpack` their header blocks; `streams` says what they mean.

mod blocks;
mod event;
mod field;
mod field_list;
mod frame;
mod head;
mod hpack;
mod lane;
mod place;
mod recognition;
mod search;
mod stream;
mod streams;
mod told;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;

pub use self::recognition::{recognise, recognise_inside};
use self::{field_list::FieldList, lane::Lane, place::Place, stream::Side, streams::Streams};
use crate::{
    http1::Upgrade,
    message::{Broken, Message, Problem, WholeMessage},
    piece::{Direction, End, StreamPiece},
};

/// Bytes of one header block, and of the fields that are kept of it: as much as an HTTP/1 head may have. Larger: an
/// endless block holds more memory, per connection and direction. Smaller: what stands behind large cookies is lost,
/// and with it the table.
pub const MAX_HEAD_BYTES: usize = 68 * 1024;

/// Streams of a connection that are open at once. Larger: memory where streams are opened and left, 150 bytes each.
/// Smaller: clients with more requests under way at once lose those beyond (servers commonly allow 100 to 250).
pub const MAX_OUTSTANDING: usize = 1024;

/// What two tables of the usual size and a few streams take up. Larger: memory that no account shows. Smaller: thousands
/// of quiet connections use up what is meant for large heads.
const OWN_BYTES: usize = 16 * 1024;

/// Bytes without one frame after which a connection that was joined is none of HTTP/2. Larger: one that was taken for it
/// wrongly is read for longer. Smaller: one that was joined within a large body is given up.
const SEARCHED_TO_GIVE_UP: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub struct Parser<M> {
    /// The direction in which requests flow.
    direction: Direction,
    /// Apart, so that connections of other protocols do not pay for their size.
    lanes: Box<Lanes<M>>,
    streams: Streams<M>,
}

#[derive(Debug)]
struct Lanes<M> {
    requests: Lane<M>,
    responses: Lane<M>,
    /// What the last block held; its memory serves both lanes.
    list: FieldList,
}

impl<M: Copy> Parser<M> {
    /// `requests` is the direction in which requests flow. With `joined_mid_stream` the first bytes may be any part of
    /// a frame.
    #[must_use]
    pub fn new(requests: Direction, joined_mid_stream: bool) -> Self {
        let direction = requests;
        let (requests, responses) = match joined_mid_stream {
            true => (Lane::joined_mid_stream(), Lane::joined_mid_stream()),
            false => (Lane::new(true), Lane::new(false)),
        };
        let lanes = Box::new(Lanes { requests, responses, list: FieldList::default() });
        Self { direction, lanes, streams: Streams::default() }
    }

    /// Of a connection that was HTTP/1 until now.
    pub(crate) fn upgraded(upgrade: Upgrade<M>) -> Self {
        let Upgrade { requests, upgraded, messages, problems } = upgrade;
        let mut parser = Self::new(requests, false);
        parser.streams = Streams::upgraded(upgraded.request, messages, problems);
        let from = Place { mark: upgraded.mark, offset: upgraded.offset };
        parser.handle_from(requests.opposite(), StreamPiece::Bytes(&upgraded.rest), from);
        parser
    }

    /// Takes the next piece. Poll messages and problems after each: what one piece can yield is bounded by its length
    /// and by [`MAX_OUTSTANDING`], what waits to be polled is not.
    pub fn handle(&mut self, direction: Direction, piece: StreamPiece<'_>, mark: M) {
        self.handle_from(direction, piece, Place { mark, offset: 0 });
    }

    pub fn poll_message(&mut self) -> Option<Message<M>> {
        self.streams.messages.pop_front()
    }

    pub fn poll_problem(&mut self) -> Option<Problem> {
        self.streams.problems.pop_front()
    }

    /// It was joined, and nothing of HTTP/2 is to be found in it.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let Lanes { requests, responses, .. } = &*self.lanes;
        !self.streams.has_told() && requests.searched() + responses.searched() > SEARCHED_TO_GIVE_UP
    }

    /// Streams have no turns.
    pub const fn handle_whole(&mut self, _: Direction, _: &[u8]) -> Option<WholeMessage> {
        None
    }

    /// Nothing has come for a while: it forgets what it remembers to be faster.
    pub fn rest(&mut self) {
        let Lanes { requests, responses, .. } = &mut *self.lanes;
        requests.rest();
        responses.rest();
    }

    /// Bytes that are held beyond what any connection may: blocks that are not whole, large tables, many open streams.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let Lanes { requests, responses, list } = &*self.lanes;
        let held = requests.held_bytes() + responses.held_bytes() + list.memory() + self.streams.memory();
        held.saturating_sub(OWN_BYTES)
    }

    fn handle_from(&mut self, direction: Direction, piece: StreamPiece<'_>, from: Place<M>) {
        let Lanes { requests, responses, list } = &mut *self.lanes;
        let (side, lane, other) = match direction == self.direction {
            true => (Side::Request, requests, responses),
            false => (Side::Response, responses, requests),
        };
        if lane.ended().is_some() {
            return;
        }
        if let StreamPiece::End(end) = piece {
            return self.handle_end(side, end, from.mark);
        }
        let streams = &mut self.streams;
        let mut tell = |event: event::Event<'_, M>| streams.handle(side, event);
        match piece {
            // Frames follow one another whoever's turn it is.
            StreamPiece::Turn | StreamPiece::End(_) => {}
            StreamPiece::Bytes(bytes) => lane.read(bytes, from, list, &mut tell),
            StreamPiece::Gap { length } => lane.skip(length, from, list, &mut tell),
        }
        if let Some(told) = lane.take_told() {
            other.allow(told);
        }
    }

    fn handle_end(&mut self, side: Side, end: End, mark: M) {
        let Lanes { requests, responses, .. } = &mut *self.lanes;
        let lane = if side == Side::Request { &mut *requests } else { &mut *responses };
        if lane.end(end) {
            self.streams.problems.push_back(Problem::HeadCutShort);
        }
        let ends = [requests.ended(), responses.ended()];
        match (side, responses.ended()) {
            // A client may have said all it has to say, and wait for the answers.
            (Side::Request, None) if end == End::Finished => self.streams.end_requests(mark),
            (Side::Request, None) => {}
            _ => self.streams.end_all(reason_of(ends), mark),
        }
    }
}

/// Why streams break when nothing more can come.
fn reason_of(ends: [Option<End>; 2]) -> Broken {
    let is = |end| ends.contains(&Some(end));
    match (is(End::Abandoned), is(End::Reset)) {
        (true, _) => Broken::Abandoned,
        (false, true) => Broken::ConnectionReset,
        (false, false) => Broken::ConnectionClosed,
    }
}
