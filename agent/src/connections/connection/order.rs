// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Records of one connection in the order in which its bytes were: what came too early waits, what comes twice is left
//! out, and what is missing is told as a gap in its place.

use Direction::{Received, Sent};
use agent_common::records::{DATA_END, DATA_UNREADABLE, DataRecord};
use agent_protocols::{Direction, End, StreamPiece};

use super::{Connection, direction_of, moment_of};
use crate::{
    connections::{
        flow::{Flow, Place, distance},
        heard::Outputs,
    },
    moment::Moment,
};

impl Connection {
    pub(super) fn deliver_any(&mut self, record: &DataRecord, payload: &[u8], out: &mut Outputs) {
        self.place(record);
        match direction_of(record) {
            Received if self.held.is_some() || self.must_wait(record) => {
                let held = self.held.get_or_insert_default();
                held.push(record, payload);
                if held.is_full() {
                    self.release(out, |_, _| true);
                }
            }
            Received => self.deliver(record, payload, out),
            Sent => {
                self.release(out, |sent, waiting| sent.overtaken(waiting.other_position, record.position));
                self.extend_half_turn(record);
                self.deliver(record, payload, out);
                self.release(out, |sent, waiting| sent.has_reached(waiting.other_position));
            }
        }
    }

    /// Learns from the first record of a connection where both directions stand.
    fn place(&mut self, record: &DataRecord) {
        let direction = direction_of(record);
        let own = &mut self.flows[direction as usize];
        own.unverified |= match own.place {
            Place::Unknown => {
                own.place = Place::Next(record.position);
                true
            }
            Place::AtMost(place) => distance(place, record.position) < 0,
            Place::Next(_) => false,
        };
        let other = &mut self.flows[direction.opposite() as usize];
        if other.place == Place::Unknown {
            let moved_before = match direction {
                Received => self.sent_before,
                Sent => self.received_before,
            };
            other.place = if moved_before || self.facts.is_none() {
                Place::AtMost(record.other_position)
            } else {
                Place::Next(record.other_position)
            };
        }
    }

    /// No byte of this direction had passed before the connection was seen, so that its first must be a message's.
    ///
    /// Where bytes had been sent and none received, they are taken for a request whose record comes late. Bias: a
    /// request whose head had been sent before the watch began is counted as lost.
    const fn is_fresh(&self, direction: Direction) -> bool {
        match direction {
            Received => !self.received_before,
            Sent => !self.sent_before || !self.received_before,
        }
    }

    /// Whether a received record tells of sent bytes whose record has not come.
    ///
    /// Where the sent direction's place is not certain, bytes were sent before the connection's first record, and that
    /// record was a received one. Either we came late, or the thread that sent them is still on its way: it is held, and
    /// a sent record that begins earlier decides for the second. Bias: the first answer on a connection that was joined
    /// late is told up to `HELD_NANOSECONDS` late.
    fn must_wait(&self, record: &DataRecord) -> bool {
        self.is_announced() && !self.flows[Sent as usize].has_reached(record.other_position)
    }

    /// A sent record for which a received one waits belongs before it, and so to the half-turn that is open, even if a
    /// kernel that counts turns as it writes records says that the conversation had turned back.
    fn extend_half_turn(&mut self, record: &DataRecord) {
        let overtaken_by =
            |waiting: &DataRecord| record.turn > waiting.turn && distance(record.position, waiting.other_position) > 0;
        if self.last == Some(Sent) && self.held.as_ref().and_then(|held| held.front()).is_some_and(overtaken_by) {
            self.flows[Sent as usize].turn = record.turn;
            self.turns.extend(Sent, record.turn);
        }
    }

    /// Delivers waiting records, in order, while `may_go` says so.
    pub(super) fn release(&mut self, out: &mut Outputs, may_go: impl Fn(&Flow, &DataRecord) -> bool) {
        while let Some(held) = &mut self.held {
            match held.front() {
                Some(record) if may_go(&self.flows[Sent as usize], record) => {
                    let (record, payload) = held.pop().expect("the front was there");
                    self.deliver(&record, &payload, out);
                }
                Some(_) => return,
                None => self.held = None,
            }
        }
    }

    /// Everything that came before the record is delivered or lost.
    fn deliver(&mut self, record: &DataRecord, payload: &[u8], out: &mut Outputs) {
        let direction = direction_of(record);
        let mark = moment_of(record);
        let ends = record.flags & DATA_END != 0;
        let clean = direction == Sent || !self.catch_up_received(record.position, mark, out);
        // The other direction's record before this one told where this direction stood then.
        let turns_here = record.turn == self.flows[direction.opposite() as usize].turn + 1;
        let flow = &mut self.flows[direction as usize];
        let turns_here = turns_here && flow.turn < record.turn && !ends;
        let stepped = flow.step_to(record.position);
        let gap = u64::try_from(stepped).unwrap_or(0);
        let before_gap = Moment { position: record.position.wrapping_sub(gap as u32), ..mark };
        // A half-turn of this direction lies between the last piece and this one: the gap is its, or begins with it.
        let earliest = if flow.turn == 0 { 3 } else { flow.turn + 4 };
        if !ends && record.turn >= earliest {
            // Its bytes may all have been told of already; but there were some.
            if gap > 0 {
                self.turns.lose(direction);
            }
            self.begin_lost_turn(direction, record.turn - 2, gap.max(self.least_gap()), before_gap, out);
        } else if gap > 0 && !turns_here {
            self.lose(direction, gap, before_gap, out);
        }
        self.catch_up(direction.opposite(), record, mark, out);
        if gap > 0 && turns_here {
            self.begin_lost_turn(direction, record.turn, gap, before_gap, out);
        }
        if ends {
            if !std::mem::replace(&mut self.flows[direction as usize].ended, true) {
                self.emit(direction, StreamPiece::End(End::Finished), mark, true, out);
            }
            return;
        }
        self.deliver_bytes(direction, record, payload, (stepped, clean), mark, out);
    }

    fn deliver_bytes(
        &mut self,
        direction: Direction,
        record: &DataRecord,
        payload: &[u8],
        (stepped, clean): (i64, bool),
        mark: Moment,
        out: &mut Outputs,
    ) {
        // What was delivered already, or given up as lost, is not delivered again.
        let behind = u32::try_from(-stepped.min(0)).unwrap_or(u32::MAX).min(record.length);
        if behind == record.length {
            return;
        }
        let position = record.position.wrapping_add(behind);
        let length = (record.length - behind) as usize;
        let bytes = payload.get(behind as usize..).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(length)];
        let unread = length - bytes.len();
        self.flows[direction as usize].place = Place::Next(record.position.wrapping_add(record.length));
        self.begin_turn(direction, record.turn, clean && stepped == 0, Moment { position, ..mark }, out);
        if stepped != 0 || !self.is_announced() {
            self.turns.lose(direction);
        }
        let unverified = std::mem::take(&mut self.flows[direction as usize].unverified);
        if unverified && (record.turn >= 3 || self.is_fresh(direction)) {
            self.turns.expect_request(direction);
        }
        if !bytes.is_empty() {
            self.emit(direction, StreamPiece::Bytes(bytes), Moment { position, ..mark }, true, out);
        }
        if unread > 0 {
            if record.flags & DATA_UNREADABLE != 0 {
                self.turns.lose(direction);
            }
            let position = position.wrapping_add(bytes.len() as u32);
            let gap = StreamPiece::Gap { length: unread as u64 };
            self.emit(direction, gap, Moment { position, ..mark }, false, out);
        }
    }
}
