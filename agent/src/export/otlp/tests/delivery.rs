// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What arrives when all is well: when, in how many requests, with which headers.

use http::Version;

use super::{
    collector::{Collector, Reply},
    *,
};

const BOTH: [OtlpProtocol; 2] = [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf];

#[tokio::test(start_paused = true)]
async fn one_request_carries_many_services() {
    for protocol in BOTH {
        for gzip in [false, true] {
            let mut collector = Collector::start(protocol, []).await;
            let config = OtlpConfig { gzip, ..otlp(protocol, collector.url("http")) };
            let rig = Rig::start(&config, &IN_ONE);
            for number in 0..30 {
                rig.exporter.offer(released_for_tests(span(number), resource(number % 3)).leaving());
            }
            let received = collector.next().await;
            assert_eq!((received.request.resource_spans.len(), received.spans()), (3, 30));
            let (encoding, version, path) = match protocol {
                OtlpProtocol::Grpc => {
                    ("grpc-encoding", Version::HTTP_2, "/opentelemetry.proto.collector.trace.v1.TraceService/Export")
                }
                OtlpProtocol::HttpProtobuf => ("content-encoding", Version::HTTP_11, "/v1/traces"),
            };
            assert_eq!((received.version, received.path.as_str()), (version, path));
            assert_eq!(received.headers.get(encoding).is_some_and(|value| value == "gzip"), gzip);
            assert_eq!(rig.shut_down(Duration::from_secs(1)).await, fate(30, &[]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn headers_of_the_user_are_sent_and_cannot_break_the_protocol() {
    for protocol in BOTH {
        let mut collector = Collector::start(protocol, []).await;
        let mut config = otlp(protocol, collector.url("http"));
        config.headers = vec![
            ("Authorization".to_owned(), "Bearer of news".to_owned()),
            ("content-type".to_owned(), "text/plain".to_owned()),
        ];
        let rig = Rig::start(&config, &ONE_BY_ONE);
        rig.offer([1]);
        let headers = collector.next().await.headers;
        assert_eq!(headers["authorization"], "Bearer of news");
        assert_ne!(headers["content-type"], "text/plain");
        assert_eq!(headers["user-agent"], concat!("onlooker/", env!("CARGO_PKG_VERSION")));
        assert_eq!(rig.shut_down(Duration::from_secs(1)).await, fate(1, &[]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_leaves_at_once_and_another_after_the_delay() {
    let mut collector = Collector::start(OtlpProtocol::HttpProtobuf, []).await;
    let batch = BatchConfig { max_export_batch_size: 10, ..IN_ONE };
    let rig = Rig::start(&otlp(OtlpProtocol::HttpProtobuf, collector.url("http")), &batch);
    let start = Instant::now();
    rig.offer(0..13);
    assert_eq!(collector.next().await.spans(), 10);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(collector.next().await.spans(), 3);
    assert!((5.0..5.1).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    assert_eq!(rig.shut_down(Duration::from_secs(1)).await, fate(13, &[]));
}

#[tokio::test(start_paused = true)]
async fn spans_the_collector_rejects_are_not_counted_as_exported() {
    for protocol in BOTH {
        // It cannot reject more than it got, and not fewer than none.
        let replies = [(4, "four are too old"), (0, "only a warning"), (1_000, "nonsense"), (-3, "nonsense")];
        let replies = replies.map(|(rejected, message)| Reply::TakeBut { rejected, message });
        let mut collector = Collector::start(protocol, replies).await;
        let batch = BatchConfig { max_export_batch_size: 10, ..IN_ONE };
        let rig = Rig::start(&otlp(protocol, collector.url("http")), &batch);
        rig.offer(0..40);
        for _ in 0..4 {
            assert_eq!(collector.next().await.spans(), 10);
        }
        let settled = rig.shut_down(Duration::from_secs(1)).await;
        assert_eq!(settled, fate(26, &[("rejected_by_collector", 14)]));
    }
}

#[tokio::test]
async fn every_span_of_a_busy_pipeline_has_a_number() {
    const SPANS: u64 = 50_000;
    for protocol in BOTH {
        // Some requests lose spans for good, so that every kind of count is at work.
        let replies = (0..40).map(|_| Reply::TakeBut { rejected: 3, message: "too old" });
        let mut collector = Collector::start(protocol, replies).await;
        let batch = BatchConfig { max_queue_size: 200, max_export_batch_size: 50, ..IN_ONE };
        let rig = Rig::start(&otlp(protocol, collector.url("http")), &batch);
        let exporter = rig.exporter.clone();
        let pipeline = tokio::task::spawn_blocking(move || {
            for number in 0..SPANS {
                exporter.offer(released(number).leaving());
            }
        });
        pipeline.await.expect("offering does not panic");
        let settled = rig.shut_down(Duration::from_secs(60)).await;
        let mut arrived = 0;
        while collector.waiting() > 0 {
            arrived += collector.next().await.spans() as u64;
        }
        let dropped = |reason| settled.dropped.get(reason).copied().unwrap_or(0);
        assert_eq!(settled.exported + dropped("rejected_by_collector"), arrived);
        assert_eq!(arrived + dropped("queue_full"), SPANS, "{settled:?}");
        assert!(dropped("rejected_by_collector") > 0, "{settled:?}");
    }
}
