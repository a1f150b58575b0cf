// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bounded queue between the pipeline's thread and the sender: spans in one at a time, batches out.
//!
//! A full queue drops the newest span: what waits is already encoded and paid for. It neither counts nor sends.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::batch::Batch;
use crate::{config::BatchConfig, enrich::Resource, spans::Span};

/// Bytes that wait, whatever the number of spans. Larger: the agent's memory while the collector is down; smaller: spans
/// with long URLs are dropped before `max_queue_size` is reached. One span may reach over it.
pub const MAX_QUEUE_BYTES: usize = 8 << 20;

/// Bytes of one batch, resources included. Larger: collectors refuse the request (gRPC's receivers take 4 MiB unless told
/// otherwise); smaller: more requests for the same spans.
pub const MAX_BATCH_BYTES: usize = 1 << 20;

/// Batches whose memory is kept: one is filled while another is on its way. More: memory that is rarely used. Fewer: under
/// load every second batch grows from nothing.
const SPARE_BATCHES: usize = 2;

#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
    max_spans: usize,
    max_batch_spans: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Full batches, oldest first.
    full: VecDeque<Batch>,
    /// The batch that takes the next span.
    open: Batch,
    /// Spans and bytes of `full`.
    full_spans: usize,
    full_bytes: usize,
    /// Memory of batches that were sent, for the next ones.
    spare: Vec<Batch>,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Taken,
    Full,
    /// Nobody will send it.
    Closed,
}

/// What waits, as far as the sender needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    Empty,
    /// Worth sending once `schedule_delay` has passed.
    Some,
    /// Worth sending now.
    FullBatch,
}

impl Queue {
    #[must_use]
    pub fn new(config: &BatchConfig) -> Self {
        let max_spans = config.max_queue_size.max(1);
        Self {
            waiting: Mutex::default(),
            changed: Notify::new(),
            max_spans,
            max_batch_spans: config.max_export_batch_size.clamp(1, max_spans),
        }
    }

    pub fn offer(&self, span: &Span, resource: &Resource) -> Offer {
        let mut guard = self.lock();
        let waiting = &mut *guard;
        if waiting.closed {
            return Offer::Closed;
        }
        if waiting.full_spans + waiting.open.spans() >= self.max_spans
            || waiting.full_bytes + waiting.open.bytes() >= MAX_QUEUE_BYTES
        {
            return Offer::Full;
        }
        let was_empty = waiting.open.is_empty();
        waiting.open.push(span, resource);
        let is_full = waiting.open.spans() >= self.max_batch_spans || waiting.open.bytes() >= MAX_BATCH_BYTES;
        if is_full {
            waiting.shelve();
        }
        drop(guard);
        // The sender sleeps between these two; it need not hear of every span.
        if was_empty || is_full {
            self.changed.notify_one();
        }
        Offer::Taken
    }

    #[must_use]
    pub fn backlog(&self) -> Backlog {
        let waiting = self.lock();
        match (waiting.full.is_empty(), waiting.open.is_empty()) {
            (false, _) => Backlog::FullBatch,
            (true, false) => Backlog::Some,
            (true, true) => Backlog::Empty,
        }
    }

    /// The oldest batch, full or not.
    pub fn take(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        if waiting.full.is_empty() && !waiting.open.is_empty() {
            waiting.shelve();
        }
        let batch = waiting.full.pop_front()?;
        waiting.full_spans -= batch.spans();
        waiting.full_bytes -= batch.bytes();
        Some(batch)
    }

    /// Takes back a batch's memory.
    pub fn recycle(&self, mut batch: Batch) {
        batch.clear();
        let mut waiting = self.lock();
        if waiting.spare.len() < SPARE_BATCHES {
            waiting.spare.push(batch);
        }
    }

    /// From now on nothing is taken in.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Waits until a batch was begun or filled since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics between two changes that belong together but an allocation that fails, which aborts.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Puts the open batch with the full ones and opens another.
    fn shelve(&mut self) {
        let next = self.spare.pop().unwrap_or_default();
        let mut batch = std::mem::replace(&mut self.open, next);
        // Behind another one it will wait: slack would make the memory of a backlog twice what is counted.
        if !self.full.is_empty() {
            batch.shrink();
        }
        self.full_spans += batch.spans();
        self.full_bytes += batch.bytes();
        self.full.push_back(batch);
    }
}
