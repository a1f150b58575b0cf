// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What became of every span that was offered: exported, or dropped for one reason.
//!
//! At rest: offered = exported + dropped, summed over reasons. Labels are fixed texts, so that their number is bounded.

use std::sync::Arc;

use crate::ledger::{Counter, Family, Ledger};

const EXPORTER: (&str, &str) = ("exporter", "otlp");

/// The queue's bound was reached.
pub const QUEUE_FULL: &str = "queue_full";
/// The collector took the request and refused some of its spans (`partial_success`).
pub const REJECTED: &str = "rejected_by_collector";
/// Retries went on for as long as one batch is worth.
pub const GAVE_UP: &str = "gave_up";
/// Still waiting when the time to shut down was over, or offered after it.
pub const SHUTDOWN: &str = "shutdown";

#[derive(Clone, Debug)]
pub struct Counts {
    ledger: Arc<Ledger>,
    exported: Counter,
    queue_full: Counter,
    shutdown: Counter,
}

impl Counts {
    #[must_use]
    pub fn new(ledger: &Arc<Ledger>) -> Self {
        for reason in [REJECTED, GAVE_UP] {
            dropped(ledger, reason);
        }
        Self {
            ledger: Arc::clone(ledger),
            exported: ledger.counter(Family::SpansExported, &[EXPORTER]),
            queue_full: dropped(ledger, QUEUE_FULL),
            shutdown: dropped(ledger, SHUTDOWN),
        }
    }

    pub fn exported(&self, spans: u64) {
        self.exported.add(spans);
    }

    /// The collector did not get these.
    pub fn dropped(&self, reason: &'static str, spans: u64) {
        if spans > 0 {
            dropped(&self.ledger, reason).add(spans);
        }
    }

    pub fn dropped_queue_full(&self) {
        self.queue_full.increment();
    }

    pub fn dropped_shutdown(&self, spans: u64) {
        self.shutdown.add(spans);
    }

    /// All that this exporter dropped so far, whatever the reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        let ours = |labels: &[(&str, &str)]| labels.contains(&EXPORTER);
        self.ledger
            .snapshot()
            .into_iter()
            .filter(|(family, labels, _)| *family == Family::SpansDropped && ours(labels))
            .map(|(_, _, total)| total)
            .sum()
    }
}

fn dropped(ledger: &Ledger, reason: &'static str) -> Counter {
    ledger.counter(Family::SpansDropped, &[("stage", "export"), ("reason", reason), EXPORTER])
}
