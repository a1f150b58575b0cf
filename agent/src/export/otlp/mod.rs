// SPDX-License-Identifier: Apache-2.0 OR MIT
//! OTLP: released spans in, requests to a collector out, over gRPC or http/protobuf; why so: `docs/adr/0003-otlp-export.md`.
//!
//! [`OtlpExporter`] belongs to the pipeline's thread: it encodes a span once and puts it into a bounded queue. [`OtlpSender`]
//! is a task: it sends what waits, one request for all services. Neither redacts nor samples: [`Released`] says that
//! this is done.

mod answer;
mod backoff;
mod batch;
mod body;
mod counts;
mod encode;
mod error;
mod health;
mod queue;
mod sender;
mod stop;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod wire;

use std::sync::Arc;

#[doc(hidden)] // For `benches/otlp_encode.rs`: a batch is bytes, and only the sender sends.
pub use self::batch::Batch;
use self::{
    counts::Counts,
    queue::{Offer, Queue},
    transport::Transport,
};
pub use self::{
    error::OtlpError,
    queue::{MAX_BATCH_BYTES, MAX_QUEUE_BYTES},
    sender::OtlpSender,
};
use crate::{
    config::{BatchConfig, OtlpConfig},
    ledger::Ledger,
    policy::Released,
};

/// Takes spans for the collector; cheap, never waits for the network.
#[derive(Clone, Debug)]
pub struct OtlpExporter {
    queue: Arc<Queue>,
    counts: Counts,
}

/// Makes both ends of the queue. Files and addresses are checked here; nothing is connected yet.
pub fn exporter(
    config: &OtlpConfig,
    batch: &BatchConfig,
    ledger: &Arc<Ledger>,
) -> Result<(OtlpExporter, OtlpSender), OtlpError> {
    let exporter = OtlpExporter { queue: Arc::new(Queue::new(batch)), counts: Counts::new(ledger) };
    let sender = OtlpSender {
        queue: Arc::clone(&exporter.queue),
        counts: exporter.counts.clone(),
        transport: Transport::new(config)?,
        schedule_delay: batch.schedule_delay,
        export_timeout: batch.export_timeout,
        backoff: backoff::Backoff::default(),
        health: health::Health::default(),
    };
    Ok((exporter, sender))
}

impl OtlpExporter {
    /// Encodes the span and queues it, or counts it as dropped.
    pub fn offer(&self, span: Released<'_>) {
        match self.queue.offer(span.span(), span.resource()) {
            Offer::Taken => {}
            Offer::Full => self.counts.dropped_queue_full(),
            Offer::Closed => self.counts.dropped_shutdown(1),
        }
    }
}
