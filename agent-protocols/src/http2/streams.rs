// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The streams of a connection that are open, and what frames mean for them.
//!
//! In: the events of both lanes. Out: messages and problems.
//! A stream is known from the head of its request until both sides have ended, or until it is reset. What comes for
//! others is of no request that was seen.
//! Does not: read frames, or know in which direction requests flow.

use alloc::{collections::VecDeque, vec::Vec};

use super::{
    MAX_OUTSTANDING,
    event::Event,
    field_list::Kind,
    head::{Body, Head},
    place::Place,
    stream::{ResponseHead, Side, Stream},
};
use crate::message::{BodyEnd, Broken, ErrorCode, Message, Part, Problem};

/// Requests that begin after a loss before those are given up that may have ended in it. Larger: a request whose end was
/// lost gets its span later, or too many of them keep new ones from being followed. Smaller: a slow one that goes on
/// after the loss is told as lost.
const REQUESTS_TO_GIVE_UP: u32 = 32;

/// Stream ids of one side go up by two.
const ID_STEP: u32 = 2;

#[derive(Debug)]
pub(super) struct Streams<M> {
    /// By id.
    open: Vec<Stream<M>>,
    /// The number that messages of stream 1 carry.
    first_number: u64,
    /// The highest stream that a request was seen to begin on, of those that the server begins, and of the client's.
    highest: [u32; 2],
    /// The request that is one too many for those in doubt.
    doubt_until: Option<u32>,
    has_told: bool,
    pub(super) messages: VecDeque<Message<M>>,
    pub(super) problems: VecDeque<Problem>,
}

impl<M> Default for Streams<M> {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            first_number: 1,
            highest: [0; 2],
            doubt_until: None,
            has_told: false,
            messages: VecDeque::new(),
            problems: VecDeque::new(),
        }
    }
}

impl<M: Copy> Streams<M> {
    /// The request with this number has asked for HTTP/2; it has been told, and is answered on stream 1.
    pub(super) fn upgraded(request: u64, messages: VecDeque<Message<M>>, problems: VecDeque<Problem>) -> Self {
        let mut stream = Stream::new(1, Body::Untold);
        stream.request.has_ended = true;
        let open = Vec::from([stream]);
        Self { open, first_number: request, highest: [0, 1], messages, problems, ..Self::default() }
    }

    /// Anything of HTTP/2 has been understood.
    pub(super) const fn has_told(&self) -> bool {
        self.has_told
    }

    pub(super) fn handle(&mut self, side: Side, event: Event<'_, M>) {
        match event {
            Event::Block { stream, is_promise, ends_stream, head, begin, end } => {
                self.has_told = true;
                if head.is_too_large {
                    self.note(Problem::HeadTooLarge);
                }
                match (is_promise, side) {
                    (true, _) => self.promise(stream, head, begin, end),
                    (false, Side::Request) => self.request_block(stream, head, ends_stream, begin, end),
                    (false, Side::Response) => self.response_block(stream, head, ends_stream, begin, end),
                }
            }
            Event::BlockLost { stream, ends_stream, end } => self.block_lost(stream, side, ends_stream, end),
            Event::Data { stream, bytes } => {
                if let Some(stream) = self.find(stream, side) {
                    stream.read(side, bytes);
                }
            }
            Event::DataLost { stream, length, is_counted } => {
                if let Some(stream) = self.find(stream, side) {
                    stream.skip(side, length, is_counted);
                }
            }
            Event::StreamEnded { stream, end } => self.end_side(stream, side, end),
            Event::Reset { stream, code, end } => self.reset(stream, code, end),
            Event::GoAway { last_stream, end } => self.go_away(side, last_stream, end),
            Event::PlaceLost { at } => self.doubt_all(side, at),
            Event::Noticed(problem) => self.note(problem),
        }
    }

    /// Nothing more will come of the side that asks: what it has not finished it has given up.
    pub(super) fn end_requests(&mut self, mark: M) {
        for index in (0..self.open.len()).rev() {
            let stream = &mut self.open[index];
            if !core::mem::replace(&mut stream.request.has_ended, true) {
                let end = stream.request.cut_short();
                self.tell_end(index, Side::Request, end, Place { mark, offset: 0 });
            }
        }
    }

    /// Nothing more will come of either side.
    pub(super) fn end_all(&mut self, broken: Broken, mark: M) {
        while !self.open.is_empty() {
            self.break_stream(0, broken, Place { mark, offset: 0 });
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.open.capacity() * size_of::<Stream<M>>()
    }

    fn request_block(&mut self, id: u32, head: &Head, ends_stream: bool, begin: Place<M>, end: Place<M>) {
        if self.find(id, Side::Request).is_some() {
            // Trailers, which end the stream (RFC 9113 section 8.1).
            match ends_stream {
                true => self.end_side(id, Side::Request, end),
                false => self.note(Problem::MalformedHead),
            }
            return;
        }
        match head.kind {
            // Trailers of a stream that is over: ids go up (RFC 9113 section 5.1.1).
            _ if id <= self.highest_like(id) => return,
            Kind::Request => {}
            // What does not end the stream are no trailers.
            Kind::Unknown if !ends_stream => {}
            Kind::Unknown => return self.note(Problem::NotAMessage),
            // Of a stream that was never seen.
            Kind::Response | Kind::Trailers => return,
        }
        if self.open_stream(id, head, begin) && ends_stream {
            self.end_side(id, Side::Request, end);
        }
    }

    /// The server asks in the client's name: the request is whole.
    fn promise(&mut self, id: u32, head: &Head, begin: Place<M>, end: Place<M>) {
        if id > self.highest_like(id) && self.open_stream(id, head, begin) {
            self.end_side(id, Side::Request, end);
        }
    }

    fn open_stream(&mut self, id: u32, head: &Head, begin: Place<M>) -> bool {
        let Some(request) = head.request() else { return false };
        let is_clients = !id.is_multiple_of(ID_STEP);
        self.highest[usize::from(is_clients)] = id;
        let is_full = self.open.len() >= MAX_OUTSTANDING;
        if is_full || self.doubt_until.is_some_and(|until| is_clients && id >= until) {
            self.give_up_doubted();
        }
        if self.open.len() >= MAX_OUTSTANDING {
            self.note(Problem::TooManyOutstanding);
            return false;
        }
        let stream = Stream::new(id, head.body);
        let index = self.open.partition_point(|open| open.id < id);
        self.open.insert(index, stream);
        self.tell(id, begin, Part::RequestHead(request));
        true
    }

    fn response_block(&mut self, id: u32, head: &Head, ends_stream: bool, begin: Place<M>, end: Place<M>) {
        let is_informational = head.status.is_some_and(|status| (100..200).contains(&status)) && !ends_stream;
        let highest = self.highest_like(id);
        let Some(stream) = self.find(id, Side::Response) else {
            // To one that was reset, or that began before anything was seen, there is no harm in an answer.
            if highest > 0 && id > highest && head.kind == Kind::Response && !is_informational {
                self.note(Problem::ResponseWithoutRequest);
            }
            return;
        };
        if is_informational {
            return;
        }
        stream.note_answer(head, ends_stream);
        let is_head = stream.response_head == ResponseHead::Due;
        if is_head && head.kind == Kind::Trailers {
            stream.response_head = ResponseHead::Lost;
        } else if is_head {
            // Bias: of a status that is not known nobody can say that it is informational. It is taken for the final one,
            // and the one behind it is passed over.
            stream.response_head = ResponseHead::Told;
            self.tell(id, begin, Part::ResponseHead(head.response()));
        }
        if ends_stream {
            self.end_side(id, Side::Response, end);
        }
    }

    fn block_lost(&mut self, id: u32, side: Side, ends_stream: bool, end: Place<M>) {
        let Some(stream) = self.find(id, side) else { return };
        if side == Side::Response && stream.response_head == ResponseHead::Due {
            stream.response_head = ResponseHead::Lost;
        }
        stream.half(side).lose();
        if ends_stream {
            self.end_side(id, side, end);
        }
    }

    fn end_side(&mut self, id: u32, side: Side, end: Place<M>) {
        let Some(index) = self.index(id) else { return };
        let stream = &mut self.open[index];
        stream.reassure(side);
        if side == Side::Response && stream.response_head != ResponseHead::Told {
            return self.break_stream(index, Broken::BytesLost, end);
        }
        let half = stream.half(side);
        if core::mem::replace(&mut half.has_ended, true) {
            return;
        }
        let body = half.end();
        self.tell_end(index, side, body, end);
    }

    /// Tells the end of a side, and forgets the stream if it is the second.
    fn tell_end(&mut self, index: usize, side: Side, body: BodyEnd, place: Place<M>) {
        let stream = &self.open[index];
        let (id, is_over) = (stream.id, stream.request.has_ended && stream.response.has_ended);
        if is_over {
            self.forget(index, place);
        }
        self.tell(id, place, if side == Side::Request { Part::RequestEnd(body) } else { Part::ResponseEnd(body) });
    }

    fn reset(&mut self, id: u32, code: Option<u32>, place: Place<M>) {
        let Some(index) = self.index(id) else { return };
        let stream = &mut self.open[index];
        stream.reassure(Side::Request);
        stream.reassure(Side::Response);
        let code = code.map_or(ErrorCode::Unknown, ErrorCode::from_number);
        self.break_stream(index, Broken::StreamReset(code), place);
    }

    /// Streams that the other side began after the last one it names will not be processed (RFC 9113 section 6.8).
    fn go_away(&mut self, side: Side, last_stream: u32, place: Place<M>) {
        let is_refused = |id: u32| id > last_stream && id.is_multiple_of(ID_STEP) == (side == Side::Request);
        while let Some(index) = self.open.iter().position(|stream| is_refused(stream.id)) {
            self.break_stream(index, Broken::GoAway, place);
        }
    }

    fn doubt_all(&mut self, side: Side, at: Place<M>) {
        for stream in &mut self.open {
            stream.doubt(side, at);
        }
        self.doubt_until.get_or_insert(self.highest[1].saturating_add(REQUESTS_TO_GIVE_UP * ID_STEP));
    }

    fn give_up_doubted(&mut self) {
        self.doubt_until = None;
        while let Some(index) = self.open.iter().position(Stream::is_doubted) {
            let Some(place) = self.open[index].lost_at else { return };
            self.break_stream(index, Broken::BytesLost, place);
        }
    }

    fn break_stream(&mut self, index: usize, broken: Broken, place: Place<M>) {
        let stream = &mut self.open[index];
        let id = stream.id;
        // What ended it was lost before its connection ended.
        let (broken, place) = match stream.lost_at.filter(|_| stream.is_doubted()) {
            Some(lost_at) => (Broken::BytesLost, lost_at),
            None => (broken, place),
        };
        if stream.response.has_ended {
            // It was answered; the rest of the request is not wanted (RFC 9113 section 8.1), or will not come.
            stream.reassure(Side::Request);
            stream.request.has_ended = true;
            let end = stream.request.cut_short();
            return self.tell_end(index, Side::Request, end, place);
        }
        self.forget(index, place);
        self.tell(id, place, Part::Broken(broken));
    }

    fn forget(&mut self, index: usize, place: Place<M>) {
        let stream = self.open.remove(index);
        if let Some(rpc) = stream.rpc() {
            self.tell(stream.id, place, Part::Rpc(rpc));
        }
        if self.open.is_empty() {
            // A connection that is idle, or was flooded, keeps little.
            self.open.shrink_to(4);
        }
    }

    /// The highest stream so far that the same side began.
    fn highest_like(&self, id: u32) -> u32 {
        self.highest[usize::from(!id.is_multiple_of(ID_STEP))]
    }

    fn index(&self, id: u32) -> Option<usize> {
        self.open.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    fn find(&mut self, id: u32, side: Side) -> Option<&mut Stream<M>> {
        let index = self.index(id)?;
        let stream = &mut self.open[index];
        stream.reassure(side);
        Some(stream)
    }

    fn tell(&mut self, id: u32, place: Place<M>, part: Part) {
        let stream = self.first_number.wrapping_add(u64::from(id)).wrapping_sub(1);
        self.messages.push_back(Message { stream, mark: place.mark, offset: place.offset, part });
    }

    fn note(&mut self, problem: Problem) {
        self.problems.push_back(problem);
    }
}
