// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Spans in, as they end, children before their parents; the spans of a trace out once it is complete.
//!
//! Nothing says that a trace is over. One is taken for complete when every parent it names is there and no span has
//! come for a while; one whose parents do not come is given up waiting for. A span that comes after that is late.

use std::{collections::VecDeque, time::Duration};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::spans::TraceId;

use super::{Limits, draw::Occasion, facts::Facts};

/// Traces of which is remembered that they were let go. Larger: memory, 20 bytes each. Smaller: spans that come late
/// are shown as a trace of their own.
const REMEMBERED: usize = 4096;

pub struct Held {
    limits: Limits,
    traces: FxHashMap<TraceId, HeldTrace>,
    /// In the order of their first spans; ids that are held no more are skipped.
    order: VecDeque<TraceId>,
    spans: usize,
    gone: Gone,
}

struct HeldTrace {
    spans: Vec<Facts>,
    occasion: Occasion,
    /// When the newest span came.
    touched: Duration,
    /// Known to name a parent that is not there; a new span may be that parent.
    has_missing_parent: Option<bool>,
}

impl Held {
    pub fn new(limits: Limits) -> Self {
        Self { limits, traces: FxHashMap::default(), order: VecDeque::new(), spans: 0, gone: Gone::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }

    /// False: its trace was not printed, and so it is not either.
    pub fn handle_span(&mut self, span: Facts, now: Duration) -> bool {
        let id = span.trace_id;
        let occasion = match self.gone.was_printed(id) {
            Some(false) => return false,
            Some(true) => Occasion::Late,
            None => Occasion::Whole,
        };
        let trace = self.traces.entry(id).or_insert_with(|| {
            self.order.push_back(id);
            HeldTrace { spans: Vec::new(), occasion, touched: now, has_missing_parent: None }
        });
        trace.spans.push(span);
        trace.touched = now;
        trace.has_missing_parent = None;
        self.spans += 1;
        true
    }

    /// The traces that are complete or were waited for long enough, and while too many spans are held the oldest ones.
    pub fn poll(&mut self, now: Duration) -> Vec<(Occasion, Vec<Facts>)> {
        let limits = self.limits;
        let mut due = Vec::new();
        let mut too_many = self.spans.saturating_sub(limits.held_spans);
        self.order.retain(|id| {
            let Some(trace) = self.traces.get_mut(id) else { return false };
            if too_many == 0 && !trace.is_due(now, &limits) {
                return true;
            }
            too_many = too_many.saturating_sub(trace.spans.len());
            due.push(*id);
            false
        });
        due.into_iter().filter_map(|id| self.let_go(id)).collect()
    }

    /// Everything, in the order of first spans.
    pub fn finish(&mut self) -> Vec<(Occasion, Vec<Facts>)> {
        std::mem::take(&mut self.order).into_iter().filter_map(|id| self.let_go(id)).collect()
    }

    /// To be told of each trace that was let go, before the next span comes.
    pub fn remember(&mut self, id: TraceId, was_printed: bool) {
        self.gone.remember(id, was_printed);
    }

    fn let_go(&mut self, id: TraceId) -> Option<(Occasion, Vec<Facts>)> {
        let trace = self.traces.remove(&id)?;
        self.spans -= trace.spans.len();
        Some((trace.occasion, trace.spans))
    }
}

impl HeldTrace {
    fn is_due(&mut self, now: Duration, limits: &Limits) -> bool {
        let quiet = now.saturating_sub(self.touched);
        if quiet < limits.quiet {
            return false;
        }
        quiet >= limits.wait_for_parents
            || self.occasion == Occasion::Late
            || !*self.has_missing_parent.get_or_insert_with(|| names_missing_parent(&self.spans))
    }
}

fn names_missing_parent(spans: &[Facts]) -> bool {
    let ids: FxHashSet<_> = spans.iter().map(|span| span.span_id).collect();
    spans.iter().filter_map(|span| span.parent).any(|parent| !ids.contains(&parent))
}

/// Whether the traces let go last were printed.
#[derive(Default)]
struct Gone {
    was_printed: FxHashMap<TraceId, bool>,
    order: VecDeque<TraceId>,
}

impl Gone {
    fn was_printed(&self, id: TraceId) -> Option<bool> {
        self.was_printed.get(&id).copied()
    }

    fn remember(&mut self, id: TraceId, was_printed: bool) {
        if self.was_printed.insert(id, was_printed).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.was_printed.remove(&oldest);
        }
    }
}
