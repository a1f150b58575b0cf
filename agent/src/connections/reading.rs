// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is made of a connection's bytes: first a guess at their protocol, then its parser.
//!
//! In: stream pieces in order. Out: messages. Does not: keep bytes past the few that a guess needs.

use std::rc::Rc;

use agent_protocols::{
    Direction, Parser, Part, Protocol, RECOGNITION_BYTES, Recognition, StreamPiece, WholeMessage, recognise,
    recognise_inside,
};

use super::heard::{Heard, Outputs, Side, What};
use crate::{
    exchanges::{ConnectionFacts, Role},
    moment::Moment,
};

/// Half-turns, seen from their first byte, that must be nobody's before the connection is given up. Larger: databases
/// and file transfers are copied for longer. Smaller: a connection whose first record was lost, or which was joined inside
/// a body, is given up though its next message would have been understood.
const REFUSALS_TO_GIVE_UP: u8 = 3;

pub(super) enum Reading {
    Guessing(Guess),
    Parsing(Box<Parsing>),
    /// Not understood, or finished.
    Deaf,
}

#[derive(Default)]
pub(super) struct Guess {
    prefix: Option<Box<Prefix>>,
    /// The next bytes are the first of a half-turn.
    at_start: bool,
    /// They are so without doubt.
    clean: bool,
    refusals: u8,
    /// Something came before that was not understood.
    missed: bool,
}

struct Prefix {
    direction: Direction,
    mark: Moment,
    bytes: Vec<u8>,
}

pub(super) struct Parsing {
    parser: Parser<Moment>,
    requests: Direction,
    /// The stream of the last request, until its end was seen.
    open_request: Option<u64>,
}

/// What a piece led to.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Effect {
    pub request_began: bool,
    /// By this piece the connection became uninteresting; the caller makes it deaf when it has settled its account.
    pub gave_up: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Self::Guessing(Guess::default())
    }
}

impl Reading {
    pub fn protocol(&self) -> Option<(Protocol, Direction)> {
        match self {
            Self::Parsing(parsing) => Some((parsing.parser.protocol(), parsing.requests)),
            _ => None,
        }
    }

    /// Frames of many exchanges follow one another on it.
    pub fn is_multiplexed(&self) -> bool {
        self.protocol().is_some_and(|(protocol, _)| protocol.is_multiplexed())
    }

    pub const fn is_deaf(&self) -> bool {
        matches!(self, Self::Deaf)
    }

    /// A request has begun whose end was not seen.
    pub fn is_inside_request(&self) -> bool {
        matches!(self, Self::Parsing(parsing) if parsing.is_inside_request())
    }

    /// Nothing has come for a while.
    pub fn rest(&mut self) {
        if let Self::Parsing(parsing) = self {
            parsing.parser.rest();
        }
    }

    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Guessing(guess) => guess.prefix.as_ref().map_or(0, |prefix| prefix.bytes.len()),
            Self::Parsing(parsing) => parsing.parser.held_bytes(),
            Self::Deaf => 0,
        }
    }

    /// `clean`: of a turn, that no byte between the half-turn's first and the next piece is missing.
    pub fn handle(
        &mut self,
        facts: &Rc<ConnectionFacts>,
        direction: Direction,
        piece: StreamPiece<'_>,
        mark: Moment,
        clean: bool,
        out: &mut Outputs,
    ) -> Effect {
        match self {
            Self::Deaf => Effect::default(),
            Self::Parsing(parsing) => parsing.handle(facts, direction, piece, mark, out),
            Self::Guessing(guess) => match guess.handle(facts, direction, piece, mark, clean) {
                Verdict::Open => Effect::default(),
                Verdict::GiveUp => Effect { gave_up: true, ..Effect::default() },
                Verdict::Found { protocol, requests, prefix } => {
                    let joined = facts.joined_mid_stream || guess.missed;
                    let parser = Parser::new(protocol, requests, joined);
                    let mut parsing = Box::new(Parsing { parser, requests, open_request: None });
                    let first = prefix.as_ref().map_or(mark, |prefix| prefix.mark);
                    parsing.parser.handle(direction, StreamPiece::Turn, first);
                    let mut request_began = false;
                    if let Some(prefix) = prefix {
                        let bytes = StreamPiece::Bytes(&prefix.bytes);
                        request_began = parsing.handle(facts, direction, bytes, first, out).request_began;
                    }
                    let mut effect = parsing.handle(facts, direction, piece, mark, out);
                    effect.request_began |= request_began;
                    *self = Self::Parsing(parsing);
                    effect
                }
            },
        }
    }
}

enum Verdict {
    Open,
    GiveUp,
    Found {
        protocol: Protocol,
        requests: Direction,
        /// What came before the piece that decided.
        prefix: Option<Box<Prefix>>,
    },
}

impl Guess {
    fn handle(
        &mut self,
        facts: &ConnectionFacts,
        direction: Direction,
        piece: StreamPiece<'_>,
        mark: Moment,
        clean: bool,
    ) -> Verdict {
        if self.prefix.as_ref().is_some_and(|prefix| prefix.direction != direction) {
            // The other side answered before this one had said enough.
            self.prefix = None;
            self.missed = true;
        }
        match piece {
            StreamPiece::Turn => {
                self.at_start = true;
                self.clean = clean;
                Verdict::Open
            }
            StreamPiece::Bytes(bytes) => {
                let is_inside = self.missed || facts.joined_mid_stream;
                let verdict = if self.at_start { self.guess(direction, bytes, mark) } else { Verdict::Open };
                match verdict {
                    Verdict::Open | Verdict::GiveUp if is_inside => self.guess_inside(direction, bytes, verdict),
                    verdict => verdict,
                }
            }
            StreamPiece::Gap { .. } | StreamPiece::End(_) => {
                self.prefix = None;
                self.at_start = false;
                self.missed = true;
                Verdict::Open
            }
        }
    }

    fn guess(&mut self, direction: Direction, bytes: &[u8], mark: Moment) -> Verdict {
        let kept = self.prefix.as_ref().map_or(0, |prefix| prefix.bytes.len());
        let recognition = match &mut self.prefix {
            None => recognise(direction, bytes),
            Some(prefix) => {
                let more = &bytes[..bytes.len().min(RECOGNITION_BYTES - kept)];
                prefix.bytes.extend_from_slice(more);
                recognise(direction, &prefix.bytes)
            }
        };
        match recognition {
            Recognition::Found { protocol, requests } => {
                // The piece that decided is handed over whole: what was added of it for the guess is taken back.
                if let Some(prefix) = &mut self.prefix {
                    prefix.bytes.truncate(kept);
                }
                Verdict::Found { protocol, requests, prefix: self.prefix.take() }
            }
            Recognition::NeedMore if kept + bytes.len() < RECOGNITION_BYTES => {
                if self.prefix.is_none() {
                    self.prefix = Some(Box::new(Prefix { direction, mark, bytes: bytes.to_vec() }));
                }
                Verdict::Open
            }
            Recognition::NeedMore | Recognition::NotMine => {
                self.prefix = None;
                if self.refuse() { Verdict::GiveUp } else { Verdict::Open }
            }
        }
    }

    /// Where the beginning was missed, a protocol may be known by what lies anywhere.
    fn guess_inside(&mut self, direction: Direction, bytes: &[u8], otherwise: Verdict) -> Verdict {
        match recognise_inside(direction, bytes) {
            Recognition::Found { protocol, requests } => {
                self.missed = true;
                Verdict::Found { protocol, requests, prefix: None }
            }
            Recognition::NeedMore => {
                self.refusals = 0;
                Verdict::Open
            }
            Recognition::NotMine => otherwise,
        }
    }

    /// This half-turn is nobody's.
    fn refuse(&mut self) -> bool {
        self.at_start = false;
        self.missed = true;
        self.refusals += u8::from(self.clean);
        self.refusals >= REFUSALS_TO_GIVE_UP
    }
}

impl Parsing {
    fn handle(
        &mut self,
        facts: &Rc<ConnectionFacts>,
        direction: Direction,
        piece: StreamPiece<'_>,
        mark: Moment,
        out: &mut Outputs,
    ) -> Effect {
        let mut effect = Effect::default();
        self.parser.handle(direction, piece, mark);
        while let Some(message) = self.parser.poll_message() {
            match &message.part {
                Part::RequestHead(_) => {
                    effect.request_began = true;
                    self.open_request = Some(message.stream);
                }
                Part::RequestEnd(_) | Part::Broken(_) if self.open_request == Some(message.stream) => {
                    self.open_request = None;
                }
                _ => {}
            }
            out.heard.push(self.heard(facts, What::Message(message)));
        }
        while let Some(problem) = self.parser.poll_problem() {
            out.count_problem(problem);
        }
        effect.gave_up = self.parser.is_finished();
        effect
    }

    /// The first piece of a half-turn, if it is a whole message.
    pub fn handle_whole(&mut self, direction: Direction, bytes: &[u8]) -> Option<WholeMessage> {
        self.parser.handle_whole(direction, bytes)
    }

    pub const fn is_inside_request(&self) -> bool {
        self.open_request.is_some()
    }

    pub fn heard(&self, facts: &Rc<ConnectionFacts>, what: What) -> Heard {
        Heard { on: self.side(facts), what }
    }

    pub fn side(&self, facts: &Rc<ConnectionFacts>) -> Side {
        let role = match self.requests {
            Direction::Received => Role::Server,
            Direction::Sent => Role::Client,
        };
        Side { connection: Rc::clone(facts), protocol: self.parser.protocol(), role }
    }
}
