// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ledger: every record, message, exchange and span is delivered or counted as lost with a reason.
//!
//! In: increments from every stage. Out: one list of named counters, the same on `/metrics` and at exit.
//! At rest: exchanges = spans + exchanges not selected; and per exporter, spans = exported + dropped.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// A family of counters that share a name and differ in labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    KernelRecords,
    KernelRecordsLost,
    ConnectionsDropped,
    Messages,
    MessageProblems,
    Exchanges,
    ExchangesIncomplete,
    Spans,
    SpansDropped,
    SpansExported,
    ParentsAmbiguous,
    ProcessesWatched,
    BackendsAttached,
    BackendsRefused,
    TlsFiles,
    TlsProbes,
    TlsUnreadable,
    SpansWithoutPod,
    PodsRefused,
    PeersRefused,
    ClusterFailures,
}

impl Family {
    /// The name on `/metrics` and in the ledger printed at exit.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KernelRecords => "onlooker_kernel_records_total",
            Self::KernelRecordsLost => "onlooker_kernel_records_lost_total",
            Self::ConnectionsDropped => "onlooker_connections_dropped_total",
            Self::Messages => "onlooker_messages_total",
            Self::MessageProblems => "onlooker_message_problems_total",
            Self::Exchanges => "onlooker_exchanges_total",
            Self::ExchangesIncomplete => "onlooker_exchanges_incomplete_total",
            Self::Spans => "onlooker_spans_total",
            Self::SpansDropped => "onlooker_spans_dropped_total",
            Self::SpansExported => "onlooker_spans_exported_total",
            Self::ParentsAmbiguous => "onlooker_parents_ambiguous_total",
            Self::ProcessesWatched => "onlooker_processes_watched_total",
            Self::BackendsAttached => "onlooker_backends_attached_total",
            Self::BackendsRefused => "onlooker_backends_refused_total",
            Self::TlsFiles => "onlooker_tls_files_total",
            Self::TlsProbes => "onlooker_tls_probes_total",
            Self::TlsUnreadable => "onlooker_tls_unreadable_total",
            Self::SpansWithoutPod => "onlooker_spans_without_pod_total",
            Self::PodsRefused => "onlooker_kubernetes_pods_refused_total",
            Self::PeersRefused => "onlooker_kubernetes_peers_refused_total",
            Self::ClusterFailures => "onlooker_kubernetes_failures_total",
        }
    }

    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::KernelRecords => "Records read from the ring buffer.",
            Self::KernelRecordsLost => "Records the kernel programs could not deliver.",
            Self::ConnectionsDropped => "Connections no longer followed, for want of room.",
            Self::Messages => "Requests and responses understood.",
            Self::MessageProblems => "Things the parsers noticed and stepped over.",
            Self::Exchanges => "Requests whose end was seen, or whose connection ended.",
            Self::ExchangesIncomplete => "Exchanges of which a part is missing.",
            Self::Spans => "Spans built.",
            Self::SpansDropped => "Spans that did not leave.",
            Self::SpansExported => "Spans delivered.",
            Self::ParentsAmbiguous => "Spans without a parent because several requests qualified.",
            Self::ProcessesWatched => "Processes that were chosen to be watched.",
            Self::BackendsAttached => "Capture backends that watch.",
            Self::BackendsRefused => "Better capture backends that do not work on this machine.",
            Self::TlsFiles => "Files whose TLS is read.",
            Self::TlsProbes => "Places in them that are probed.",
            Self::TlsUnreadable => "Programs that speak TLS and cannot be read.",
            Self::SpansWithoutPod => "Spans of pods that left before the API server had told of the pod.",
            Self::PodsRefused => "Pods of this node that are not known, for want of room.",
            Self::PeersRefused => "Services and endpoints that are not known, for want of room.",
            Self::ClusterFailures => "Requests to the API server that failed.",
        }
    }
}

/// Label names and values of one counter.
pub type Labels = Vec<(&'static str, &'static str)>;

/// A handle to one counter; cheap to copy and to increment, fetched once and kept by the stage that uses it.
#[derive(Clone, Copy, Debug)]
pub struct Counter(&'static AtomicU64);

impl Counter {
    pub fn add(self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn increment(self) {
        self.add(1);
    }

    /// For totals that are kept elsewhere, such as the kernel's.
    pub fn set(self, total: u64) {
        self.0.store(total, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one run. Labels come from enums, so that their number is bounded; counters are never freed.
#[derive(Debug, Default)]
pub struct Ledger {
    counters: Mutex<BTreeMap<(Family, Labels), Counter>>,
}

impl Ledger {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter of this family with these labels, made at zero where it is new.
    pub fn counter(&self, family: Family, labels: &[(&'static str, &'static str)]) -> Counter {
        *self
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry((family, labels.to_vec()))
            .or_insert_with(|| Counter(Box::leak(Box::new(AtomicU64::new(0)))))
    }

    /// All counters, sorted by name and labels.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(Family, Labels, u64)> {
        self.counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|((family, labels), counter)| (*family, labels.clone(), counter.get()))
            .collect()
    }

    /// One counter a line, as Prometheus writes a sample: `name{label="value"} 12`. For reading: what is zero is left out,
    /// but for totals without labels.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for (family, labels, total) in self.snapshot() {
            if total != 0 || labels.is_empty() {
                text.push_str(&sample(family, &labels, total));
            }
        }
        text
    }

    /// The Prometheus text format, with help and type.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        let mut last = None;
        for (family, labels, total) in self.snapshot() {
            if last != Some(family) {
                let name = family.name();
                let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} counter", family.help());
                last = Some(family);
            }
            text.push_str(&sample(family, &labels, total));
        }
        text
    }
}

fn sample(family: Family, labels: &Labels, total: u64) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    match labels.as_slice() {
        [] => format!("{} {total}\n", family.name()),
        labels => format!("{}{{{}}} {total}\n", family.name(), labels.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_labels_name_the_same_counter() {
        let ledger = Ledger::new();
        ledger.counter(Family::Messages, &[("protocol", "http1")]).add(2);
        ledger.counter(Family::Messages, &[("protocol", "http1")]).increment();
        assert_eq!(ledger.lines(), "onlooker_messages_total{protocol=\"http1\"} 3\n");
    }

    #[test]
    fn prometheus_text_has_one_head_a_family() {
        let ledger = Ledger::new();
        ledger.counter(Family::Exchanges, &[("protocol", "a")]).increment();
        ledger.counter(Family::Exchanges, &[("protocol", "b")]).increment();
        assert_eq!(ledger.prometheus().matches("# TYPE").count(), 1);
    }
}
