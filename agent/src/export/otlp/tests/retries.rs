// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Collectors that are overloaded, slow, down or mad.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, Response, header};
use http_body_util::Full;
use prost::Message as _;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tonic::{Code, Status as GrpcStatus};

use super::{
    collector::{Collector, Reply},
    *,
};
use crate::export::otlp::MAX_QUEUE_BYTES;

fn http(status: u16, extra: &[(HeaderName, String)], body: impl Into<Bytes>) -> Reply {
    let mut response = Response::builder().status(status);
    for (name, value) in extra {
        response = response.header(name, value);
    }
    Reply::Http(response.body(Full::new(body.into())).unwrap())
}

/// Offers one span to a collector that says no once; how long until it is sent again.
async fn wait_after(protocol: OtlpProtocol, reply: Reply) -> f64 {
    let mut collector = Collector::start(protocol, [reply]).await;
    let rig = Rig::start(&otlp(protocol, collector.url("http")), &ONE_BY_ONE);
    rig.offer([1]);
    let first = collector.next().await;
    let start = Instant::now();
    assert_eq!(collector.next().await.request, first.request);
    let waited = start.elapsed().as_secs_f64();
    assert_eq!(rig.shut_down(Duration::from_secs(1)).await, fate(1, &[]));
    waited
}

#[tokio::test(start_paused = true)]
async fn http_statuses_that_pass_are_tried_again_when_the_collector_says() {
    for status in [429, 502, 503, 504] {
        let waited = wait_after(OtlpProtocol::HttpProtobuf, http(status, &[], "")).await;
        assert!((0.25..0.6).contains(&waited), "{status}: {waited}");
    }
    let seconds = http(503, &[(header::RETRY_AFTER, "7".to_owned())], "");
    assert!((7.0..7.1).contains(&wait_after(OtlpProtocol::HttpProtobuf, seconds).await));
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(20));
    let date = http(429, &[(header::RETRY_AFTER, date)], "");
    // Dates have whole seconds, and the wall clock goes on.
    assert!((15.0..=20.1).contains(&wait_after(OtlpProtocol::HttpProtobuf, date).await));
}

/// `google.rpc.Status` with a `RetryInfo`, as servers send it in `grpc-status-details-bin`.
fn details(seconds: i64) -> Bytes {
    #[derive(prost::Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    #[derive(prost::Message)]
    struct Details {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    let other = Any { type_url: "type.googleapis.com/google.rpc.DebugInfo".to_owned(), value: vec![1, 2, 3] };
    let value = prost_duration(seconds);
    let retry = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value };
    Details { code: 8, details: vec![other, retry] }.encode_to_vec().into()
}

fn prost_duration(seconds: i64) -> Vec<u8> {
    #[derive(prost::Message)]
    struct Duration {
        #[prost(int64, tag = "1")]
        seconds: i64,
    }
    #[derive(prost::Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        retry_delay: Option<Duration>,
    }
    RetryInfo { retry_delay: Some(Duration { seconds }) }.encode_to_vec()
}

#[tokio::test(start_paused = true)]
async fn grpc_codes_that_pass_are_tried_again_when_the_collector_says() {
    use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, ResourceExhausted, Unavailable};
    for code in [Cancelled, DeadlineExceeded, Aborted, OutOfRange, Unavailable, DataLoss] {
        let waited = wait_after(OtlpProtocol::Grpc, Reply::Grpc(GrpcStatus::new(code, "later"))).await;
        assert!((0.25..0.6).contains(&waited), "{code:?}: {waited}");
    }
    for code in [ResourceExhausted, Unavailable] {
        let status = GrpcStatus::with_details(code, "busy", details(12));
        let waited = wait_after(OtlpProtocol::Grpc, Reply::Grpc(status)).await;
        assert!((12.0..12.1).contains(&waited), "{code:?}: {waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_collector_is_tried_again_on_another_connection() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf] {
        let mut collector = Collector::start(protocol, [Reply::Hang]).await;
        let config = OtlpConfig { timeout: Duration::from_secs(3), ..otlp(protocol, collector.url("http")) };
        let rig = Rig::start(&config, &ONE_BY_ONE);
        rig.offer([1]);
        collector.next().await;
        let start = Instant::now();
        collector.next().await;
        assert!((3.25..3.6).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
        assert_eq!(rig.shut_down(Duration::from_secs(1)).await, fate(1, &[]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_never_recovers_costs_its_batches_and_no_more() {
    let replies = (0..1_000).map(|_| Reply::Grpc(GrpcStatus::unavailable("down")));
    let collector = Collector::start(OtlpProtocol::Grpc, replies).await;
    let rig = Rig::start(&otlp(OtlpProtocol::Grpc, collector.url("http")), &ONE_BY_ONE);
    rig.offer([1, 2]);
    let start = Instant::now();
    while rig.settled().dropped.get("gave_up") != Some(&2) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let attempts = collector.waiting();
    // Two times 30 s and one wait, at up to 10 s between attempts once the waits have grown.
    assert!((60.0..95.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    assert!((8..30).contains(&attempts), "{attempts} attempts");
    assert_eq!(rig.shut_down(Duration::from_secs(1)).await, fate(0, &[("gave_up", 2)]));
}

#[tokio::test(start_paused = true)]
async fn while_the_collector_is_down_the_queue_is_bounded_and_delivery_resumes_by_itself() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf] {
        let address = Collector::start(protocol, []).await.stop().await;
        let batch = BatchConfig { max_export_batch_size: 10, ..IN_ONE };
        let rig = Rig::start(&otlp(protocol, format!("http://{address}/v1/traces")), &batch);
        // A minute of traffic.
        for second in 0..60 {
            rig.offer(second * 20..second * 20 + 20);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let down = rig.settled();
        assert_eq!(down.exported, 0);
        assert!(down.dropped["queue_full"] + down.dropped["gave_up"] >= 1_200 - 110, "{down:?}");

        let listener = TcpListener::bind(address).await.unwrap();
        let mut collector = Collector::serve(listener, protocol, [], None);
        let start = Instant::now();
        collector.next().await;
        assert!(start.elapsed() <= Duration::from_secs(10), "{:?}", start.elapsed());
        let settled = rig.shut_down(Duration::from_secs(5)).await;
        assert!(settled.exported >= 100, "{settled:?}");
        assert_eq!(settled.exported + settled.dropped.values().sum::<u64>(), 1_200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_under_a_request_costs_nothing() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf] {
        let mut collector = Collector::start(protocol, [Reply::Take, Reply::Hang]).await;
        let rig = Rig::start(&otlp(protocol, collector.url("http")), &ONE_BY_ONE);
        rig.offer([1, 2, 3]);
        collector.next().await;
        collector.next().await;
        let address = collector.stop().await;
        let mut again = Collector::serve(TcpListener::bind(address).await.unwrap(), protocol, [], None);
        again.next().await;
        again.next().await;
        assert_eq!(rig.shut_down(Duration::from_secs(1)).await, fate(3, &[]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http_is_tried_again_and_given_up() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let garbage = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(&[0xff; 4096]).await;
            }
        });
        let rig = Rig::start(&otlp(protocol, url), &ONE_BY_ONE);
        rig.offer([1]);
        while rig.settled().dropped.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(rig.shut_down(Duration::from_secs(1)).await, fate(0, &[("gave_up", 1)]));
        garbage.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_wait_are_bounded_as_well() {
    let address = Collector::start(OtlpProtocol::Grpc, []).await.stop().await;
    let batch = BatchConfig { max_queue_size: usize::MAX, max_export_batch_size: usize::MAX, ..ONE_BY_ONE };
    let rig = Rig::start(&otlp(OtlpProtocol::Grpc, format!("http://{address}")), &batch);
    let path: Cow<'static, str> = "x".repeat(60_000).into();
    let large = Span { attributes: vec![Attribute { key: "url.path", value: Value::Text(path) }], ..span(1) };
    let large = released_for_tests(large, resource(1));
    for _ in 0..1_000 {
        rig.exporter.offer(large.leaving());
    }
    let fit = (MAX_QUEUE_BYTES / 60_000) as u64;
    let full = rig.settled().dropped["queue_full"];
    assert!((999 - fit..=1_000 - fit).contains(&full), "{full}");
    let settled = rig.shut_down(Duration::ZERO).await;
    assert_eq!(settled, fate(0, &[("queue_full", full), ("shutdown", 1_000 - full)]));
}
