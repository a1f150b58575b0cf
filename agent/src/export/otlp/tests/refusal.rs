// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Answers that make no second attempt, and answers that make no sense.

use bytes::Bytes;
use http::{Response, header};
use http_body_util::Full;
use tonic::{Code, Status as GrpcStatus};

use super::{
    collector::{Collector, Reply},
    *,
};

/// Ten spans in one request that is answered so, and then one more that is taken.
async fn refused(protocol: OtlpProtocol, reply: Reply) -> Settled {
    let mut collector = Collector::start(protocol, [reply]).await;
    let batch = BatchConfig { max_export_batch_size: 10, ..IN_ONE };
    let rig = Rig::start(&otlp(protocol, collector.url("http")), &batch);
    rig.offer(0..11);
    assert_eq!(collector.next().await.spans(), 10);
    assert_eq!(collector.next().await.spans(), 1, "no second attempt");
    rig.shut_down(Duration::from_secs(1)).await
}

fn http(status: u16, body: impl Into<Bytes>) -> Reply {
    let response = Response::builder().status(status).header(header::LOCATION, "http://192.0.2.1/");
    Reply::Http(response.body(Full::new(body.into())).unwrap())
}

#[tokio::test(start_paused = true)]
async fn other_grpc_codes_are_final() {
    for (code, reason) in [
        (Code::Unknown, "grpc_unknown"),
        (Code::InvalidArgument, "grpc_invalid_argument"),
        (Code::NotFound, "grpc_not_found"),
        (Code::PermissionDenied, "grpc_permission_denied"),
        (Code::ResourceExhausted, "grpc_resource_exhausted"),
        (Code::Unimplemented, "grpc_unimplemented"),
        (Code::Internal, "grpc_internal"),
        (Code::Unauthenticated, "grpc_unauthenticated"),
    ] {
        let settled = refused(OtlpProtocol::Grpc, Reply::Grpc(GrpcStatus::new(code, "no"))).await;
        assert_eq!(settled, fate(1, &[(reason, 10)]));
    }
}

#[tokio::test(start_paused = true)]
async fn other_http_statuses_are_final_and_redirects_are_not_followed() {
    for (status, reason) in [
        (301, "http_3xx"),
        (308, "http_3xx"),
        (400, "http_400"),
        (401, "http_401"),
        (404, "http_404"),
        (413, "http_413"),
        (418, "http_4xx"),
        (500, "http_5xx"),
    ] {
        let settled = refused(OtlpProtocol::HttpProtobuf, http(status, "no")).await;
        assert_eq!(settled, fate(1, &[(reason, 10)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_of_success_counts_whatever_the_body_says() {
    for body in [Bytes::from_static(b"<html>"), Bytes::from(vec![0xff; 300]), Bytes::from(vec![b'{'; 10 << 20])] {
        let settled = refused(OtlpProtocol::HttpProtobuf, http(200, body)).await;
        assert_eq!(settled, fate(11, &[]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_huge_error_is_an_error() {
    let settled = refused(OtlpProtocol::HttpProtobuf, http(400, vec![0; 10 << 20])).await;
    assert_eq!(settled, fate(1, &[("http_400", 10)]));
}

#[tokio::test(start_paused = true)]
async fn a_huge_grpc_answer_is_not_read() {
    let message = "x".repeat(1 << 20).leak();
    let settled = refused(OtlpProtocol::Grpc, Reply::TakeBut { rejected: 1, message }).await;
    assert_eq!(settled, fate(1, &[("unreadable_answer", 10)]));
}
