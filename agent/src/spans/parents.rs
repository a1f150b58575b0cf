// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Parents: given only where they are certain.
//!
//! In: the records of exchanges. Out: for one of them its [`Lineage`], or the exchange whose own lineage it waits for.
//!
//! A parent is, in this order:
//! 1. The span named by the context that the request carried. Where a call carries the very context of a request that
//!    its process is serving, the application passed it on, and the parent is that request's span, inside the same trace;
//!    and the same call, as it is seen at its other end, lies below it.
//! 2. For a request: the call that it is, seen from the other end on this machine.
//! 3. For a call: the request that caused it. A request qualifies if its first byte was read before the call's first
//!    byte was sent and it had not ended by then. If exactly one of the process qualifies, or exactly one that the
//!    call's thread had read in a process known to give each request a thread, and if that request *contains* the call
//!    (the call's answer came before the request was answered, and the call ended before the request did), it is the
//!    parent.
//!
//! Bias: a missing parent is preferred to a wrong one. Calls left to run after the answer, and calls among several
//! requests on an event loop, get none; the latter are counted. The one wrong parent that can happen: a timer or a
//! background thread calls while exactly one request is open, and is answered before that request is; in processes known
//! to give each request a thread even that is told apart.
//!
//! No cycle can arise: a request's parent is the same exchange seen at its other end, and a call's parent is a request
//! that began strictly before it (before the other end's first byte, too). Around any circle time would have to fall.

use super::{
    Context, Identities, Lineage, Sampled,
    open::{EndFacts, Open, Record},
    processes::{Count, Process},
};
use crate::{
    exchanges::{ExchangeId, Role},
    spans::{SpanId, TraceId},
};

#[derive(Debug, PartialEq)]
pub enum Decision {
    Given(Lineage),
    /// It depends on this exchange, which is not decided yet.
    Wait(ExchangeId),
}

/// Why a call has no parent although requests were open; the `reason` label of `onlooker_parents_ambiguous_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    SeveralRequests,
    /// The request that might be the parent was still open when the call's span had to be built.
    HeldTooLong,
    /// The tables were full when the exchange began.
    TableFull,
}

impl Ambiguity {
    pub const ALL: [Self; 3] = [Self::SeveralRequests, Self::HeldTooLong, Self::TableFull];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SeveralRequests => "several_requests",
            Self::HeldTooLong => "held_too_long",
            Self::TableFull => "table_full",
        }
    }
}

/// What a call's parent could be, as far as is known now.
enum Cause {
    Nothing,
    Ambiguous(Ambiguity),
    Wait(ExchangeId),
    Request(ExchangeId),
}

/// Decides exchanges. `force`: whatever is not known by now counts as unknowable.
#[derive(Debug)]
pub struct Decider<'a> {
    pub open: &'a Open,
    pub identities: &'a mut Identities,
    pub force: bool,
}

impl Decider<'_> {
    pub fn request(&mut self, record: &Record) -> Decision {
        let call = record.other_end.and_then(|id| Some((id, self.open.get(id)?)));
        if let Some(lineage) = carried(record) {
            let is_passed_on = |call: &&Record| call.passed_on_by.is_some() && call.carried() == record.carried();
            let call = call.map(|(_, call)| call).filter(is_passed_on);
            return Decision::Given(call.map_or_else(|| lineage.clone(), |call| below(&lineage, call.span_id)));
        }
        match call {
            None => Decision::Given(self.root(record)),
            Some((id, call)) => match &call.lineage {
                Some(lineage) => Decision::Given(below(lineage, call.span_id)),
                None => Decision::Wait(id),
            },
        }
    }

    pub fn call(&mut self, record: &Record, process: Option<&mut Process>) -> (Decision, Option<Ambiguity>) {
        if let Some(lineage) = carried(record) {
            return (Decision::Given(lineage), None);
        }
        let cause = process.map_or(Cause::Ambiguous(Ambiguity::TableFull), |process| self.cause(record, process));
        match cause {
            Cause::Nothing => (Decision::Given(self.root(record)), None),
            Cause::Ambiguous(ambiguity) => (Decision::Given(self.root(record)), Some(ambiguity)),
            Cause::Wait(id) => (Decision::Wait(id), None),
            Cause::Request(id) => {
                let parent =
                    self.open.get(id).and_then(|request| Some(below(request.lineage.as_ref()?, request.span_id)));
                (Decision::Given(parent.unwrap_or_else(|| self.root(record))), None)
            }
        }
    }

    fn cause(&self, call: &Record, process: &mut Process) -> Cause {
        let on_thread = call.candidates.on_thread.filter(|_| !process.has_shared_threads());
        let likely = match (on_thread, call.candidates.in_process) {
            (Some(id), _) | (None, Count::One(id)) => id,
            (None, Count::None) => return Cause::Nothing,
            // Each request has a thread, and this thread has none: nobody's call.
            (None, Count::Several) if process.has_one_request_each_thread() => return Cause::Nothing,
            (None, Count::Several) => return Cause::Ambiguous(Ambiguity::SeveralRequests),
        };
        if call.end.is_none() {
            return if self.force { Cause::Ambiguous(Ambiguity::HeldTooLong) } else { Cause::Wait(likely) };
        }
        let Some(request) = self.open.get(likely) else { return Cause::Nothing };
        if request.lineage.is_none() {
            return if self.force { Cause::Ambiguous(Ambiguity::HeldTooLong) } else { Cause::Wait(likely) };
        }
        let contained = contains(request, call);
        match call.candidates.in_process {
            Count::Several => {
                let one_thread = contained && kept_to_its_thread(request) && kept_to_its_thread(call);
                if one_thread {
                    process.handle_witness();
                }
                if one_thread && process.has_one_request_each_thread() {
                    Cause::Request(likely)
                } else {
                    Cause::Ambiguous(Ambiguity::SeveralRequests)
                }
            }
            Count::None | Count::One(_) if !contained => Cause::Nothing,
            Count::None | Count::One(_) if on_thread.is_none() && process.has_one_request_each_thread() => {
                Cause::Nothing
            }
            Count::None | Count::One(_) => Cause::Request(likely),
        }
    }

    /// A trace of its own, with the decision about sampling that came without ids, where one came.
    pub fn root(&mut self, record: &Record) -> Lineage {
        root(record.context.as_deref(), self.identities)
    }
}

pub fn root(context: Option<&Context>, identities: &mut Identities) -> Lineage {
    Lineage {
        trace_id: identities.trace_id(),
        parent: None,
        parent_is_remote: false,
        sampled: context.map_or(Sampled::Undecided, |context| context.sampled),
        trace_state: None,
    }
}

/// The lineage that the request itself names.
fn carried(record: &Record) -> Option<Lineage> {
    let context = record.context.as_ref()?;
    let (trace_id, span_id) = context.parent?;
    let passed_on_by = record.passed_on_by.filter(|_| record.role == Role::Client);
    Some(remote(context, trace_id, passed_on_by.unwrap_or(span_id), passed_on_by.is_none()))
}

pub fn remote(context: &Context, trace_id: TraceId, parent: SpanId, parent_is_remote: bool) -> Lineage {
    Lineage {
        trace_id,
        parent: Some(parent),
        parent_is_remote,
        sampled: context.sampled,
        trace_state: context.trace_state.clone(),
    }
}

fn below(lineage: &Lineage, parent: SpanId) -> Lineage {
    Lineage { parent: Some(parent), parent_is_remote: false, ..lineage.clone() }
}

/// The call lies inside the request. A proxy that relays a body as it comes answers before its call has ended, but
/// never before that was answered.
fn contains(request: &Record, call: &Record) -> bool {
    let (Some(outer), Some(inner)) = (request.end, call.end) else { return false };
    request.first < call.first && inner.answered <= outer.answered && inner.last <= outer.last
}

fn kept_to_its_thread(record: &Record) -> bool {
    record.end.and_then(|EndFacts { answering_thread, .. }| answering_thread) == Some(record.thread)
}
