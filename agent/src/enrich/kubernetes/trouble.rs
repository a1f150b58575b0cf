// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is said of failures, and how long to wait after them.
//!
//! In: how each attempt of a watch ended. Out: one line for each kind of failure, and one when it is over: several watches
//! ask the same API server, and what is wrong with it is told once for all of them.

use std::{
    mem::{Discriminant, discriminant, take},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use log::{info, warn};

use super::client::ClusterError;
use crate::ledger::{Counter, Family, Ledger};

/// Between attempts. Larger: pods that start meanwhile wait longer for their names. Smaller: every node of a cluster asks
/// often while its API server is in trouble.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// After so many failures in a row the place where the watch ended is given up: an API server that was restored from a
/// backup has never come that far. Larger: such a cluster is without names for longer. Smaller: lists are taken again for
/// nothing.
const FAILURES_BEFORE_LIST: u32 = 5;

/// What is wrong with the API server, as it was told last.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Option<Discriminant<ClusterError>>>>);

impl Told {
    fn last(&self) -> MutexGuard<'_, Option<Discriminant<ClusterError>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of one watch.
pub struct Trouble {
    /// What it asks for.
    names: &'static str,
    failures: u32,
    /// That it may not ask has been told.
    is_forbidden: bool,
    told: Told,
    counters: [Counter; 2],
}

impl Trouble {
    pub fn new(names: &'static str, told: Told, ledger: &Ledger) -> Self {
        let counter = |reason| ledger.counter(Family::ClusterFailures, &[("reason", reason)]);
        let counters = [counter("unreachable"), counter("forbidden")];
        Self { names, failures: 0, is_forbidden: false, told, counters }
    }

    pub fn handle_success(&mut self) {
        self.failures = 0;
        if take(&mut self.is_forbidden) {
            info!("Kubernetes: {} may be watched now", self.names);
        }
        if self.told.last().take().is_some() {
            info!("Kubernetes: the API server answers again");
        }
    }

    /// That a watch broke off is told only when it cannot be taken up again.
    pub fn handle_failure(&mut self, server: &str, error: &ClusterError) {
        self.failures = self.failures.saturating_add(1);
        self.counters[usize::from(error.is_forbidden())].increment();
        if error.is_expired() || matches!(error, ClusterError::Body { .. } | ClusterError::Ended) {
            return;
        }
        let is_told = match error.is_forbidden() {
            true => std::mem::replace(&mut self.is_forbidden, true),
            false => self.told.last().replace(discriminant(error)) == Some(discriminant(error)),
        };
        if is_told {
            return;
        }
        let remedy = match error.is_forbidden() {
            true => format!("; give its service account the right to list and watch {}", self.names),
            false => String::new(),
        };
        warn!(
            "Kubernetes: the API server {server} {error}{remedy}; spans go on without what it would tell, and it is asked again"
        );
    }

    pub fn is_lasting(&self) -> bool {
        self.failures >= FAILURES_BEFORE_LIST
    }

    /// `random` lies in 0..1.
    pub fn wait(&self, random: f64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT).mul_f64(0.5 + random / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn refused(status: StatusCode) -> ClusterError {
        ClusterError::Refused { status, message: String::new() }
    }

    #[test]
    fn failures_are_told_once_each_and_waits_double() {
        let (told, ledger) = (Told::default(), Ledger::new());
        let mut pods = Trouble::new("pods", told.clone(), &ledger);
        let mut services = Trouble::new("services", told.clone(), &ledger);
        pods.handle_failure("s", &ClusterError::Ended);
        assert_eq!(*told.last(), None, "it may be taken up at once");
        assert_eq!(pods.wait(1.0), FIRST_WAIT);
        services.handle_failure("s", &refused(StatusCode::FORBIDDEN));
        assert!(services.is_forbidden && !pods.is_forbidden && told.last().is_none(), "of one kind only");
        pods.handle_failure("s", &refused(StatusCode::BAD_GATEWAY));
        let last = *told.last();
        assert!(last.is_some());
        services.handle_failure("s", &refused(StatusCode::BAD_GATEWAY));
        assert_eq!(*told.last(), last, "of both");
        assert_eq!((pods.wait(1.0), pods.wait(0.0)), (2 * FIRST_WAIT, FIRST_WAIT));
        for _ in 0..100 {
            pods.handle_failure("s", &ClusterError::Silent);
        }
        assert!(pods.is_lasting() && !services.is_lasting());
        assert_eq!(pods.wait(1.0), LONGEST_WAIT);
        assert_ne!(*told.last(), last);
        services.handle_success();
        assert!(!services.is_forbidden && told.last().is_none());
        let failures = |reason| ledger.counter(Family::ClusterFailures, &[("reason", reason)]).get();
        assert_eq!((failures("forbidden"), failures("unreachable")), (1, 103));
    }
}
