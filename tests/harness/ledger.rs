// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ledger as Onlooker prints it, on `/metrics` and at exit: `name{label="value"} 12`.

use std::collections::BTreeMap;

/// Counters by name and labels, exactly as printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<String, u64>);

impl Ledger {
    /// Takes the counters out of a text and leaves everything else, such as comments and log lines.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let counters = text.lines().filter_map(|line| {
            let (key, total) = line.trim().rsplit_once(' ')?;
            let total = total.parse().ok()?;
            key.starts_with("onlooker_").then(|| (key.to_owned(), total))
        });
        Self(counters.collect())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum of a family over all its labels.
    #[must_use]
    pub fn total(&self, name: &str) -> u64 {
        self.total_of(name, &[])
    }

    /// The sum of those counters of a family that have all of these labels.
    #[must_use]
    pub fn total_of(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let matches = |key: &str| {
            let (family, rest) = key.split_once('{').unwrap_or((key, ""));
            family == name && labels.iter().all(|label| rest.trim_end_matches('}').split(',').any(|has| has == label))
        };
        self.0.iter().filter(|(key, _)| matches(key)).map(|(_, total)| total).sum()
    }

    /// Spans that one exporter delivered.
    #[must_use]
    pub fn exported(&self, exporter: &str) -> u64 {
        self.total_of("onlooker_spans_exported_total", &[("exporter", exporter)])
    }

    /// Spans that were dropped before any exporter, or by this one.
    #[must_use]
    pub fn dropped(&self, exporter: &str) -> u64 {
        const DROPPED: &str = "onlooker_spans_dropped_total";
        let by_any = |key: &str| key.starts_with(DROPPED) && key.contains("exporter=\"");
        let by_exporters: u64 = self.0.iter().filter(|(key, _)| by_any(key)).map(|(_, total)| total).sum();
        self.total(DROPPED) - by_exporters + self.total_of(DROPPED, &[("exporter", exporter)])
    }

    /// Whether every span that was built was delivered by this exporter, or counted as dropped.
    #[must_use]
    pub fn is_conserved(&self, exporter: &str) -> bool {
        self.total("onlooker_spans_total") == self.exported(exporter) + self.dropped(exporter)
    }

    /// # Panics
    ///
    /// Where spans were built that this exporter neither delivered nor counted as dropped.
    #[track_caller]
    pub fn assert_conserved(&self, exporter: &str) {
        assert!(self.is_conserved(exporter), "spans = exported + dropped\n{self:#?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_both_texts() {
        let ledger = Ledger::parse(
            "# HELP onlooker_spans_total Spans built.\nonlooker_spans_total 12\n\
             [info] watching 3\nonlooker_messages_total{protocol=\"http1\",side=\"a\"} 5\n\
             onlooker_messages_total{protocol=\"http2\"} 2\n",
        );
        assert_eq!(ledger.total("onlooker_spans_total"), 12);
        assert_eq!(ledger.total("onlooker_messages_total"), 7);
        assert_eq!(ledger.total_of("onlooker_messages_total", &[("protocol", "http1")]), 5);
        assert_eq!(ledger.total("onlooker_messages"), 0);
    }

    #[test]
    fn another_exporter_s_drops_are_its_own() {
        let ledger = Ledger::parse(
            "onlooker_spans_total 10\nonlooker_spans_exported_total{exporter=\"otlp\"} 5\n\
             onlooker_spans_dropped_total{stage=\"release\",reason=\"sampled_out\"} 3\n\
             onlooker_spans_dropped_total{stage=\"export\",exporter=\"otlp\",reason=\"queue_full\"} 2\n\
             onlooker_spans_dropped_total{stage=\"export\",exporter=\"stdout\",reason=\"queue_full\"} 7\n",
        );
        assert_eq!(ledger.dropped("otlp"), 5);
        ledger.assert_conserved("otlp");
        ledger.assert_conserved("stdout");
    }

    #[test]
    #[should_panic(expected = "spans = exported + dropped")]
    fn a_lost_span_is_noticed() {
        Ledger::parse("onlooker_spans_total 2\nonlooker_spans_exported_total{exporter=\"otlp\"} 1\n")
            .assert_conserved("otlp");
    }
}
