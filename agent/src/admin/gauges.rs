// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Values that are read when `/metrics` is asked for, beside the ledger's counters. Their number is fixed when the server
//! is made; none has labels.

use std::fmt::Write as _;

use procfs::{WithCurrentSystemInfo as _, process::Process};

/// One value, read at each scrape; where it cannot be read it is left out.
pub struct Gauge {
    pub name: &'static str,
    pub help: &'static str,
    /// `gauge` or `counter`, as Prometheus calls them.
    pub kind: &'static str,
    pub read: Box<dyn Fn() -> Option<f64> + Send + Sync>,
}

impl Gauge {
    pub fn new(name: &'static str, help: &'static str, read: impl Fn() -> Option<f64> + Send + Sync + 'static) -> Self {
        Self { name, help, kind: "gauge", read: Box::new(read) }
    }

    pub(super) fn write(&self, text: &mut String) {
        if let Some(value) = (self.read)() {
            let Self { name, help, kind, .. } = self;
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    }
}

/// Memory and processor time of Onlooker itself, under the names that Prometheus clients share.
#[must_use]
pub fn process_gauges() -> Vec<Gauge> {
    let memory = Gauge::new("process_resident_memory_bytes", "Resident memory of Onlooker.", || {
        let stat = Process::myself().and_then(|process| process.stat()).ok()?;
        Some(stat.rss_bytes().get() as f64)
    });
    let processor = Gauge::new("process_cpu_seconds_total", "Processor time of Onlooker, user and system.", || {
        let stat = Process::myself().and_then(|process| process.stat()).ok()?;
        Some((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
    });
    vec![memory, Gauge { kind: "counter", ..processor }]
}
