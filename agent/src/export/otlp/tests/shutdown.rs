// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The end: what waits is sent, within the time given, and the rest has a number.

use super::{
    collector::{Collector, Reply},
    *,
};

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_sent_without_waiting_for_the_delay() {
    let mut collector = Collector::start(OtlpProtocol::Grpc, []).await;
    let batch = BatchConfig { max_export_batch_size: 10, ..IN_ONE };
    let rig = Rig::start(&otlp(OtlpProtocol::Grpc, collector.url("http")), &batch);
    rig.offer(0..35);
    let start = Instant::now();
    assert_eq!(rig.shut_down(Duration::from_secs(10)).await, fate(35, &[]));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(collector.next().await.spans(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_costs_the_time_given_and_no_more() {
    let mut collector = Collector::start(OtlpProtocol::HttpProtobuf, [Reply::Take, Reply::Hang]).await;
    let batch = BatchConfig { max_export_batch_size: 10, ..IN_ONE };
    let rig = Rig::start(&otlp(OtlpProtocol::HttpProtobuf, collector.url("http")), &batch);
    rig.offer(0..35);
    collector.next().await;
    collector.next().await;
    let start = Instant::now();
    let settled = rig.shut_down(Duration::from_secs(2)).await;
    assert_eq!(settled, fate(10, &[("shutdown", 25)]));
    assert!((2.0..2.1).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_outlasts_the_time_given_is_not_begun() {
    let response = http::Response::builder().status(503).header("retry-after", "50");
    let reply = Reply::Http(response.body(http_body_util::Full::default()).unwrap());
    let mut collector = Collector::start(OtlpProtocol::HttpProtobuf, [reply]).await;
    let rig = Rig::start(&otlp(OtlpProtocol::HttpProtobuf, collector.url("http")), &ONE_BY_ONE);
    rig.offer(0..3);
    collector.next().await;
    let start = Instant::now();
    assert_eq!(rig.shut_down(Duration::from_secs(10)).await, fate(0, &[("shutdown", 3)]));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn spans_offered_after_the_end_are_counted() {
    let collector = Collector::start(OtlpProtocol::Grpc, []).await;
    let rig = Rig::start(&otlp(OtlpProtocol::Grpc, collector.url("http")), &IN_ONE);
    let (late, ledger) = (rig.exporter.clone(), Arc::clone(&rig.ledger));
    assert_eq!(rig.shut_down(Duration::from_secs(1)).await, fate(0, &[]));
    late.offer(released(1).leaving());
    assert_eq!(settled(&ledger), fate(0, &[("shutdown", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_is_torn_down_counts_what_it_held() {
    let mut collector = Collector::start(OtlpProtocol::Grpc, [Reply::Hang]).await;
    let batch = BatchConfig { max_export_batch_size: 10, ..IN_ONE };
    let rig = Rig::start(&otlp(OtlpProtocol::Grpc, collector.url("http")), &batch);
    rig.offer(0..35);
    collector.next().await;
    rig.sender.abort();
    assert!(rig.sender.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(settled(&rig.ledger), fate(0, &[("shutdown", 35)]));
}
