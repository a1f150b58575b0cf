// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The data path, from kernel events to spans that leave: each stage takes what the one before it gives.
//!
//! In: kernel events and the kernel's clock, live or from a recording. Out: released spans, to the printers and exporters.
//! Does not: read the ring, judge processes or wait. Single-threaded: no stage has a lock.

use agent_common::records::{ProcessChange, ProcessRecord};
use agent_protocols::WholeMessage;
use rustc_hash::FxHashSet;

use crate::{
    capture::KernelEvent,
    connections::{Advice, Connections, Heard, Limits, Listener, Side, Unread},
    enrich::{Enrich, Held, kubernetes::Pods},
    exchanges::Exchanges,
    export::Outputs,
    ledger::{Counter, Family, Ledger},
    moment::{KernelTime, Moment, WallClock},
    policy::Policy,
    spans::{Span, Spans},
    targets::Names,
};

/// The stages in order.
pub struct Pipeline {
    connections: Connections,
    exchanges: Exchanges,
    spans: Spans,
    exit: Exit,
    records: Counter,
    unfinished: Counter,
}

impl Pipeline {
    #[must_use]
    pub fn new(ledger: &Ledger, clock: WallClock, enrich: Enrich, policy: Policy, outputs: Outputs) -> Self {
        Self {
            connections: Connections::new(ledger, Limits::default()),
            exchanges: Exchanges::new(ledger),
            spans: Spans::new(ledger, clock),
            exit: Exit {
                enrich,
                held: Held::new(ledger),
                way_out: WayOut {
                    policy,
                    outputs,
                    unwanted: ledger.counter(Family::SpansDropped, &[("stage", "enrich"), ("reason", "not_selected")]),
                },
                spans: 0,
                is_news: false,
                now: KernelTime::default(),
            },
            records: ledger.counter(Family::KernelRecords, &[]),
            unfinished: ledger.counter(Family::ExchangesIncomplete, &[("reason", "watching_stopped")]),
        }
    }

    /// A record of the kernel, in the ring's order.
    pub fn handle_event(&mut self, event: &KernelEvent<'_>) {
        self.records.increment();
        let Self { connections, exchanges, spans, .. } = self;
        connections.handle_event(event, &mut Pairing { exchanges, spans });
        if let KernelEvent::Process(record) = event {
            self.handle_process(record);
        }
    }

    fn handle_process(&mut self, record: &ProcessRecord) {
        if record.change == ProcessChange::Exited as u32 {
            self.spans.handle_process_replaced(record.tgid);
            self.exit.enrich.handle_process_exited(record.tgid, KernelTime(record.time_ns));
        } else if record.change == ProcessChange::Executed as u32 {
            self.spans.handle_process_replaced(record.tgid);
        }
    }

    /// A process is watched from now on: its facts are read while it is there.
    pub fn handle_process_seen(&mut self, tgid: u32, names: &Names) {
        self.exit.enrich.handle_process_named(tgid, names.service.as_deref(), names.namespace.as_deref());
    }

    /// Whether spans of a process may leave, where that hangs on its pod.
    pub fn handle_process_judged(&mut self, tgid: u32, is_wanted: bool) {
        self.exit.enrich.handle_process_judged(tgid, is_wanted);
    }

    /// Takes what the API server has told of pods. Answers with those that have changed, by the uid that processes show.
    pub fn handle_pods(&mut self) -> FxHashSet<String> {
        let (changed, is_news) = self.exit.enrich.handle_pods();
        self.exit.is_news |= is_news;
        changed
    }

    /// The pods of this node; absent outside a cluster.
    #[must_use]
    pub fn pods(&self) -> Option<&Pods> {
        self.exit.enrich.pods()
    }

    /// The kernel's clock has come this far, and every record from before has been handled.
    pub fn handle_time(&mut self, now: KernelTime) {
        let Self { connections, exchanges, spans, exit, .. } = self;
        connections.handle_time(now, &mut Pairing { exchanges, spans });
        exit.handle_time(now);
        spans.handle_time(now, &mut |span| exit.handle_span(span));
    }

    /// What the kernel may do differently.
    pub fn poll_advice(&mut self) -> Option<Advice> {
        self.connections.poll_advice()
    }

    /// A process that speaks TLS, and is not read.
    pub fn poll_unread(&mut self, now: KernelTime) -> Option<Unread> {
        self.connections.poll_unread(now)
    }

    /// Tells a person something between the waterfalls.
    pub fn tell(&self, text: String) {
        if let Some(stdout) = &self.exit.way_out.outputs.stdout {
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
        self.exit.spans
    }

    /// Nothing more will come: what can be decided is, and the outputs are handed back to be flushed. Requests that are
    /// open still are counted and no spans: nothing is known of their end.
    #[must_use]
    pub fn finish(mut self, now: KernelTime) -> Outputs {
        let Self { connections, exchanges, spans, exit, unfinished, .. } = &mut self;
        connections.finish(&mut Pairing { exchanges, spans });
        unfinished.add(exchanges.open() as u64);
        spans.handle_time(now, &mut |span| exit.handle_span(span));
        spans.finish(&mut |span| exit.handle_span(span));
        exit.finish();
        self.exit.way_out.outputs
    }
}

/// The stages `pair` and `trace`, as what listens to conversations.
struct Pairing<'a> {
    exchanges: &'a mut Exchanges,
    spans: &'a mut Spans,
}

impl Listener for Pairing<'_> {
    fn handle_heard(&mut self, heard: Heard) {
        self.exchanges.handle_heard(heard, &mut |event| self.spans.handle_event(event));
    }

    fn handle_whole(&mut self, on: Side, message: WholeMessage, first: Moment, bytes: u32) {
        self.exchanges.handle_whole(on, message, first, bytes, &mut |event| self.spans.handle_event(event));
    }
}

/// The stages behind `trace`: what a span passes on its way out.
struct Exit {
    enrich: Enrich,
    held: Held,
    way_out: WayOut,
    spans: u64,
    now: KernelTime,
    /// Of pods, since spans were last looked at that wait for some.
    is_news: bool,
}

/// Behind `enrich`.
struct WayOut {
    policy: Policy,
    outputs: Outputs,
    /// Spans of processes that turned out not to be selected.
    unwanted: Counter,
}

impl Exit {
    fn handle_span(&mut self, span: &mut Span) {
        self.spans += 1;
        let Self { enrich, held, way_out, now, .. } = self;
        if !enrich.is_in_cluster() || !held.offer(span, *now, enrich) {
            way_out.release(enrich, span);
        }
    }

    fn handle_time(&mut self, now: KernelTime) {
        self.now = now;
        if self.enrich.is_in_cluster() {
            let is_news = std::mem::take(&mut self.is_news);
            let Self { enrich, held, way_out, .. } = self;
            held.handle_time(now, is_news, enrich, &mut |enrich, span| way_out.release(enrich, span));
        }
    }

    fn finish(&mut self) {
        let Self { enrich, held, way_out, .. } = self;
        held.finish(enrich, &mut |enrich, span| way_out.release(enrich, span));
    }
}

impl WayOut {
    fn release(&mut self, enrich: &mut Enrich, span: &mut Span) {
        if enrich.is_in_cluster() && !enrich.is_wanted(span.tgid) {
            self.unwanted.increment();
            return;
        }
        let resource = enrich.complete(span);
        if let Some(released) = self.policy.release(span, resource) {
            self.outputs.handle_span(released);
        }
    }
}
