// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When the collector may be asked again. It belongs to the collector, not to a batch: the next batch waits as well.

use tokio::time::{Duration, Instant};

/// Before the second attempt. Larger: a restart of the collector delays spans; smaller: it is hit while it starts.
const INITIAL: Duration = Duration::from_millis(500);
/// Larger: delivery resumes late; smaller: every agent of a cluster knocks often while the collector is down.
const MAX: Duration = Duration::from_secs(10);
/// Of what a collector may ask for. Larger: a wrong header silences the agent; smaller: an overloaded collector is not
/// left alone.
const MAX_TOLD: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    /// Failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when to wait; `None`: now.
    #[must_use]
    pub const fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    pub fn handle_success(&mut self) {
        *self = Self::default();
    }

    /// `random` lies in 0..1: agents that lost the collector together must not come back together.
    pub fn handle_failure(&mut self, now: Instant, told: Option<Duration>, random: f64) {
        let doubled = INITIAL.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(MAX);
        let delay = match told {
            Some(told) if !told.is_zero() => told.min(MAX_TOLD),
            _ => doubled.mul_f64(0.5 + random / 2.0),
        };
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_start_again_after_a_success() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let mut waits = || {
            backoff.handle_failure(now, None, 1.0);
            (backoff.not_before().expect("it failed") - now).as_secs_f64()
        };
        assert_eq!([waits(), waits(), waits(), waits(), waits(), waits()], [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]);
        for _ in 0..100 {
            assert_eq!(waits(), 10.0);
        }
        backoff.handle_success();
        assert_eq!(backoff.not_before(), None);
        backoff.handle_failure(now, None, 0.0);
        assert_eq!(backoff.not_before(), Some(now + INITIAL / 2));
    }

    #[test]
    fn what_the_collector_asks_for_is_done_within_reason() {
        let now = Instant::now();
        let wait = |told| {
            let mut backoff = Backoff::default();
            backoff.handle_failure(now, Some(told), 1.0);
            backoff.not_before().expect("it failed") - now
        };
        assert_eq!(wait(Duration::from_secs(7)), Duration::from_secs(7));
        assert_eq!(wait(Duration::from_secs(86_400)), MAX_TOLD);
        assert_eq!(wait(Duration::ZERO), INITIAL);
    }
}
