// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A lane: one direction of a connection, on which messages follow one another.
//!
//! In: pieces. Out: heads, ends of bodies, and that the place was lost.
//! A lane that has lost its place skips until the conversation turns, and then tries to read a head: if what is there
//! is none, nothing has changed.
//! Does not: know what the other lane does; the parser joins the two.

use super::{
    body::{Body, Framing, Step},
    chunks::Chunks,
    head::Head,
    head_reader::{HeadReader, Read},
    tail::Tail,
};
use crate::{
    message::{BodyEnd, Broken, Problem},
    piece::End,
};

/// A place in a direction: so many bytes behind the start of the piece with this mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<M> {
    pub(super) mark: M,
    pub(super) offset: u32,
}

impl<M> Place<M> {
    pub(super) fn new(mark: M, offset: u64) -> Self {
        Self { mark, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
    }
}

#[derive(Debug)]
pub(super) struct Lane<M, H> {
    state: State<M>,
    head: HeadReader<H>,
    /// Where the head that is being read begins, and whether the conversation had turned right before it.
    head_begin: Option<(Place<M>, bool)>,
    /// Of the body that is being read.
    body_bytes: u64,
    bytes_lost: bool,
    /// Neither byte nor gap since the conversation turned.
    at_turn: bool,
    ended: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum State<M> {
    /// A head is due. `otherwise` is what the lane goes back to where none is found: it had lost its place.
    Head {
        otherwise: Option<Otherwise<M>>,
    },
    Body(Body),
    UntilClose {
        last: Place<M>,
    },
    Astray(Otherwise<M>),
}

/// The place is lost.
#[derive(Clone, Copy, Debug)]
enum Otherwise<M> {
    /// Inside a body, the end of which cannot be told from its framing; `last` is where its last piece ended.
    InBody { last: Place<M>, tail: Tail },
    /// Anywhere.
    Lost { because: Broken },
}

pub(super) enum Event<M, H> {
    Head {
        head: H,
        begin: Place<M>,
        end: Place<M>,
        /// It is the first thing since the conversation turned.
        at_turn: bool,
        /// The lane had lost its place before.
        found_again: bool,
        /// The message before, of which the end could not be told, must have ended here.
        before: Option<(BodyEnd, Place<M>)>,
    },
    BodyEnded(BodyEnd, Place<M>),
    /// The place is lost from here on.
    Misread(Problem),
    /// A body's framing broke; where it ends is not known.
    BodyMisread(Problem),
}

/// What a lane was doing when it ended.
pub(super) enum Unfinished<M> {
    Nothing,
    Head,
    /// A body the end of which should have come.
    Body(BodyEnd),
    /// A body that may well end with its lane.
    OpenBody(BodyEnd, Place<M>),
    Lost(Broken),
}

impl<M: Copy, H: Head> Lane<M, H> {
    pub(super) fn new(joined_mid_stream: bool) -> Self {
        let otherwise = joined_mid_stream.then_some(Otherwise::Lost { because: Broken::BytesLost });
        Self {
            state: State::Head { otherwise },
            head: HeadReader::default(),
            head_begin: None,
            body_bytes: 0,
            bytes_lost: false,
            at_turn: true,
            ended: None,
        }
    }

    /// The other direction has begun something new, so that the next byte here does, too: what was lost was before.
    pub(super) fn expect_turn(&mut self) {
        if !self.head.has_begun() {
            self.at_turn = true;
            self.seek();
        }
    }

    fn seek(&mut self) {
        if let State::Astray(otherwise) = self.state {
            self.state = State::Head { otherwise: Some(otherwise) };
        }
    }

    /// The conversation has turned: a lane that has lost its place may find a head here.
    pub(super) fn turn(&mut self) {
        self.at_turn = true;
        if matches!(self.state, State::Head { otherwise: Some(_) }) && !self.head.has_first_line() {
            // Part of a word, where the place was lost: more likely a body's than a head's that goes on after a turn.
            self.head.clear();
        }
        self.seek();
    }

    /// Reads on from `at` until something has happened, or all is read.
    pub(super) fn read(&mut self, bytes: &[u8], at: &mut usize, mark: M) -> Option<Event<M, H>> {
        let piece_end = Place::new(mark, bytes.len() as u64);
        while *at < bytes.len() {
            let rest = &bytes[*at..];
            if !matches!(self.state, State::Head { .. }) {
                self.at_turn = false;
            }
            match &mut self.state {
                State::Head { .. } => {
                    if let Some(event) = self.read_head(bytes, at, mark) {
                        return Some(event);
                    }
                }
                State::Body(body) => match body.read(rest, &mut self.body_bytes) {
                    Step::Inside => *at = bytes.len(),
                    Step::Ended { used } => {
                        *at += usize::try_from(used).expect("no more than there was in the slice");
                        return Some(self.body_ended(Place::new(mark, *at as u64)));
                    }
                    Step::Astray => {
                        *at = bytes.len();
                        let tail = Tail::default();
                        self.state = State::Astray(Otherwise::InBody { last: piece_end, tail });
                        return Some(Event::BodyMisread(Problem::MalformedChunk));
                    }
                },
                State::UntilClose { last } => {
                    self.body_bytes = self.body_bytes.saturating_add(rest.len() as u64);
                    *last = piece_end;
                    *at = bytes.len();
                }
                State::Astray(Otherwise::InBody { last, tail }) => {
                    *last = piece_end;
                    *at = bytes.len();
                    if tail.push(rest) {
                        let end = BodyEnd { body_bytes: None, bytes_lost: self.bytes_lost };
                        let otherwise = Some(Otherwise::Lost { because: Broken::BytesLost });
                        self.state = State::Head { otherwise };
                        return Some(Event::BodyEnded(end, piece_end));
                    }
                }
                State::Astray(Otherwise::Lost { .. }) => *at = bytes.len(),
            }
        }
        None
    }

    fn read_head(&mut self, bytes: &[u8], at: &mut usize, mark: M) -> Option<Event<M, H>> {
        let start = *at;
        if !self.head.has_begun() {
            // Empty lines before a request are to be ignored (RFC 9112 section 2.2); before a response they harm no one.
            let empty = bytes[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            *at += empty;
            if *at == bytes.len() {
                return None;
            }
            self.head_begin = Some((Place::new(mark, *at as u64), self.at_turn));
        }
        self.at_turn = false;
        match self.head.read(&bytes[*at..]) {
            Read::Whole { head, used } => {
                *at += used;
                let (begin, at_turn) = self.head_begin.take()?;
                let otherwise = self.otherwise();
                self.state = State::Head { otherwise: None };
                Some(Event::Head {
                    head,
                    begin,
                    end: Place::new(mark, *at as u64),
                    at_turn,
                    found_again: otherwise.is_some(),
                    before: match otherwise {
                        Some(Otherwise::InBody { last, .. }) => Some((self.uncounted(), last)),
                        _ => None,
                    },
                })
            }
            Read::Begun => {
                *at = bytes.len();
                None
            }
            Read::Malformed(problem) => {
                *at = start;
                self.no_head(problem)
            }
        }
    }

    /// What was taken for a head's beginning is none.
    fn no_head(&mut self, problem: Problem) -> Option<Event<M, H>> {
        self.head.clear();
        self.head_begin = None;
        let otherwise = self.otherwise();
        self.state = State::Astray(otherwise.unwrap_or(Otherwise::Lost { because: Broken::NotUnderstood }));
        otherwise.is_none().then_some(Event::Misread(problem))
    }

    /// Nothing is under way: what comes next is a head.
    pub(super) fn is_at_head(&self) -> bool {
        matches!(self.state, State::Head { otherwise: None }) && !self.head.has_begun() && self.ended.is_none()
    }

    /// The head that `bytes` begin with, where it is whole, and its length. The lane stays where it is.
    pub(super) fn read_ahead(&mut self, bytes: &[u8]) -> Option<(H, usize)> {
        self.head.read_ahead(bytes)
    }

    /// A whole message has passed.
    pub(super) fn pass_message(&mut self, end: BodyEnd) {
        self.at_turn = false;
        self.body_bytes = end.body_bytes.unwrap_or_default();
        self.bytes_lost = false;
    }

    /// There is nothing to settle.
    pub(super) fn has_no_half_head(&self) -> bool {
        !self.head.has_begun()
    }

    /// Judges a head that has begun by what there is of it.
    pub(super) fn settle(&mut self) -> Option<Event<M, H>> {
        let problem = self.head.settle()?;
        self.no_head(problem)
    }

    fn otherwise(&self) -> Option<Otherwise<M>> {
        match self.state {
            State::Head { otherwise } => otherwise,
            _ => None,
        }
    }

    /// Bytes that were there and are not known.
    pub(super) fn gap(&mut self, length: u64, mark: M) -> Option<Event<M, H>> {
        if length == 0 {
            return None;
        }
        self.at_turn = false;
        let gap_end = Place::new(mark, length);
        let lost = Otherwise::Lost { because: Broken::BytesLost };
        match &mut self.state {
            State::Head { otherwise } => {
                let had_begun = self.head.has_begun() && otherwise.is_none();
                let settled = self.settle();
                if let State::Head { otherwise } = self.state {
                    self.state = State::Astray(otherwise.unwrap_or(lost));
                }
                self.head.clear();
                self.head_begin = None;
                self.note_gap_astray(gap_end);
                settled.or(had_begun.then_some(Event::Misread(Problem::HeadCutShort)))
            }
            State::Body(body) => {
                self.bytes_lost = true;
                match body.skip(length, &mut self.body_bytes) {
                    Step::Inside => None,
                    Step::Ended { used } => {
                        let event = self.body_ended(Place::new(mark, used));
                        if used < length {
                            self.state = State::Astray(lost);
                        }
                        Some(event)
                    }
                    Step::Astray => {
                        self.state = State::Astray(Otherwise::InBody { last: gap_end, tail: Tail::default() });
                        None
                    }
                }
            }
            State::UntilClose { last } => {
                self.bytes_lost = true;
                self.body_bytes = self.body_bytes.saturating_add(length);
                *last = gap_end;
                None
            }
            State::Astray(_) => {
                self.note_gap_astray(gap_end);
                None
            }
        }
    }

    fn note_gap_astray(&mut self, gap_end: Place<M>) {
        if let State::Astray(Otherwise::InBody { last, tail }) = &mut self.state {
            self.bytes_lost = true;
            *last = gap_end;
            *tail = Tail::default();
        }
    }

    pub(super) fn end(&mut self, end: End) -> Unfinished<M> {
        self.ended = Some(end);
        let known = BodyEnd { body_bytes: Some(self.body_bytes), bytes_lost: self.bytes_lost };
        let unfinished = match self.state {
            State::Head { otherwise: None } if self.head.has_begun() => Unfinished::Head,
            State::Head { otherwise: None } => Unfinished::Nothing,
            // Nothing has come since the turn, so that nothing of what was due here was lost.
            State::Head { otherwise: Some(Otherwise::Lost { .. }) } if self.at_turn => Unfinished::Nothing,
            State::Body(_) => Unfinished::Body(self.uncounted()),
            State::UntilClose { last } => Unfinished::OpenBody(known, last),
            State::Head { otherwise: Some(Otherwise::InBody { last, .. }) }
            | State::Astray(Otherwise::InBody { last, .. }) => Unfinished::OpenBody(self.uncounted(), last),
            State::Head { otherwise: Some(Otherwise::Lost { because }) }
            | State::Astray(Otherwise::Lost { because }) => Unfinished::Lost(because),
        };
        self.head.clear();
        unfinished
    }

    /// The head just read has a body that ends like this, if it has one at all: an empty one ends at once.
    pub(super) fn begin_body(&mut self, framing: Framing, head_end: Place<M>) -> Option<BodyEnd> {
        self.body_bytes = 0;
        self.bytes_lost = false;
        self.state = match framing {
            Framing::Length(0) => return Some(BodyEnd { body_bytes: Some(0), bytes_lost: false }),
            Framing::Length(left) => State::Body(Body::Length { left }),
            Framing::Chunked => State::Body(Body::Chunked(Chunks::new())),
            Framing::UntilClose => State::UntilClose { last: head_end },
            Framing::Unknown => State::Astray(Otherwise::InBody { last: head_end, tail: Tail::default() }),
        };
        None
    }

    fn body_ended(&mut self, place: Place<M>) -> Event<M, H> {
        self.state = State::Head { otherwise: None };
        Event::BodyEnded(BodyEnd { body_bytes: Some(self.body_bytes), bytes_lost: self.bytes_lost }, place)
    }

    fn uncounted(&self) -> BodyEnd {
        BodyEnd { body_bytes: None, bytes_lost: self.bytes_lost }
    }

    /// Skips until the conversation turns.
    pub(super) fn lose(&mut self, because: Broken) {
        self.head.clear();
        self.head_begin = None;
        self.state = State::Astray(Otherwise::Lost { because });
    }

    /// The end of the body that the lane is lost in, as far as it has come; the lane then skips to the next turn.
    pub(super) fn give_up_body(&mut self) -> Option<(BodyEnd, Place<M>)> {
        match &mut self.state {
            State::Astray(astray @ Otherwise::InBody { .. })
            | State::Head { otherwise: Some(astray @ Otherwise::InBody { .. }) } => {
                let Otherwise::InBody { last, .. } = *astray else { return None };
                *astray = Otherwise::Lost { because: Broken::BytesLost };
                Some((self.uncounted(), last))
            }
            _ => None,
        }
    }

    /// The place is lost, inside a body or anywhere.
    pub(super) const fn is_astray(&self) -> bool {
        matches!(self.state, State::Astray(_) | State::Head { otherwise: Some(_) })
    }

    /// Why the place is lost, if it is and not just inside a body.
    pub(super) fn lost_because(&self) -> Option<Broken> {
        match self.state {
            State::Head { otherwise: Some(Otherwise::Lost { because }) }
            | State::Astray(Otherwise::Lost { because }) => Some(because),
            _ => None,
        }
    }

    pub(super) const fn ended(&self) -> Option<End> {
        self.ended
    }

    pub(super) fn rest(&mut self) {
        self.head.rest();
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.head.held_bytes()
    }
}
