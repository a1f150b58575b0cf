// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where spans leave: an exchange that is described and its place in a trace become one, with times of the wall clock.

use super::{
    open::{Described, Lineage},
    span::{Span, SpanId},
};
use crate::{
    ledger::{Counter, Family, Ledger},
    moment::{KernelTime, WallClock},
};

pub struct Outlet {
    clock: WallClock,
    spans: Counter,
}

impl Outlet {
    pub fn new(ledger: &Ledger, clock: WallClock) -> Self {
        Self { clock, spans: ledger.counter(Family::Spans, &[]) }
    }

    pub fn release(
        &mut self,
        described: Described,
        span_id: SpanId,
        lineage: &Lineage,
        now: KernelTime,
        next: &mut impl FnMut(&mut Span),
    ) {
        let Described { description, role, tgid, first, last } = described;
        let offset = self.clock.offset(now);
        self.spans.increment();
        next(&mut Span {
            trace_id: lineage.trace_id,
            span_id,
            parent: lineage.parent,
            parent_is_remote: lineage.parent_is_remote,
            trace_state: lineage.trace_state.clone(),
            sampled: lineage.sampled,
            kind: role.into(),
            name: description.name,
            start: offset.wall(first),
            end: offset.wall(last.max(first)),
            standing: Some(description.standing),
            client_port: description.client_port,
            attributes: description.attributes,
            status: description.status,
            tgid,
        });
    }
}
