// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where spans go: every exporter that is on gets each of them, and none waits for another.

use super::{otlp::OtlpExporter, stdout::Stdout};
use crate::{
    ledger::{Counter, Family, Ledger},
    policy::Released,
};

pub struct Outputs {
    pub stdout: Option<Stdout>,
    pub otlp: Option<OtlpExporter>,
    discarded: Counter,
}

impl Outputs {
    #[must_use]
    pub fn new(stdout: Option<Stdout>, otlp: Option<OtlpExporter>, ledger: &Ledger) -> Self {
        let labels = [("stage", "export"), ("reason", "no_exporter")];
        Self { stdout, otlp, discarded: ledger.counter(Family::SpansDropped, &labels) }
    }

    /// Never waits: each exporter has a bounded queue, and counts what finds it full.
    pub fn handle_span(&self, span: Released<'_>) {
        if let Some(otlp) = &self.otlp {
            otlp.offer(span);
        }
        match &self.stdout {
            Some(stdout) => stdout.handle_span(span.kept()),
            None if self.otlp.is_none() => self.discarded.increment(),
            None => {}
        }
    }
}
