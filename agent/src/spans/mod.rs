// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Trace: exchanges in, spans out, with ids, certain parents and the attributes of the semantic conventions.
//!
//! In: [`ExchangeEvent`]s in about the order in which things happened, and the time. Out: one [`Span`] for every
//! exchange that ended; where its trace is its parent's, after its parent's.
//! Does not: sample, redact, or know what process it looks at.
//!
//! An exchange that has ended settles for `SETTLE_NS`, because events of two processes may come in the wrong order.
//! Then it is decided, or waits until the exchange is decided that it depends on, `HOLD_NS` at the longest.

mod by_time;
mod context;
mod describer;
mod description;
mod grpc;
mod http;
mod identity;
mod open;
mod outlet;
mod parents;
mod passing;
mod processes;
mod repeats;
mod slots;
mod span;
mod standing;
mod target;

use std::{collections::VecDeque, fmt};

use agent_protocols::Request;
use rustc_hash::FxHashMap;

pub use context::Context;
use describer::Describer;
pub use identity::Identities;
use open::{Described, EndFacts, Lineage, Open, Record};
use outlet::Outlet;
use parents::{Ambiguity, Decider, Decision};
use passing::Passing;
use processes::{Candidates, Process};
pub use span::{Attribute, Kind, Sampled, Span, SpanId, Status, TraceId, Value};
pub use standing::Standing;

use crate::{
    exchanges::{Exchange, ExchangeEvent, ExchangeId, Role},
    ledger::{Counter, Family, Ledger},
    moment::{KernelTime, WallClock},
};

/// How long an exchange waits after its end for what belongs to it. Larger: spans come later. Smaller: the two ends of
/// an exchange miss each other when their events come in the wrong order.
const SETTLE_NS: u64 = 30_000_000;

/// How long a decided exchange is remembered after its end: a request that its client gave up on can still be read by
/// the server from its backlog. Larger: memory. Smaller: such a request is a root.
const REMEMBER_NS: u64 = 250_000_000;

/// How long a span waits for the exchange that may be its parent. Larger: memory, and spans come later where requests
/// take long. Smaller: calls of requests that take longer have no parent.
const HOLD_NS: u64 = 10_000_000_000;

/// Spans that wait for another; past it the oldest is decided as it stands. Larger: memory, 2 KiB each. Smaller: busy
/// machines lose parents.
const HELD: usize = 16_384;

/// Processes with open exchanges or a known habit. Larger: memory. Smaller: spans of further processes have no parents of
/// Onlooker's making.
const PROCESSES: usize = 4096;

/// The stage. Single-threaded; the caller gives events and time, and takes spans after each.
pub struct Spans {
    outlet: Outlet,
    identities: Identities,
    open: Open,
    processes: FxHashMap<u32, Process>,
    passing: Passing,
    describer: Describer,
    /// Open requests for which the tables had no room. While there are any, a call may be theirs.
    unseen_requests: usize,
    now: KernelTime,
    settling: VecDeque<(KernelTime, ExchangeId)>,
    /// Those that wait, and some that no longer do.
    held: VecDeque<(KernelTime, ExchangeId)>,
    waiting: usize,
    remembered: VecDeque<(KernelTime, ExchangeId)>,
    /// Of exchanges for which there was no room: they wait for nothing but the next time.
    unseen: Vec<(Described, SpanId, Lineage)>,
    ambiguous: [Counter; Ambiguity::ALL.len()],
}

impl fmt::Debug for Spans {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Spans").field("open", &self.open.len()).field("held", &self.held.len()).finish()
    }
}

impl Spans {
    #[must_use]
    pub fn new(ledger: &Ledger, clock: WallClock) -> Self {
        Self::with(ledger, clock, Identities::new(), open::RECORDS)
    }

    /// With ids and a size of the test's choosing.
    #[must_use]
    pub fn with(ledger: &Ledger, clock: WallClock, identities: Identities, records: usize) -> Self {
        Self {
            outlet: Outlet::new(ledger, clock),
            identities,
            open: Open::new(records),
            processes: FxHashMap::default(),
            passing: Passing::default(),
            describer: Describer::default(),
            unseen_requests: 0,
            now: KernelTime::default(),
            settling: VecDeque::new(),
            held: VecDeque::new(),
            waiting: 0,
            remembered: VecDeque::new(),
            unseen: Vec::new(),
            ambiguous: Ambiguity::ALL
                .map(|reason| ledger.counter(Family::ParentsAmbiguous, &[("reason", reason.name())])),
        }
    }

    pub fn handle_event(&mut self, event: ExchangeEvent<'_>) {
        match event {
            ExchangeEvent::Began(began) => self.handle_began(began),
            ExchangeEvent::Ended(exchange) => self.handle_ended(exchange),
        }
    }

    /// The kernel's clock has come this far, and all events from before have been handled.
    /// Spans that are ready go to `next`.
    pub fn handle_time(&mut self, now: KernelTime, next: &mut impl FnMut(&mut Span)) {
        self.now = self.now.max(now);
        for (described, span_id, lineage) in self.unseen.drain(..) {
            self.outlet.release(described, span_id, &lineage, self.now, next);
        }
        while let Some(id) = pop_due(&mut self.settling, self.now, SETTLE_NS) {
            self.settle(id, next);
        }
        while self.waiting > HELD
            && let Some((_, id)) = self.held.pop_front()
        {
            self.force(id, next);
        }
        while let Some(id) = pop_due(&mut self.held, self.now, HOLD_NS) {
            self.force(id, next);
        }
        while let Some(id) = pop_due(&mut self.remembered, self.now, REMEMBER_NS) {
            self.open.remove(id);
        }
    }

    /// Another program runs under this process id, or none.
    pub fn handle_process_replaced(&mut self, tgid: u32) {
        if let Some(process) = self.processes.get_mut(&tgid) {
            process.forget_habit();
            if process.is_idle() {
                self.processes.remove(&tgid);
            }
        }
    }

    /// No more events will come: every exchange that has ended becomes a span now.
    pub fn finish(&mut self, next: &mut impl FnMut(&mut Span)) {
        self.handle_time(self.now, next);
        while let Some((_, id)) = self.settling.pop_front() {
            self.settle(id, next);
        }
        while let Some((_, id)) = self.held.pop_front() {
            self.force(id, next);
        }
    }

    fn handle_began(&mut self, began: &Exchange) {
        if !self.has_room(began.first.thread.tgid) {
            self.unseen_requests += usize::from(began.role == Role::Server);
            return;
        }
        let Request::Http(request) = &began.request;
        let record = Box::new(Record::new(began, self.identities.span_id(), Context::of(request)));
        if let Some(other) = self.index_process(began.id, record) {
            self.join_ends(began.id, other);
        }
    }

    fn has_room(&mut self, tgid: u32) -> bool {
        if self.processes.len() >= PROCESSES && !self.processes.contains_key(&tgid) {
            self.processes.retain(|_, process| !process.is_idle());
        }
        self.open.has_room() && (self.processes.len() < PROCESSES || self.processes.contains_key(&tgid))
    }

    /// Puts the exchange into the table, and beside the others of its process. Gives what may be the same at its other end.
    fn index_process(&mut self, id: ExchangeId, mut record: Box<Record>) -> Option<ExchangeId> {
        let (first, thread, connection) = (record.first, record.thread, record.connection);
        let tgid = thread.tgid;
        match record.role {
            Role::Server => self.passing.handle_request(&record),
            Role::Client => record.passed_on_by = self.passing.bringer(&record),
        }
        let process = self.processes.entry(tgid).or_default();
        match record.role {
            Role::Client => {
                let seen = process.handle_call(id, first, record.calling_tid());
                record.candidates = if self.unseen_requests == 0 { seen } else { Candidates::UNKNOWN };
            }
            Role::Server => {
                // The head was complete after `now`: calls from well before that cannot have been caused by it.
                if record.is_multiplexed {
                    process.threads_are_shared();
                }
                let since = first.max(KernelTime(self.now.0.saturating_sub(SETTLE_NS)));
                for call in process.handle_request(id, first, thread.tid, connection, since) {
                    if let Some(call) = self.open.get_mut(call) {
                        call.candidates.in_process = call.candidates.in_process.and(id);
                    }
                }
            }
        }
        self.open.insert(id, record)
    }

    /// Joins the exchange with the same one seen at its other end, where that is known by now.
    fn join_ends(&mut self, id: ExchangeId, other_id: ExchangeId) {
        let Some(record) = self.open.get(id) else { return };
        let Some(other) = self.open.get(other_id) else { return };
        let (call_id, call, request_id, request) = match record.role {
            Role::Client => (id, record, other_id, other),
            Role::Server => (other_id, other, id, record),
        };
        let over_before = |one: &Record, two: &Record| one.end.is_some_and(|end| end.last < two.first);
        // An address can be used again: the two must have been open together, and the latest call is meant.
        let was_joined_later =
            request.other_end.and_then(|id| self.open.get(id)).is_some_and(|old| old.first > call.first);
        let is_too_late = request.lineage.is_some() || (call.lineage.is_some() && call.first > request.first);
        if over_before(call, request) || over_before(request, call) || was_joined_later || is_too_late {
            return;
        }
        let first = call.first.min(request.first);
        if let Some(request) = self.open.get_mut(request_id) {
            request.other_end = Some(call_id);
        }
        if let Some(call) = self.open.get_mut(call_id) {
            call.other_end = Some(request_id);
            self.correct_first(call_id, first);
        }
    }

    /// A call was sent before it was received, whatever its own record says (the moment of entry can be missing): what
    /// caused it must lie before both.
    fn correct_first(&mut self, call_id: ExchangeId, first: KernelTime) {
        let Some(call) = self.open.get_mut(call_id).filter(|call| call.first > first) else { return };
        let Some(process) = self.processes.get_mut(&call.thread.tgid) else { return };
        process.handle_call_decided(call_id, call.first);
        call.first = first;
        let candidates = process.handle_call(call_id, first, call.calling_tid());
        if call.candidates != Candidates::UNKNOWN {
            call.candidates = candidates;
        }
    }

    fn handle_ended(&mut self, exchange: &Exchange) {
        let (id, end) = (exchange.id, EndFacts::of(exchange));
        let Some(record) = self.open.get_mut(id) else { return self.release_unknown(exchange) };
        record.end = Some(end);
        record.described = Some(self.describer.describe(exchange));
        let answering_tid = end.answering_thread.map(|thread| thread.tid);
        let process = self.processes.get_mut(&record.thread.tgid);
        match (record.role, process) {
            (Role::Server, process) => {
                self.passing.handle_request_end(record);
                if let Some(process) = process {
                    process.handle_request_end(id, record.first, end.last, record.thread.tid, answering_tid);
                }
            }
            // What reads for many calls has made none of them.
            (Role::Client, Some(_)) if record.is_multiplexed => {}
            (Role::Client, Some(process)) => process.handle_call_end(record.thread.tid, answering_tid),
            (Role::Client, None) => {}
        }
        self.settling.push_back((end.last, id));
    }

    /// The end of an exchange for which the table had no room: what it carried still counts.
    fn release_unknown(&mut self, exchange: &Exchange) {
        self.unseen_requests = self.unseen_requests.saturating_sub(usize::from(exchange.role == Role::Server));
        let Request::Http(request) = &exchange.request;
        let context = Context::of(request);
        let carried = context.as_ref().and_then(|context| Some((context, context.parent?)));
        let lineage = match carried {
            Some((context, (trace_id, span_id))) => parents::remote(context, trace_id, span_id, true),
            None => {
                self.ambiguous[Ambiguity::TableFull as usize].increment();
                parents::root(context.as_ref(), &mut self.identities)
            }
        };
        self.unseen.push((self.describer.describe(exchange), self.identities.span_id(), lineage));
    }

    fn settle(&mut self, id: ExchangeId, next: &mut impl FnMut(&mut Span)) {
        if let Some(record) = self.open.get_mut(id) {
            record.settled = true;
            self.decide(id, false, next);
        }
    }

    /// Whatever this one still waits for will not be waited for any longer. A request waits for its call, and a forced
    /// call waits for nothing.
    fn force(&mut self, id: ExchangeId, next: &mut impl FnMut(&mut Span)) {
        let undecided = self.open.get(id).filter(|record| record.lineage.is_none() && record.role == Role::Server);
        if let Some(call) = undecided.and_then(|record| record.other_end) {
            self.decide(call, true, next);
        }
        self.decide(id, true, next);
    }

    /// Decides this exchange if it can be decided, and then those that waited for it.
    fn decide(&mut self, id: ExchangeId, force: bool, next: &mut impl FnMut(&mut Span)) {
        let mut work = self.decide_one(id, force, next);
        while let Some(waiter) = work.pop() {
            work.append(&mut self.decide_one(waiter, false, next));
        }
    }

    /// Gives those that waited for it, if it is decided now.
    fn decide_one(&mut self, id: ExchangeId, force: bool, next: &mut impl FnMut(&mut Span)) -> Vec<ExchangeId> {
        let Some(record) = self.open.get(id) else { return Vec::new() };
        if record.lineage.is_none() {
            let mut decider = Decider { open: &self.open, identities: &mut self.identities, force };
            let (decision, ambiguity) = match record.role {
                Role::Server => (decider.request(record), None),
                Role::Client => decider.call(record, self.processes.get_mut(&record.thread.tgid)),
            };
            if let Some(ambiguity) = ambiguity {
                self.ambiguous[ambiguity as usize].increment();
            }
            let (role, first, tgid) = (record.role, record.first, record.thread.tgid);
            let lineage = match decision {
                Decision::Wait(other) => {
                    self.wait(id, other);
                    return Vec::new();
                }
                Decision::Given(lineage) => lineage,
            };
            if role == Role::Client
                && let Some(process) = self.processes.get_mut(&tgid)
            {
                process.handle_call_decided(id, first);
            }
            if let Some(record) = self.open.get_mut(id) {
                record.lineage = Some(lineage);
            }
        }
        let Some(record) = self.open.get_mut(id) else { return Vec::new() };
        let waiters = std::mem::take(&mut record.waiters);
        if record.settled
            && let Some(lineage) = &record.lineage
            && let Some(described) = record.described.take()
        {
            self.waiting -= usize::from(record.held);
            self.remembered.push_back((described.last, id));
            self.outlet.release(described, record.span_id, lineage, self.now, next);
        }
        waiters
    }

    fn wait(&mut self, id: ExchangeId, other: ExchangeId) {
        if let Some(record) = self.open.get_mut(other) {
            record.waiters.push(id);
        }
        let Some(record) = self.open.get_mut(id).filter(|record| record.settled && !record.held) else { return };
        let Some(end) = record.end else { return };
        record.held = true;
        self.waiting += 1;
        if self.held.len() >= 4 * HELD {
            self.held.retain(|(_, id)| self.open.get(*id).is_some_and(|record| record.described.is_some()));
        }
        self.held.push_back((end.last, id));
    }
}

/// The next of a queue in the order of time, if its time is over.
fn pop_due(queue: &mut VecDeque<(KernelTime, ExchangeId)>, now: KernelTime, wait_ns: u64) -> Option<ExchangeId> {
    let (since, id) = *queue.front()?;
    (since.0.saturating_add(wait_ns) <= now.0).then(|| {
        queue.pop_front();
        id
    })
}

#[cfg(test)]
mod tests;
