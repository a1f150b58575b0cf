// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The data path, from kernel events to spans that leave: each stage takes what the one before it gives.
//!
//! In: kernel events and the kernel's clock, live or from a recording. Out: released spans, to the printers and exporters.
//! Does not: read the ring, judge processes or wait. Single-threaded: no stage has a lock.

use agent_common::records::{ProcessChange, ProcessRecord};

use crate::{
    capture::KernelEvent,
    connections::{Connections, Limits, Uninteresting},
    enrich::Enrich,
    exchanges::Exchanges,
    export::Outputs,
    ledger::{Counter, Family, Ledger},
    moment::{KernelTime, WallClock},
    policy::Policy,
    spans::Spans,
    targets::Names,
};

/// The stages in order.
pub struct Pipeline {
    connections: Connections,
    exchanges: Exchanges,
    spans: Spans,
    enrich: Enrich,
    policy: Policy,
    outputs: Outputs,
    records: Counter,
    unfinished: Counter,
    spans_seen: u64,
}

impl Pipeline {
    #[must_use]
    pub fn new(ledger: &Ledger, clock: WallClock, enrich: Enrich, policy: Policy, outputs: Outputs) -> Self {
        Self {
            connections: Connections::new(ledger, Limits::default()),
            exchanges: Exchanges::new(ledger),
            spans: Spans::new(ledger, clock),
            enrich,
            policy,
            outputs,
            records: ledger.counter(Family::KernelRecords, &[]),
            unfinished: ledger.counter(Family::ExchangesIncomplete, &[("reason", "watching_stopped")]),
            spans_seen: 0,
        }
    }

    /// A record of the kernel, in the ring's order.
    pub fn handle_event(&mut self, event: &KernelEvent<'_>) {
        self.records.increment();
        let Self { connections, exchanges, spans, .. } = self;
        connections.handle_event(event, &mut |heard| {
            exchanges.handle_heard(heard, &mut |exchange| spans.handle_event(exchange));
        });
        if let KernelEvent::Process(record) = event {
            self.handle_process(record);
        }
        self.drain();
    }

    fn handle_process(&mut self, record: &ProcessRecord) {
        if record.change == ProcessChange::Exited as u32 {
            self.spans.handle_process_replaced(record.tgid);
            self.enrich.handle_process_exited(record.tgid, KernelTime(record.time_ns));
        } else if record.change == ProcessChange::Executed as u32 {
            self.spans.handle_process_replaced(record.tgid);
        }
    }

    /// A process is watched from now on: its facts are read while it is there.
    pub fn handle_process_seen(&mut self, tgid: u32, names: &Names) {
        self.enrich.handle_process_named(tgid, names.service.as_deref(), names.namespace.as_deref());
    }

    /// The kernel's clock has come this far, and every record from before has been handled.
    pub fn handle_time(&mut self, now: KernelTime) {
        let Self { connections, exchanges, spans, .. } = self;
        connections.handle_time(now, &mut |heard| {
            exchanges.handle_heard(heard, &mut |exchange| spans.handle_event(exchange));
        });
        spans.handle_time(now);
        self.drain();
    }

    /// A connection that the kernel need not copy from any more.
    pub fn poll_uninteresting(&mut self) -> Option<Uninteresting> {
        self.connections.poll_uninteresting()
    }

    /// Tells a person something between the waterfalls.
    pub fn tell(&self, text: String) {
        if let Some(stdout) = &self.outputs.stdout {
            stdout.handle_text(text);
        }
    }

    /// Bytes of watched processes have come.
    #[must_use]
    pub fn has_seen_bytes(&self) -> bool {
        !self.connections.is_empty()
    }

    /// Spans built so far.
    #[must_use]
    pub const fn spans_seen(&self) -> u64 {
        self.spans_seen
    }

    /// Nothing more will come: what can be decided is, and the outputs are handed back to be flushed. Requests that are
    /// open still are counted and no spans: nothing is known of their end.
    #[must_use]
    pub fn finish(mut self, now: KernelTime) -> Outputs {
        let Self { connections, exchanges, spans, .. } = &mut self;
        connections.finish(&mut |heard| {
            exchanges.handle_heard(heard, &mut |exchange| spans.handle_event(exchange));
        });
        self.unfinished.add(self.exchanges.open() as u64);
        self.spans.handle_time(now);
        self.spans.finish();
        self.drain();
        self.outputs
    }

    fn drain(&mut self) {
        let Self { spans, enrich, policy, outputs, spans_seen, .. } = self;
        spans.drain(|span| {
            *spans_seen += 1;
            let resource = enrich.resource(span.tgid);
            if let Some(released) = policy.release(span, resource) {
                outputs.handle_span(released);
            }
        });
    }
}
