// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Per process: which requests it is serving, which calls it has out, and whether its threads serve one request at a
//! time.
//!
//! In: begin and end of the process's exchanges. Out: the requests that may have caused a call.
//! Does not: see requests of protocols that Onlooker does not parse, requests of which the bytes were lost, nor timers.
//! A call that a timer makes while exactly one request is open looks like that request's own; nothing on the wire tells
//! them apart.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::by_time::ByTime;
use crate::{exchanges::ExchangeId, moment::KernelTime};

/// Events of two threads can reach the ring buffer in the wrong order by microseconds. Larger: a longer look back at
/// requests that just ended. Smaller: such a request is not counted as a possible cause.
const INVERSION_NS: u64 = 1_000_000;

/// Calls made among several open requests, each begun, answered and followed by its request's response on that
/// request's one thread, after which the process is believed to give each request a thread. Work-stealing runtimes
/// move between threads at every wait, so that a run of this length without one contradiction does not happen to them.
/// Larger: more calls without a parent first. Smaller: a Go program under light load could pass.
const WITNESSES: u32 = 32;

/// The requests that were being served when a call began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    pub in_process: Count,
    /// The only one of them that the call's thread had read.
    pub on_thread: Option<ExchangeId>,
}

impl Candidates {
    /// Of a call that may belong to a request that is not in the tables.
    pub const UNKNOWN: Self = Self { in_process: Count::Several, on_thread: None };
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    #[default]
    None,
    One(ExchangeId),
    Several,
}

impl Count {
    #[must_use]
    pub fn and(self, id: ExchangeId) -> Self {
        match self {
            Self::None => Self::One(id),
            Self::One(same) if same == id => self,
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

/// Whether a thread that has read a request works for nothing else until it has answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThreadHabit {
    /// Nothing spoke against it yet; so many calls spoke for it.
    Learning(u32),
    OneRequestEach,
    /// Seen once to do otherwise: an event loop, a work-stealing pool, a hand-over. Never believed again.
    Shared,
}

/// The requests on one thread that have not ended.
#[derive(Clone, Copy, Debug)]
struct Serving {
    /// The latest and its first byte; absent when that one ended before an earlier one.
    latest: Option<(KernelTime, ExchangeId)>,
    connection: u64,
    requests: u32,
}

#[derive(Debug)]
pub struct Process {
    /// Requests being served, by their first byte.
    requests: ByTime,
    /// Requests that ended within [`INVERSION_NS`]: first byte, last byte.
    just_ended: VecDeque<(KernelTime, KernelTime, ExchangeId)>,
    /// Of requests that were seen after the process's first call: most that serve never call, and nobody asks.
    by_thread: FxHashMap<u32, Serving>,
    first_call: Option<ExchangeId>,
    /// Calls whose parent is not decided, by their first byte.
    calls: ByTime,
    habit: ThreadHabit,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            requests: ByTime::default(),
            just_ended: VecDeque::new(),
            by_thread: FxHashMap::default(),
            first_call: None,
            calls: ByTime::default(),
            habit: ThreadHabit::Learning(0),
        }
    }
}

impl Process {
    /// Gives the calls that began after `since`, but were seen before this request: it may be their cause.
    pub fn handle_request(
        &mut self,
        id: ExchangeId,
        first: KernelTime,
        tid: u32,
        connection: u64,
        since: KernelTime,
    ) -> impl Iterator<Item = ExchangeId> {
        self.requests.insert(first, id);
        if self.first_call.is_some() && self.habit != ThreadHabit::Shared {
            match self.by_thread.get_mut(&tid) {
                None => {
                    self.by_thread.insert(tid, Serving { latest: Some((first, id)), connection, requests: 1 });
                }
                // Pipelined requests are read ahead and served in their order.
                Some(serving) if serving.connection == connection => {
                    serving.requests += 1;
                    serving.latest = Some((first, id));
                }
                Some(_) => self.threads_are_shared(),
            }
        }
        self.calls.after(since)
    }

    /// `answering_tid`: the thread that sent the response's first byte.
    pub fn handle_request_end(
        &mut self,
        id: ExchangeId,
        first: KernelTime,
        last: KernelTime,
        tid: u32,
        answering_tid: Option<u32>,
    ) {
        self.requests.remove(first, id);
        while self.just_ended.front().is_some_and(|(_, ended, _)| ended.0.saturating_add(INVERSION_NS) < last.0) {
            self.just_ended.pop_front();
        }
        self.just_ended.push_back((first, last, id));
        if answering_tid.is_some_and(|answering| answering != tid) {
            self.threads_are_shared();
        }
        if self.first_call.is_some_and(|call| call < id)
            && let Some(serving) = self.by_thread.get_mut(&tid)
        {
            serving.requests -= 1;
            serving.latest = serving.latest.filter(|(_, latest)| *latest != id);
            if serving.requests == 0 {
                self.by_thread.remove(&tid);
            }
        }
    }

    /// The requests that were being served when this call began: they had begun, and had not ended. Requests that begin
    /// while the call is out cannot have caused it.
    ///
    /// `tid`: the thread that made it, where the one that wrote it is that.
    pub fn handle_call(&mut self, id: ExchangeId, first: KernelTime, tid: Option<u32>) -> Candidates {
        self.calls.insert(first, id);
        self.first_call.get_or_insert(id);
        let open = self.requests.before(first);
        let ended = self.just_ended.iter().rev();
        let ended = ended.take_while(|(_, last, _)| last.0.saturating_add(INVERSION_NS) > first.0);
        let ended = ended.filter(|(began, last, _)| *began < first && first < *last).map(|(.., request)| *request);
        let in_process = open.chain(ended).take(2).fold(Count::None, Count::and);
        let serving = tid.and_then(|tid| self.by_thread.get(&tid)).filter(|serving| serving.requests == 1);
        let read_by_thread = serving.and_then(|serving| serving.latest);
        let on_thread = read_by_thread.filter(|(began, _)| *began < first).map(|(_, request)| request);
        Candidates { in_process, on_thread }
    }

    pub fn handle_call_end(&mut self, tid: u32, answering_tid: Option<u32>) {
        if answering_tid.is_some_and(|answering| answering != tid) {
            self.threads_are_shared();
        }
    }

    pub fn handle_call_decided(&mut self, id: ExchangeId, first: KernelTime) {
        self.calls.remove(first, id);
    }

    /// A call among several open requests kept to the one thread of its request.
    pub fn handle_witness(&mut self) {
        if let ThreadHabit::Learning(witnesses) = self.habit {
            self.habit = match witnesses + 1 {
                WITNESSES => ThreadHabit::OneRequestEach,
                more => ThreadHabit::Learning(more),
            };
        }
    }

    /// Another program runs under this id from now on.
    pub fn forget_habit(&mut self) {
        self.habit = ThreadHabit::Learning(0);
        self.by_thread.clear();
    }

    #[must_use]
    pub fn has_one_request_each_thread(&self) -> bool {
        self.habit == ThreadHabit::OneRequestEach
    }

    #[must_use]
    pub fn has_shared_threads(&self) -> bool {
        self.habit == ThreadHabit::Shared
    }

    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.calls.is_empty()
    }

    /// A thread of it works for several requests at once, or a request is worked for by several threads.
    pub fn threads_are_shared(&mut self) {
        self.habit = ThreadHabit::Shared;
        self.by_thread = FxHashMap::default();
    }
}
