// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What stage `reassemble` gives to stage `pair`, and the counters that both ends of it keep.

use std::{collections::VecDeque, rc::Rc};

use agent_protocols::{Broken, Message, Problem, Protocol, WholeMessage};

use crate::{
    exchanges::{ConnectionFacts, Role},
    ledger::{Counter, Family, Ledger},
    moment::Moment,
};

/// A message, or the end of the connection it would have come on.
#[derive(Debug)]
pub struct Heard {
    pub on: Side,
    pub what: What,
}

/// What listens to conversations.
pub trait Listener {
    fn handle_heard(&mut self, heard: Heard);

    /// A message that began with the first of so many bytes, and ended with the last.
    fn handle_whole(&mut self, on: Side, message: WholeMessage, first: Moment, bytes: u32);
}

/// A conversation, as one end of it hears it.
#[derive(Clone, Debug)]
pub struct Side {
    pub connection: Rc<ConnectionFacts>,
    pub protocol: Protocol,
    pub role: Role,
}

#[derive(Debug)]
pub enum What {
    Message(Message<Moment>),
    /// Nothing more will come of this connection.
    Over(Broken, Moment),
}

/// What the kernel is to do with a connection from now on, which is named as its opening record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    pub connection: u64,
    pub socket: u64,
    pub copying: Copying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// Nothing more is wanted of it.
    Nothing,
    /// It is framed: what stands between data is wanted whole, and data is counted.
    Framed,
}

/// What the connections give; handed on after each event, and empty between.
pub(super) struct Outputs {
    pub heard: Vec<Heard>,
    /// For the kernel.
    pub advice: VecDeque<Advice>,
    problems: [Counter; Problem::ALL.len()],
    records_lost: [Counter; Protocol::ALL.len()],
    records_lost_unknown: Counter,
    pub dropped_table_full: Counter,
    pub dropped_memory: Counter,
}

impl Outputs {
    pub fn advise(&mut self, facts: &ConnectionFacts, copying: Copying) {
        self.advice.push_back(Advice { connection: facts.id, socket: facts.socket, copying });
    }

    pub fn new(ledger: &Ledger) -> Self {
        let lost = |protocol| {
            ledger.counter(Family::ExchangesIncomplete, &[("protocol", protocol), ("reason", "records_lost")])
        };
        Self {
            heard: Vec::new(),
            advice: VecDeque::new(),
            problems: Problem::ALL
                .map(|problem| ledger.counter(Family::MessageProblems, &[("problem", problem.name())])),
            records_lost: Protocol::ALL.map(|protocol| lost(protocol.name())),
            records_lost_unknown: lost("unknown"),
            dropped_table_full: ledger.counter(Family::ConnectionsDropped, &[("reason", "table_full")]),
            dropped_memory: ledger.counter(Family::ConnectionsDropped, &[("reason", "memory")]),
        }
    }

    pub fn count_problem(&self, problem: Problem) {
        if let Some(index) = Problem::ALL.iter().position(|known| *known == problem) {
            self.problems[index].increment();
        }
    }

    /// Half-turns that were lost are requests that were, unless many requests share one.
    pub fn count_lost(&self, protocol: Option<Protocol>, requests: u32) {
        if requests == 0 || protocol.is_some_and(Protocol::is_multiplexed) {
            return;
        }
        let known = protocol.and_then(|protocol| Protocol::ALL.iter().position(|known| *known == protocol));
        known.map_or(self.records_lost_unknown, |index| self.records_lost[index]).add(requests.into());
    }
}
