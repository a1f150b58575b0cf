// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a connection has lost: bytes of which no record will come, and the requests that may have been among them.
//!
//! In: a record that tells of more than has come. Out: gaps to the reading, and counts to the ledger. Does not: guess where the
//! record that is missing may only be late; that waits (`held.rs`), or is told by the next one of its direction.

use Direction::Received;
use agent_common::records::{DATA_END, DataRecord};
use agent_protocols::{Direction, StreamPiece};

use super::Connection;
use crate::{
    connections::{
        flow::{Place, distance},
        heard::Outputs,
    },
    moment::Moment,
};

impl Connection {
    /// The other direction's bytes that were there before this record, and of which no record will come.
    ///
    /// A sent record's `other_position` may count bytes that were received beside it, with their record still to come.
    /// It is believed only where the turns say that a received half-turn was lost whole, and who writes has waited for who
    /// reads: where many streams share the connection neither waits, and the next received record tells.
    pub(super) fn catch_up(&mut self, other: Direction, record: &DataRecord, mark: Moment, out: &mut Outputs) {
        let flow = &self.flows[other as usize];
        let skipped = record.flags & DATA_END == 0 && record.turn > flow.turn + 1;
        if other == Received {
            // What waits is not lost.
            if !skipped || self.held.is_some() || self.reading.is_multiplexed() {
                self.received_told = Some(record.other_position);
                return;
            }
            self.catch_up_received(record.other_position, mark, out);
        }
        let flow = &self.flows[other as usize];
        let gap = match flow.place {
            Place::Unknown => 0,
            Place::AtMost(place) | Place::Next(place) => distance(place, record.other_position),
        };
        if gap >= 0 {
            self.flows[other as usize].place = Place::Next(record.other_position);
        }
        let gap = u64::try_from(gap).unwrap_or(0);
        let mark = Moment { position: record.other_position.wrapping_sub(gap as u32), ..mark };
        if gap > 0 {
            self.turns.lose(other);
        }
        if skipped {
            // Where the place was not known, nothing says how much the half-turn was; but it was something.
            self.begin_lost_turn(other, record.turn - 1, gap.max(self.least_gap()), mark, out);
        } else if gap > 0 {
            self.lose(other, gap, mark, out);
        }
    }

    /// Received bytes before `position` of which a sent record told are lost: no record of them is on its way any more.
    /// True where there were such.
    pub(super) fn catch_up_received(&mut self, position: u32, mark: Moment, out: &mut Outputs) -> bool {
        let Place::Next(place) = self.flows[Received as usize].place else { return false };
        let Some(told) = self.received_told.take() else { return false };
        let gap = distance(place, told).min(distance(place, position));
        if gap > 0 {
            self.flows[Received as usize].place = Place::Next(place.wrapping_add(gap as u32));
            self.lose(Received, gap as u64, Moment { position: place, ..mark }, out);
        }
        gap > 0
    }

    /// A half-turn begins with a gap. Some of the missing bytes may be the end of the one before, so that it is known
    /// only behind the gap whether a request goes on here.
    pub(super) fn begin_lost_turn(
        &mut self,
        direction: Direction,
        turn: u32,
        gap: u64,
        mark: Moment,
        out: &mut Outputs,
    ) {
        self.emit_turn(direction, turn, false, mark, out);
        if gap > 0 {
            self.emit(direction, StreamPiece::Gap { length: gap }, mark, false, out);
        }
        self.turns.begin(direction, turn, self.reading.is_inside_request());
        self.turns.lose(direction);
    }

    /// Bytes of a half-turn that was lost though no byte is missing by what the positions say: they were not known. Where
    /// both directions flow at once, the half-turns of two threads are counted in one order and recorded in another, and
    /// the positions alone are right.
    pub(super) fn least_gap(&self) -> u64 {
        u64::from(!self.reading.is_multiplexed())
    }

    pub(super) fn lose(&mut self, direction: Direction, length: u64, mark: Moment, out: &mut Outputs) {
        self.turns.lose(direction);
        self.emit(direction, StreamPiece::Gap { length }, mark, false, out);
    }

    pub(super) fn count_lost_so_far(&mut self, out: &Outputs) {
        if let Some((protocol, requests)) = self.reading.protocol() {
            out.count_lost(Some(protocol), self.turns.take_lost(requests));
        }
    }

    pub(super) fn count_lost(&mut self, turns: Option<u32>, out: &Outputs) {
        self.turns.finish(turns);
        match self.reading.protocol() {
            Some((protocol, requests)) => out.count_lost(Some(protocol), self.turns.take_lost(requests)),
            None => out.count_lost(None, self.turns.lost_pairs(turns)),
        }
    }
}
