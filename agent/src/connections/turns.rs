// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The account of half-turns: how many requests were lost without a trace.
//!
//! In: the half-turns of which something was delivered, whether a request began there, and the kernel's own count.
//! Out: the number of half-turns in the direction of the requests that must have carried a request nobody read.
//! Does not: look at bytes. Read as if requests were not pipelined: a half-turn lost whole counts as one request,
//! so that pipelined ones are undercounted.
//!
//! A half-turn without a request is counted only where something of it was lost, and never where it went on with a
//! request begun earlier (a body sent after `100 Continue`).

use agent_protocols::Direction;

#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// The half-turn that is open; 0 before the first.
    turn: u32,
    lost: u32,
    lossy: bool,
    began_request: bool,
    continues_request: bool,
}

impl Side {
    fn settle(&mut self) {
        if self.lossy && !self.began_request && !self.continues_request {
            self.lost += 1;
        }
        self.lossy = false;
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    sides: [Side; 2],
    /// Something was certainly lost, as opposed to not copied.
    known_loss: bool,
}

impl Turns {
    /// A half-turn begins; `lossy` where it is known already that something of it is missing.
    pub fn begin(&mut self, direction: Direction, turn: u32, continues_request: bool) {
        let side = &mut self.sides[direction as usize];
        if turn <= side.turn {
            return;
        }
        side.settle();
        let missing = if side.turn == 0 { (turn - 1) / 2 } else { ((turn - side.turn) / 2).saturating_sub(1) };
        side.lost += missing;
        self.known_loss |= missing > 0;
        *side = Side { turn, lost: side.lost, lossy: false, began_request: false, continues_request };
    }

    /// The open half-turn goes on under a later number.
    pub fn extend(&mut self, direction: Direction, turn: u32) {
        self.sides[direction as usize].turn = turn;
    }

    /// Something of the open half-turn was lost.
    pub fn lose(&mut self, direction: Direction) {
        let side = &mut self.sides[direction as usize];
        side.lossy = side.turn > 0;
        self.known_loss = true;
    }

    /// The open half-turn should have begun with a request; it is lost if none turns up.
    pub fn expect_request(&mut self, direction: Direction) {
        self.sides[direction as usize].lossy = true;
    }

    pub fn request_began(&mut self, requests: Direction) {
        self.sides[requests as usize].began_request = true;
    }

    /// What was lost since the last call, up to the half-turn before the open one.
    pub fn take_lost(&mut self, requests: Direction) -> u32 {
        std::mem::take(&mut self.sides[requests as usize].lost)
    }

    /// The last half-turn is over: `turns` were counted by the kernel, where it said so; else those that were seen.
    pub fn finish(&mut self, turns: Option<u32>) {
        let seen = self.sides.map(|side| side.turn);
        let last_seen = seen[0].max(seen[1]);
        let turns = turns.unwrap_or(last_seen);
        let tail_lost = turns > last_seen;
        self.known_loss |= tail_lost;
        for (index, side) in self.sides.iter_mut().enumerate() {
            // How the open half-turn ended went with what is lost after it.
            side.lossy |= tail_lost && side.turn > 0;
            side.settle();
            let (own, other) = (seen[index], seen[1 - index]);
            let missing = match (own, other) {
                (0, 0) => 0,
                (0, other) if other % 2 == 1 => turns / 2,
                (0, _) => turns.div_ceil(2),
                (own, _) => turns.saturating_sub(own) / 2,
            };
            side.lost += missing;
        }
    }

    /// Pairs of half-turns on a connection whose protocol was never recognised, if anything of it was lost.
    pub fn lost_pairs(&self, turns: Option<u32>) -> u32 {
        let seen = self.sides[0].turn.max(self.sides[1].turn);
        if self.known_loss { turns.unwrap_or(seen).max(seen).div_ceil(2) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use Direction::{Received, Sent};

    use super::*;

    fn lost(turns: &mut Turns, total: u32) -> u32 {
        turns.finish(Some(total));
        turns.take_lost(Sent)
    }

    #[test]
    fn whole_half_turns_are_missed_at_the_start_in_the_middle_and_at_the_end() {
        let mut turns = Turns::default();
        turns.begin(Sent, 5, false);
        turns.request_began(Sent);
        turns.begin(Sent, 11, false);
        turns.request_began(Sent);
        assert_eq!(lost(&mut turns, 16), 2 + 2 + 2);
    }

    #[test]
    fn the_side_that_was_never_seen_has_the_other_parity() {
        let mut turns = Turns::default();
        turns.begin(Received, 2, false);
        assert_eq!(lost(&mut turns, 6), 3);
        let mut turns = Turns::default();
        turns.begin(Received, 1, false);
        assert_eq!(lost(&mut turns, 6), 3);
        let mut turns = Turns::default();
        turns.begin(Received, 1, false);
        assert_eq!(lost(&mut turns, 7), 3);
    }

    #[test]
    fn a_body_after_100_continue_is_no_request_even_with_a_loss() {
        let mut turns = Turns::default();
        turns.begin(Sent, 1, false);
        turns.request_began(Sent);
        turns.begin(Sent, 3, true);
        turns.lose(Sent);
        assert_eq!(lost(&mut turns, 4), 0);
    }

    #[test]
    fn unknown_protocols_count_pairs_only_where_something_was_lost() {
        let mut turns = Turns::default();
        turns.begin(Sent, 1, false);
        turns.expect_request(Sent);
        assert_eq!(turns.lost_pairs(Some(1)), 0);
        turns.finish(Some(4));
        assert_eq!(turns.lost_pairs(Some(4)), 2);
    }
}
