// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The task that sends: batches from the queue in, every one of their spans counted as exported or dropped out.
//!
//! One request is in flight at a time. A batch is tried until it is taken, is refused for good, or `export_timeout` has
//! passed at a failure; so it lasts no longer than that, one wait and one request.

use std::{future::Future, pin::pin, sync::Arc};

use tokio::{
    select,
    time::{Duration, Instant, sleep_until},
};

use super::{
    answer::Outcome,
    backoff::Backoff,
    batch::Batch,
    body::Body,
    counts::{Counts, GAVE_UP, REJECTED},
    health::Health,
    queue::{Backlog, Queue},
    stop::Stop,
    transport::Transport,
};

#[derive(Debug)]
pub struct OtlpSender {
    pub(super) queue: Arc<Queue>,
    pub(super) counts: Counts,
    pub(super) transport: Transport,
    pub(super) schedule_delay: Duration,
    pub(super) export_timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) health: Health,
}

impl OtlpSender {
    /// Sends until `shutdown` resolves, then what is queued, until the instant that `shutdown` named. What is left then is
    /// counted as dropped, and so is what is offered afterwards.
    ///
    /// Needs a tokio runtime with I/O and time.
    pub async fn run(mut self, shutdown: impl Future<Output = Instant>) {
        let signal = pin!(shutdown);
        let mut stop = Stop::new(signal);
        loop {
            self.batch_due(&mut stop).await;
            if stop.is_requested() {
                self.queue.close();
            }
            match self.queue.take() {
                Some(batch) => {
                    if !self.deliver(batch, &mut stop).await {
                        return;
                    }
                }
                None if stop.is_requested() => return,
                None => {}
            }
        }
    }

    /// Waits until a batch is full, one that is not has waited for `schedule_delay`, or the end is near.
    async fn batch_due(&self, stop: &mut Stop<impl Future<Output = Instant> + Unpin>) {
        let mut due = None;
        while !stop.is_requested() {
            match self.queue.backlog() {
                Backlog::FullBatch => return,
                Backlog::Some => _ = due.get_or_insert_with(|| Instant::now() + self.schedule_delay),
                Backlog::Empty => {}
            }
            select! {
                () = self.queue.changed() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => return,
                _ = stop.requested() => {}
            }
        }
    }

    /// False: there is no time left for another.
    async fn deliver(&mut self, batch: Batch, stop: &mut Stop<impl Future<Output = Instant> + Unpin>) -> bool {
        let in_flight = InFlight { counts: self.counts.clone(), spans: batch.spans() as u64 };
        let batch = Arc::new(batch);
        let body = self.transport.body(&batch);
        let has_time = self.send(body, in_flight, stop).await;
        // A transport that still reads it keeps it.
        if let Ok(batch) = Arc::try_unwrap(batch) {
            self.queue.recycle(batch);
        }
        has_time
    }

    async fn send(
        &mut self,
        body: Body,
        in_flight: InFlight,
        stop: &mut Stop<impl Future<Output = Instant> + Unpin>,
    ) -> bool {
        let mut first_attempt = None;
        loop {
            if let Some(until) = self.backoff.not_before()
                && !stop.sleep_until(until).await
            {
                return false;
            }
            let started = *first_attempt.get_or_insert_with(Instant::now);
            let outcome = select! {
                biased;
                () = stop.over() => return false,
                outcome = self.transport.attempt(body.clone()) => outcome,
            };
            self.tell(&outcome);
            match outcome {
                Outcome::Delivered { rejected, .. } => {
                    self.backoff.handle_success();
                    in_flight.delivered(rejected);
                    return true;
                }
                Outcome::Refused(cause) => {
                    self.backoff.handle_success();
                    in_flight.dropped(cause.label);
                    return true;
                }
                Outcome::Retry { told, .. } => {
                    self.backoff.handle_failure(Instant::now(), told, fastrand::f64());
                    if started.elapsed() >= self.export_timeout {
                        in_flight.dropped(GAVE_UP);
                        return true;
                    }
                }
            }
        }
    }

    /// A single failure that the next attempt mends is not worth a line.
    fn tell(&mut self, outcome: &Outcome) {
        let (to, now) = (self.transport.uri(), Instant::now());
        match outcome {
            Outcome::Delivered { remark, .. } => {
                if let Some(line) = self.health.handle_success(to, now, || self.counts.dropped_total()) {
                    log::info!("{line}");
                }
                if let Some(line) = remark.as_ref().and_then(|cause| self.health.handle_remark(to, cause)) {
                    log::warn!("{line}");
                }
            }
            Outcome::Retry { .. } if self.backoff.failures() == 0 => {}
            Outcome::Retry { cause, .. } | Outcome::Refused(cause) => {
                if let Some(line) = self.health.handle_failure(to, cause, now, self.counts.dropped_total()) {
                    log::warn!("{line}");
                }
            }
        }
    }
}

/// However the sender ends, also when its runtime is torn down: what waits is counted.
impl Drop for OtlpSender {
    fn drop(&mut self) {
        self.queue.close();
        while let Some(batch) = self.queue.take() {
            self.counts.dropped_shutdown(batch.spans() as u64);
        }
    }
}

/// Spans that have left the queue. Dropped before their fate is known, they count as lost at shutdown.
struct InFlight {
    counts: Counts,
    spans: u64,
}

impl InFlight {
    /// A collector cannot reject more than it got, whatever it says.
    fn delivered(mut self, rejected: u64) {
        let spans = std::mem::take(&mut self.spans);
        let rejected = rejected.min(spans);
        self.counts.dropped(REJECTED, rejected);
        self.counts.exported(spans - rejected);
    }

    fn dropped(mut self, reason: &'static str) {
        self.counts.dropped(reason, std::mem::take(&mut self.spans));
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counts.dropped_shutdown(self.spans);
    }
}
