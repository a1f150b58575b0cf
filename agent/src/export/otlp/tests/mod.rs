// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The exporter against real servers on loopback: gRPC by tonic, HTTP by hyper, each read by opentelemetry-proto.

mod collector;
mod delivery;
mod encoding;
mod refusal;
mod retries;
mod security;
mod shutdown;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Duration, Instant},
};

use super::{OtlpExporter, exporter};
use crate::{
    config::{BatchConfig, OtlpConfig, OtlpProtocol},
    enrich::Resource,
    ledger::{Family, Ledger},
    moment::WallTime,
    policy::{ReleasedSpan, released_for_tests},
    spans::{Attribute, Kind, Sampled, Span, SpanId, Standing, Status, TraceId, Value},
};

pub(super) fn span(number: u64) -> Span {
    Span {
        trace_id: TraceId(u128::from(number).to_be_bytes()),
        span_id: SpanId(number.to_be_bytes()),
        parent: None,
        parent_is_remote: false,
        trace_state: None,
        sampled: Sampled::Yes,
        kind: Kind::Server,
        name: Cow::Borrowed("GET"),
        start: WallTime(1_700_000_000_000_000_000 + number),
        end: WallTime(1_700_000_000_000_001_000 + number),
        standing: None,
        client_port: 0,
        attributes: vec![Attribute { key: "url.path", value: Value::Text(Cow::Borrowed("/orders")) }],
        status: Status::Unset,
        tgid: 1,
    }
}

pub(super) fn resource(id: u64) -> Arc<Resource> {
    let name = Cow::Owned(format!("service-{id}"));
    Arc::new(Resource { id, attributes: vec![Attribute { key: "service.name", value: Value::Text(name) }] })
}

fn released(number: u64) -> ReleasedSpan {
    released_for_tests(span(number), resource(1))
}

fn otlp(protocol: OtlpProtocol, endpoint: String) -> OtlpConfig {
    OtlpConfig {
        traces_endpoint: endpoint,
        protocol,
        headers: Vec::new(),
        timeout: Duration::from_secs(10),
        gzip: false,
        certificate: None,
        client_certificate: None,
        client_key: None,
    }
}

/// Each span a request of its own, so that tests say how many requests there are.
const ONE_BY_ONE: BatchConfig = BatchConfig {
    schedule_delay: Duration::from_secs(5),
    export_timeout: Duration::from_secs(30),
    max_queue_size: 100,
    max_export_batch_size: 1,
};

const IN_ONE: BatchConfig = BatchConfig { max_export_batch_size: 100, ..ONE_BY_ONE };

/// A running exporter.
struct Rig {
    exporter: OtlpExporter,
    ledger: Arc<Ledger>,
    sender: JoinHandle<()>,
    shutdown: oneshot::Sender<Instant>,
}

#[derive(Debug, Default, PartialEq)]
struct Settled {
    exported: u64,
    /// Reasons that counted nothing are left out.
    dropped: BTreeMap<&'static str, u64>,
}

impl Rig {
    fn start(config: &OtlpConfig, batch: &BatchConfig) -> Self {
        let ledger = Arc::new(Ledger::new());
        let (exporter, sender) = exporter(config, batch, &ledger).expect("the configuration is good");
        let (shutdown, signal) = oneshot::channel();
        let sender = tokio::spawn(sender.run(async { signal.await.expect("every test shuts down") }));
        Self { exporter, ledger, sender, shutdown }
    }

    fn offer(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.exporter.offer(released(number).leaving());
        }
    }

    fn settled(&self) -> Settled {
        settled(&self.ledger)
    }

    async fn shut_down(self, within: Duration) -> Settled {
        self.shutdown.send(Instant::now() + within).expect("the sender still runs");
        self.sender.await.expect("the sender does not panic");
        settled(&self.ledger)
    }
}

fn settled(ledger: &Ledger) -> Settled {
    let mut settled = Settled::default();
    for (family, labels, total) in ledger.snapshot() {
        assert!(labels.contains(&("exporter", "otlp")));
        match family {
            Family::SpansExported => settled.exported += total,
            Family::SpansDropped if total > 0 => {
                let reason = labels.iter().find(|label| label.0 == "reason").expect("drops have a reason").1;
                settled.dropped.insert(reason, total);
            }
            _ => {}
        }
    }
    settled
}

/// What is expected to have become of all spans; the sum is the number offered.
fn fate(exported: u64, dropped: &[(&'static str, u64)]) -> Settled {
    Settled { exported, dropped: dropped.iter().copied().collect() }
}
