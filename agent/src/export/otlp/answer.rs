// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A collector's answer in, what it means for the batch out: taken, worth another try, or refused for good.
//!
//! The rules are those of the OTLP specification 1.x, "Failures" and "Partial Success", and of gRPC over HTTP/2 for answers
//! that came from something that does not speak gRPC. An answer is a stranger's bytes: it is bounded before it comes here.

use std::time::{Duration, SystemTime};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use prost::Message;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The collector has the batch, but for the spans it rejected.
    Delivered { rejected: u64, remark: Option<Cause> },
    /// Not now. `told` is how long the collector wants to be left alone.
    Retry { cause: Cause, told: Option<Duration> },
    /// Never: sending the same again would fail again.
    Refused(Cause),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// One of a fixed set: a label of the ledger, and what decides whether a warning is a new one.
    pub label: &'static str,
    /// For a person; bounded.
    pub detail: String,
}

impl Cause {
    #[must_use]
    pub fn new(label: &'static str, detail: &str) -> Self {
        /// Enough for a sentence. Larger: a hostile collector fills the log; smaller: the reason is cut off.
        const MAX_CHARACTERS: usize = 240;
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        Self { label, detail: detail.chars().take(MAX_CHARACTERS).map(printable).collect() }
    }
}

const UNREADABLE: &str = "unreadable_answer";

/// An answer over http/protobuf.
#[must_use]
pub fn from_http(status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>, now: SystemTime) -> Outcome {
    if status.is_success() {
        // The status line has said that the batch was taken; a body that makes no sense does not undo that.
        let readable = headers.get(header::CONTENT_TYPE).is_none_or(is_protobuf);
        return body.filter(|_| readable).and_then(delivered).unwrap_or_else(|| Outcome::Delivered {
            rejected: 0,
            remark: Some(Cause::new(UNREADABLE, &format!("{status} with a body that is not OTLP"))),
        });
    }
    let said = body.and_then(|body| RpcStatus::decode(body).ok()).map(|status| status.message).unwrap_or_default();
    let cause = Cause::new(http_label(status), &format!("HTTP status {status} {said}"));
    match status.as_u16() {
        429 | 502 | 503 | 504 => Outcome::Retry { cause, told: retry_after(headers, now) },
        _ => Outcome::Refused(cause),
    }
}

fn is_protobuf(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"application/x-protobuf")
}

/// Statuses that mean something to a person who runs a collector by themselves, the others by class.
fn http_label(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "http_400",
        401 => "http_401",
        403 => "http_403",
        404 => "http_404",
        413 => "http_413",
        429 => "http_429",
        502 => "http_502",
        503 => "http_503",
        504 => "http_504",
        _ if status.is_redirection() => "http_3xx",
        _ if status.is_client_error() => "http_4xx",
        _ if status.is_server_error() => "http_5xx",
        _ => "http_other",
    }
}

/// Seconds or a date (RFC 9110, 10.2.3); a date in the past asks for nothing.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    }
}

/// The end of a gRPC call. `status` is where `grpc-status` stands: the trailers, or the headers of an answer without body.
#[must_use]
pub fn from_grpc(http: StatusCode, status: &HeaderMap, body: Option<&[u8]>) -> Outcome {
    let Some(code) = status.get("grpc-status") else {
        return without_grpc_status(http);
    };
    let Some(code) = code.to_str().ok().and_then(|text| text.parse::<u32>().ok()) else {
        return Outcome::Refused(Cause::new(UNREADABLE, "a grpc-status that is no number"));
    };
    if code == OK {
        return body.and_then(grpc_message).and_then(delivered).unwrap_or_else(|| Outcome::Delivered {
            rejected: 0,
            remark: Some(Cause::new(UNREADABLE, "gRPC status OK with a body that is not OTLP")),
        });
    }
    let said = status.get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default();
    let label = grpc_label(code);
    let cause = Cause::new(label, &format!("gRPC status {} {said}", label.trim_start_matches("grpc_")));
    let told = retry_info(status);
    match code {
        CANCELLED | DEADLINE_EXCEEDED | ABORTED | OUT_OF_RANGE | UNAVAILABLE | DATA_LOSS => {
            Outcome::Retry { cause, told }
        }
        // Without RetryInfo the collector says that this will not pass by waiting.
        RESOURCE_EXHAUSTED if told.is_some() => Outcome::Retry { cause, told },
        _ => Outcome::Refused(cause),
    }
}

/// Something on the way answered, not the collector: gRPC's own table for that ("HTTP to gRPC Status Code Mapping").
fn without_grpc_status(http: StatusCode) -> Outcome {
    let cause = Cause::new(http_label(http), &format!("HTTP status {http} without a gRPC status"));
    match http.as_u16() {
        429 | 502 | 503 | 504 => Outcome::Retry { cause, told: None },
        200 => Outcome::Refused(Cause::new(UNREADABLE, &cause.detail)),
        _ => Outcome::Refused(cause),
    }
}

/// One gRPC message, not compressed: nothing else was allowed to be sent.
fn grpc_message(body: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = body.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    (prefix[0] == 0 && length == message.len()).then_some(message)
}

fn delivered(message: &[u8]) -> Option<Outcome> {
    let partial = ExportResponse::decode(message).ok()?.partial_success.unwrap_or_default();
    let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
    let remark = (rejected > 0 || !partial.error_message.is_empty()).then(|| {
        let what = if rejected > 0 { format!("{rejected} spans rejected") } else { "a warning".to_owned() };
        Cause::new("partial_success", &format!("{what}: {}", partial.error_message))
    });
    Some(Outcome::Delivered { rejected, remark })
}

/// `google.rpc.RetryInfo` in `grpc-status-details-bin`.
fn retry_info(status: &HeaderMap) -> Option<Duration> {
    /// Senders may pad or not (gRPC over HTTP/2, "Custom-Metadata").
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let bytes = BASE64.decode(status.get("grpc-status-details-bin")?.as_bytes()).ok()?;
    let details = RpcStatus::decode(bytes.as_slice()).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?.min(999_999_999)))
}

const OK: u32 = 0;
const CANCELLED: u32 = 1;
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const ABORTED: u32 = 10;
const OUT_OF_RANGE: u32 = 11;
const UNAVAILABLE: u32 = 14;
const DATA_LOSS: u32 = 15;

fn grpc_label(code: u32) -> &'static str {
    const LABELS: [&str; 17] = [
        "grpc_ok",
        "grpc_cancelled",
        "grpc_unknown",
        "grpc_invalid_argument",
        "grpc_deadline_exceeded",
        "grpc_not_found",
        "grpc_already_exists",
        "grpc_permission_denied",
        "grpc_resource_exhausted",
        "grpc_failed_precondition",
        "grpc_aborted",
        "grpc_out_of_range",
        "grpc_unimplemented",
        "grpc_internal",
        "grpc_unavailable",
        "grpc_data_loss",
        "grpc_unauthenticated",
    ];
    LABELS.get(code as usize).copied().unwrap_or("grpc_other")
}

// The few messages that are read. Unknown fields are skipped, so that only what is used is declared.

/// `ExportTraceServiceResponse`
#[derive(Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess`
#[derive(Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`
#[derive(Message)]
struct RpcStatus {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`
#[derive(Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    }

    fn told(outcome: &Outcome) -> Option<Duration> {
        match outcome {
            Outcome::Retry { told, .. } => *told,
            other => panic!("{other:?} is no retry"),
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_or_nothing() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:30 GMT").unwrap();
        for (value, expected) in [
            ("120", Some(120)),
            (" 5 ", Some(5)),
            ("18446744073709551615", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:29 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let outcome = from_http(StatusCode::TOO_MANY_REQUESTS, &headers(&[("retry-after", value)]), None, now);
            assert_eq!(told(&outcome), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn retry_info_is_read_with_and_without_padding() {
        let info = RetryInfo { retry_delay: Some(ProtoDuration { seconds: 3, nanos: 500_000_000 }) };
        let any = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
        let bytes = RpcStatus { message: "busy".to_owned(), details: vec![any] }.encode_to_vec();
        let padded = base64::engine::general_purpose::STANDARD.encode(&bytes);
        assert!(padded.ends_with('='), "this test needs padding");
        for text in [padded.as_str(), padded.trim_end_matches('=')] {
            let status = headers(&[("grpc-status", "8"), ("grpc-status-details-bin", text)]);
            assert_eq!(told(&from_grpc(StatusCode::OK, &status, None)), Some(Duration::from_millis(3_500)));
        }
    }

    #[test]
    fn what_stands_before_a_grpc_collector_answers_in_http() {
        for (status, label, retried) in [
            (503, "http_503", true),
            (429, "http_429", true),
            (401, "http_401", false),
            (404, "http_404", false),
            (200, "unreadable_answer", false),
        ] {
            let outcome = from_grpc(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), None);
            let (Outcome::Retry { cause, .. } | Outcome::Refused(cause)) = &outcome else { panic!("{outcome:?}") };
            assert_eq!((cause.label, matches!(outcome, Outcome::Retry { .. })), (label, retried));
        }
    }

    #[test]
    fn details_are_bounded_and_printable() {
        let cause = Cause::new("x", &"\u{1b}[2J\n".repeat(1_000));
        assert_eq!(cause.detail.chars().count(), 240);
        assert!(!cause.detail.contains(char::is_control));
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(
            status in 100_u16..1000,
            code in "[0-9]{1,3}|.{0,4}",
            details in "[A-Za-z0-9+/=]{0,60}",
            body in vec(any::<u8>(), 0..200),
        ) {
            let status = StatusCode::from_u16(status).unwrap();
            let mut fields = HeaderMap::new();
            for (name, text) in [("grpc-status", &code), ("grpc-status-details-bin", &details), ("retry-after", &code)] {
                if let Ok(value) = text.parse::<HeaderValue>() {
                    fields.insert(name, value);
                }
            }
            let taken = |outcome| matches!(outcome, Outcome::Delivered { .. });
            prop_assert_eq!(taken(from_http(status, &fields, Some(&body), SystemTime::UNIX_EPOCH)), status.is_success());
            prop_assert_eq!(taken(from_grpc(status, &fields, Some(&body))), code.parse() == Ok(0_u32));
        }
    }
}
