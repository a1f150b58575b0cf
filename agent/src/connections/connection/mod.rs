// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One connection: its kernel records in, pieces of its two streams out, in an order in which no answer precedes its
//! question.
//!
//! Does not: know other connections, or a clock but the records'.

use std::rc::Rc;

use Direction::{Received, Sent};
use agent_common::records::{DATA_END, DATA_SENT, DATA_UNREADABLE, DataRecord};
use agent_protocols::{Broken, Direction, End, StreamPiece, Whole, WholeMessage};

use super::{
    flow::{Flow, Place},
    heard::{Copying, Outputs, Side, What},
    held::{HELD_MULTIPLEXED_NANOSECONDS, HELD_NANOSECONDS, Held},
    reading::{Effect, Reading},
    turns::Turns,
};
use crate::{
    exchanges::{ConnectionFacts, Endpoint},
    moment::{KernelTime, Moment, Thread},
};

mod losses;
mod order;

#[derive(Default)]
pub(super) struct Connection {
    /// Absent where the record that opened it was lost: then its bytes are lost too, and its turns are counted.
    facts: Option<Rc<ConnectionFacts>>,
    flows: [Flow; 2],
    turns: Turns,
    reading: Reading,
    held: Option<Box<Held>>,
    /// The direction of the last piece.
    last: Option<Direction>,
    received_before: bool,
    sent_before: bool,
    /// How far the received direction stands, as the last sent record told it.
    received_told: Option<u32>,
    /// Processes that used it; counted for unix sockets only, whose end nothing else tells.
    pub users: u16,
    pub is_unix: bool,
    pub last_tgid: u32,
    pub last_used: KernelTime,
}

impl Connection {
    pub fn open(&mut self, facts: ConnectionFacts, received_before: bool, sent_before: bool) {
        if self.facts.is_none() {
            self.received_before = received_before;
            self.sent_before = sent_before;
            if facts.is_tls && facts.remote == Endpoint::Unknown {
                self.held.get_or_insert_default().unplaced = Some(Rc::new(facts));
            } else {
                self.facts = Some(Rc::new(facts));
            }
        } else if self.facts.as_ref().is_some_and(|known| known.remote == Endpoint::Unknown) {
            // The socket that TLS is spoken on has become known: what comes from now on has its addresses.
            self.facts = Some(Rc::new(facts));
        }
    }

    /// Whether it waits for its socket to become known.
    fn awaits_place(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.unplaced.is_some())
    }

    /// What it waited for is known.
    pub fn has_come_to_a_place(&self) -> bool {
        self.awaits_place() && self.facts.is_some()
    }

    /// Its socket is known, or not waited for any more.
    pub fn go_on(&mut self, out: &mut Outputs) {
        if !self.awaits_place() {
            return;
        }
        if let Some(mut waiting) = self.held.take() {
            let unplaced = waiting.unplaced.take();
            self.facts = self.facts.take().or(unplaced);
            while let Some((record, payload)) = waiting.pop() {
                self.handle_data(&record, &payload, out);
            }
        }
    }

    /// What the kernel calls it by, once it has been announced.
    pub fn socket(&self) -> Option<u64> {
        self.facts.as_ref().map(|facts| facts.socket)
    }

    /// Nothing has come for a while: it gives back what it can do without.
    pub fn rest(&mut self) {
        self.reading.rest();
    }

    pub const fn is_announced(&self) -> bool {
        self.facts.is_some()
    }

    pub fn held_bytes(&self) -> usize {
        self.reading.held_bytes() + self.held.as_ref().map_or(0, |held| held.bytes())
    }

    pub fn held_until(&self) -> Option<KernelTime> {
        self.held.as_ref().and_then(|held| held.deadline(self.patience()))
    }

    /// How long a record waits for one that must come before it.
    fn patience(&self) -> u64 {
        if self.reading.is_multiplexed() { HELD_MULTIPLEXED_NANOSECONDS } else { HELD_NANOSECONDS }
    }

    /// Takes a record that is a whole message where the conversation goes its ordinary way, and gives that. Of what is held
    /// nothing changes. Else nothing has happened.
    pub fn handle_whole(&mut self, record: &DataRecord, payload: &[u8], out: &Outputs) -> Option<(Side, WholeMessage)> {
        let direction = direction_of(record);
        let Reading::Parsing(parsing) = &self.reading else { return None };
        if !self.turns_with(direction, record.turn) || parsing.is_inside_request() || !self.follows(record) {
            return None;
        }
        let Reading::Parsing(parsing) = &mut self.reading else { return None };
        let message = parsing.handle_whole(direction, payload)?;
        let is_request = matches!(message.whole, Whole::Request(..));
        let on = parsing.side(self.facts.as_ref()?);
        self.last_used = KernelTime(record.time_ns);
        self.pass(direction, record);
        self.turn_to(direction, record.turn);
        self.turns.begin(direction, record.turn, false);
        if is_request {
            self.turns.request_began(direction);
        }
        self.count_lost_so_far(out);
        Some((on, message))
    }

    pub fn handle_data(&mut self, record: &DataRecord, payload: &[u8], out: &mut Outputs) {
        self.last_used = KernelTime(record.time_ns);
        if self.reading.is_deaf() {
            return;
        }
        if let Some(held) = self.held.as_mut().filter(|held| held.unplaced.is_some()) {
            held.push(record, payload);
            if held.is_full() {
                self.go_on(out);
            }
            return;
        }
        if self.follows(record) {
            self.deliver_following(record, payload, out);
        } else {
            self.deliver_any(record, payload, out);
        }
        self.count_lost_so_far(out);
    }

    #[cfg(test)]
    pub fn handle_data_the_long_way(&mut self, record: &DataRecord, payload: &[u8], out: &mut Outputs) {
        if !self.reading.is_deaf() {
            self.deliver_any(record, payload, out);
            self.count_lost_so_far(out);
        }
    }

    /// Whether the record goes on where the ones before it ended, as nearly all do: both directions stand where it says,
    /// its bytes are all there, and the conversation has turned once or not at all.
    fn follows(&self, record: &DataRecord) -> bool {
        let direction = direction_of(record);
        let (own, other) = (&self.flows[direction as usize], &self.flows[direction.opposite() as usize]);
        own.place == Place::Next(record.position)
            && other.place == Place::Next(record.other_position)
            && (own.turn..own.turn + 3).contains(&record.turn)
            && record.turn <= other.turn + 1
            && record.captured == record.length
            && record.flags & (DATA_END | DATA_UNREADABLE) == 0
            && record.length > 0
            && !own.unverified
            && self.held.is_none()
            && self.is_announced()
    }

    /// What `deliver_any` would do, where nothing can be missing.
    fn deliver_following(&mut self, record: &DataRecord, payload: &[u8], out: &mut Outputs) {
        let (direction, mark) = (direction_of(record), moment_of(record));
        self.pass(direction, record);
        self.begin_turn(direction, record.turn, true, mark, out);
        self.emit(direction, StreamPiece::Bytes(payload), mark, true, out);
    }

    /// The record's direction stands behind it.
    fn pass(&mut self, direction: Direction, record: &DataRecord) {
        self.received_told = (direction == Sent).then_some(record.other_position);
        self.flows[direction as usize].place = Place::Next(record.position.wrapping_add(record.length));
    }

    /// Lets go of records that have waited long enough.
    pub fn handle_time(&mut self, now: KernelTime, out: &mut Outputs) {
        if self.awaits_place() {
            if self.held_until().is_some_and(|deadline| deadline <= now) {
                self.go_on(out);
            }
            return;
        }
        let patience = self.patience();
        self.release(out, |_, waiting| waiting.time_ns.saturating_add(patience) <= now.0);
    }

    pub fn release_held(&mut self, out: &mut Outputs) {
        self.go_on(out);
        self.release(out, |_, _| true);
    }

    /// Nothing more will come. `turns` is the kernel's count, where it told it.
    pub fn finish(&mut self, end: End, time: KernelTime, turns: Option<u32>, out: &mut Outputs) {
        self.release_held(out);
        if self.reading.is_deaf() {
            return;
        }
        let thread = Thread { tgid: self.last_tgid, tid: 0 };
        let mut mark = Moment { time, thread, position: 0 };
        if let Some(told) = self.received_told {
            self.catch_up_received(told, mark, out);
        }
        // An end says to the parser that nothing came after the last piece; that must be so.
        let tail_lost = turns.is_some_and(|turns| turns > self.flows[0].turn.max(self.flows[1].turn));
        for direction in [Received, Sent] {
            let flow = &mut self.flows[direction as usize];
            mark.position = flow.place.position();
            if !std::mem::replace(&mut flow.ended, true) && !tail_lost {
                self.emit(direction, StreamPiece::End(end), mark, true, out);
            }
        }
        if let (Some(facts), Reading::Parsing(parsing)) = (&self.facts, &self.reading) {
            let broken = if tail_lost { Broken::BytesLost } else { broken_by(end) };
            out.heard.push(parsing.heard(facts, What::Over(broken, mark)));
        }
        self.count_lost(turns, out);
        self.reading = Reading::Deaf;
    }

    /// The watch is over; the connection may go on.
    pub fn settle(&mut self, out: &mut Outputs) {
        self.release_held(out);
        if !self.reading.is_deaf() {
            self.count_lost(None, out);
        }
    }

    fn begin_turn(&mut self, direction: Direction, turn: u32, clean: bool, mark: Moment, out: &mut Outputs) {
        if self.turns_with(direction, turn) {
            self.emit_turn(direction, turn, clean, mark, out);
            self.turns.begin(direction, turn, self.reading.is_inside_request());
        }
    }

    /// Whether a half-turn begins with a piece of this direction and turn.
    fn turns_with(&self, direction: Direction, turn: u32) -> bool {
        self.flows[direction as usize].turn < turn || self.last != Some(direction)
    }

    fn turn_to(&mut self, direction: Direction, turn: u32) {
        let flow = &mut self.flows[direction as usize];
        flow.turn = flow.turn.max(turn);
        self.last = Some(direction);
    }

    fn emit_turn(&mut self, direction: Direction, turn: u32, clean: bool, mark: Moment, out: &mut Outputs) {
        let is_first = self.last.is_none();
        let joined = self.facts.as_ref().is_none_or(|facts| facts.joined_mid_stream);
        self.turn_to(direction, turn);
        self.emit(direction, StreamPiece::Turn, mark, clean && !(is_first && joined), out);
    }

    fn emit(&mut self, direction: Direction, piece: StreamPiece<'_>, mark: Moment, clean: bool, out: &mut Outputs) {
        let Some(facts) = &self.facts else { return };
        let was_framed = self.reading.is_multiplexed();
        let Effect { request_began, gave_up } = self.reading.handle(facts, direction, piece, mark, clean, out);
        if !was_framed && self.reading.is_multiplexed() {
            out.advise(facts, Copying::Framed);
        }
        if request_began && let Some((_, requests)) = self.reading.protocol() {
            self.turns.request_began(requests);
        }
        if gave_up {
            self.give_up(mark, out);
        }
    }

    /// The bytes are nobody's, or no exchange will follow.
    pub fn give_up(&mut self, mark: Moment, out: &mut Outputs) {
        if let (Some(facts), Reading::Parsing(parsing)) = (&self.facts, &self.reading) {
            out.heard.push(parsing.heard(facts, What::Over(Broken::Abandoned, mark)));
        }
        if let Some((protocol, requests)) = self.reading.protocol() {
            out.count_lost(Some(protocol), self.turns.take_lost(requests));
        }
        if let Some(facts) = &self.facts {
            out.advise(facts, Copying::Nothing);
        }
        self.reading = Reading::Deaf;
        self.held = None;
    }
}

fn direction_of(record: &DataRecord) -> Direction {
    if record.flags & DATA_SENT != 0 { Sent } else { Received }
}

pub(super) const fn moment_of(record: &DataRecord) -> Moment {
    Moment {
        time: KernelTime(record.time_ns),
        thread: Thread { tgid: record.tgid, tid: record.tid },
        position: record.position,
    }
}

const fn broken_by(end: End) -> Broken {
    match end {
        End::Finished => Broken::ConnectionClosed,
        End::Reset => Broken::ConnectionReset,
        End::Abandoned => Broken::Abandoned,
    }
}
