// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Spans that wait to be told of their pod: a pod's first request can be older than the news of the pod.
//!
//! In: spans of processes whose pod is awaited. Out: the same spans, once the pod is known, or its time is over, in their
//! order. Spans that leave without are counted, and why.

use std::collections::VecDeque;

use super::{Enrich, Standing};
use crate::{
    ledger::{Counter, Family, Ledger},
    moment::KernelTime,
    spans::Span,
};

/// How long a span waits at most. Larger: where the API server is away, the first spans of each new process come late.
/// Smaller: the kubelet's report of a container, which takes a second or two, comes too late.
const WAIT_NS: u64 = 5_000_000_000;

/// Spans that wait. Larger: memory, about 1 KiB each. Smaller: where many pods start at once, some of their first spans
/// have no pod.
const SPANS: usize = 4096;

#[derive(Debug)]
pub struct Held {
    spans: VecDeque<(KernelTime, Span)>,
    late: Counter,
    no_room: Counter,
    given_up: Counter,
}

impl Held {
    #[must_use]
    pub fn new(ledger: &Ledger) -> Self {
        let counter = |reason| ledger.counter(Family::SpansWithoutPod, &[("reason", reason)]);
        Self {
            spans: VecDeque::new(),
            late: counter("late"),
            no_room: counter("no_room"),
            given_up: counter("not_told"),
        }
    }

    /// Whether it was taken; what was not taken leaves now.
    pub fn offer(&mut self, span: &Span, now: KernelTime, enrich: &mut Enrich) -> bool {
        // The process may be seen here for the first time.
        enrich.resource(span.tgid);
        match enrich.standing(span.tgid) {
            Standing::Settled => return false,
            Standing::GivenUp => self.given_up.increment(),
            Standing::Awaited if self.spans.len() >= SPANS => self.no_room.increment(),
            Standing::Awaited => {
                self.spans.push_back((now, span.clone()));
                return true;
            }
        }
        false
    }

    /// Gives those that need not wait any more: `is_news` where something was learnt of pods.
    pub fn handle_time(
        &mut self,
        now: KernelTime,
        is_news: bool,
        enrich: &mut Enrich,
        next: &mut impl FnMut(&mut Enrich, &mut Span),
    ) {
        let is_over = |since: &KernelTime| since.0.saturating_add(WAIT_NS) <= now.0;
        let due = self.spans.iter().take_while(|(since, _)| is_over(since));
        let due: Vec<u32> = due.map(|(_, span)| span.tgid).collect();
        if due.is_empty() && !is_news {
            return;
        }
        for tgid in due {
            enrich.give_up(tgid);
        }
        for _ in 0..self.spans.len() {
            let Some((since, mut span)) = self.spans.pop_front() else { break };
            match enrich.standing(span.tgid) {
                Standing::Awaited => {
                    self.spans.push_back((since, span));
                    continue;
                }
                Standing::GivenUp => self.late.increment(),
                Standing::Settled => {}
            }
            next(enrich, &mut span);
        }
    }

    /// Nothing more will be learnt.
    pub fn finish(&mut self, enrich: &mut Enrich, next: &mut impl FnMut(&mut Enrich, &mut Span)) {
        self.handle_time(KernelTime(u64::MAX), true, enrich, next);
    }
}
