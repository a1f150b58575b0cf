// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a person is told about the collector: outcomes in, the sentences worth a line in the log out.
//!
//! One line when delivery fails, one per further cause while it does, one when it works again; never one per batch.

use http::Uri;
use tokio::time::Instant;

use super::answer::Cause;

#[derive(Debug, Default)]
pub struct Health {
    trouble: Option<Trouble>,
    /// Labels of remarks already told.
    remarked: Vec<&'static str>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    dropped_before: u64,
    /// Labels of the causes already told.
    told: Vec<&'static str>,
}

impl Health {
    /// A request was not taken. `dropped` is the exporter's total so far.
    pub fn handle_failure(&mut self, to: &Uri, cause: &Cause, now: Instant, dropped: u64) -> Option<String> {
        let trouble =
            self.trouble.get_or_insert_with(|| Trouble { since: now, dropped_before: dropped, told: Vec::new() });
        is_new(&mut trouble.told, cause.label).then(|| format!("OTLP: {to} does not take spans: {}", cause.detail))
    }

    /// A request was taken. `dropped` is asked for only where it is told.
    pub fn handle_success(&mut self, to: &Uri, now: Instant, dropped: impl FnOnce() -> u64) -> Option<String> {
        let trouble = self.trouble.take()?;
        let lost = dropped() - trouble.dropped_before;
        let seconds = (now - trouble.since).as_secs_f64();
        Some(format!("OTLP: {to} takes spans again after {seconds:.1} s; {lost} were dropped meanwhile"))
    }

    /// Spans were taken with a remark, such as that some were rejected; the ledger counts the rest.
    pub fn handle_remark(&mut self, to: &Uri, cause: &Cause) -> Option<String> {
        is_new(&mut self.remarked, cause.label).then(|| format!("OTLP: {to} answered with {}", cause.detail))
    }
}

/// Labels are one of a fixed set, so that the list stays short.
fn is_new(told: &mut Vec<&'static str>, label: &'static str) -> bool {
    let new = !told.contains(&label);
    if new {
        told.push(label);
    }
    new
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_line_per_cause_and_change_of_state() {
        let to = Uri::from_static("http://collector:4318/v1/traces");
        let (refused, slow) = (Cause::new("connection", "refused"), Cause::new("timeout", "no answer"));
        let start = Instant::now();
        let mut health = Health::default();
        assert_eq!(health.handle_success(&to, start, || 0), None);
        assert!(health.handle_failure(&to, &refused, start, 10).is_some_and(|line| line.contains("refused")));
        assert_eq!(health.handle_failure(&to, &refused, start, 11), None);
        assert!(health.handle_failure(&to, &slow, start, 12).is_some());
        let line = health.handle_success(&to, start + Duration::from_secs(3), || 52).expect("it is up again");
        assert!(line.contains("after 3.0 s; 42 were dropped"), "{line}");
        assert_eq!(health.handle_success(&to, start, || 52), None);
        assert!(health.handle_failure(&to, &refused, start, 52).is_some());
    }
}
