// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The end of a task in two steps: it is asked to finish, and later its time is over. All waits may be cancelled.

use std::future::Future;

use tokio::{
    select,
    time::{Instant, sleep_until},
};

pub struct Stop<F> {
    signal: F,
    /// Known once the signal has come.
    deadline: Option<Instant>,
}

impl<F: Future<Output = Instant> + Unpin> Stop<F> {
    pub const fn new(signal: F) -> Self {
        Self { signal, deadline: None }
    }

    #[must_use]
    pub const fn is_requested(&self) -> bool {
        self.deadline.is_some()
    }

    /// Waits for the signal; gives the deadline.
    pub async fn requested(&mut self) -> Instant {
        match self.deadline {
            Some(deadline) => deadline,
            None => *self.deadline.insert((&mut self.signal).await),
        }
    }

    /// Waits for the deadline.
    pub async fn over(&mut self) {
        let deadline = self.requested().await;
        sleep_until(deadline).await;
    }

    /// Waits until then; false as soon as it is known that the deadline comes first.
    pub async fn sleep_until(&mut self, until: Instant) -> bool {
        if !self.is_requested() {
            select! {
                () = sleep_until(until) => return true,
                _ = self.requested() => {}
            }
        }
        let in_time = until < self.requested().await;
        if in_time {
            sleep_until(until).await;
        }
        in_time
    }
}
