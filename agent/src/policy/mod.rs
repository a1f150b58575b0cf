// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Release: spans in, spans that may leave out: sampled in, redacted, and not about telemetry itself.
//!
//! Exporters accept only [`ReleasedSpan`], and only this module can build one.

mod redaction;
mod sampler;
mod telemetry;

use std::sync::Arc;

use crate::{
    config::SamplerConfig,
    enrich::Resource,
    ledger::{Counter, Family, Ledger},
    spans::Span,
};

/// A span that may leave the machine.
#[derive(Clone, Copy, Debug)]
pub struct Released<'a> {
    span: &'a Span,
    resource: &'a Arc<Resource>,
}

impl<'a> Released<'a> {
    #[must_use]
    pub const fn span(self) -> &'a Span {
        self.span
    }

    #[must_use]
    pub const fn resource(self) -> &'a Arc<Resource> {
        self.resource
    }

    /// For an exporter that does not write it at once.
    #[must_use]
    pub fn kept(self) -> ReleasedSpan {
        ReleasedSpan { span: self.span.clone(), resource: Arc::clone(self.resource) }
    }
}

/// The same, on its way to another thread.
#[derive(Clone, Debug)]
pub struct ReleasedSpan {
    span: Span,
    resource: Arc<Resource>,
}

impl ReleasedSpan {
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    #[must_use]
    pub const fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }
}

/// The stage. Tests of exporters make their spans with one that samples everything: there is no other way.
#[derive(Debug)]
pub struct Policy {
    sampler: SamplerConfig,
    sampled_out: Counter,
    telemetry: Counter,
}

impl Policy {
    #[must_use]
    pub fn new(sampler: &SamplerConfig, ledger: &Ledger) -> Self {
        let dropped = |reason| ledger.counter(Family::SpansDropped, &[("stage", "policy"), ("reason", reason)]);
        Self { sampler: *sampler, sampled_out: dropped("sampled_out"), telemetry: dropped("telemetry") }
    }

    pub fn release<'a>(&mut self, span: &'a mut Span, resource: &'a Arc<Resource>) -> Option<Released<'a>> {
        if !sampler::is_sampled(&self.sampler, span) {
            self.sampled_out.increment();
            return None;
        }
        if telemetry::is_export(span) {
            self.telemetry.increment();
            return None;
        }
        redaction::redact(span);
        Some(Released { span, resource })
    }
}

/// For the tests of exporters, which need released spans: through the policy, as any other.
#[cfg(test)]
pub(crate) fn released_for_tests(mut span: Span, resource: Arc<Resource>) -> ReleasedSpan {
    let mut policy = Policy::new(&SamplerConfig::AlwaysOn, &Ledger::new());
    policy.release(&mut span, &resource).expect("everything is sampled").kept()
}

#[cfg(test)]
impl ReleasedSpan {
    /// As exporters are given it.
    pub(crate) const fn leaving(&self) -> Released<'_> {
        Released { span: &self.span, resource: &self.resource }
    }
}

#[cfg(test)]
mod tests;
