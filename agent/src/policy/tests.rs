// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sampling and redaction, seen through the stage.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::{
    moment::WallTime,
    spans::{Attribute, Kind, Sampled, SpanId, Standing, Status, TraceId, Value},
};

fn span(trace_id: [u8; 16], sampled: Sampled, attributes: &[(&'static str, &str)]) -> Span {
    Span {
        trace_id: TraceId(trace_id),
        span_id: SpanId([1; 8]),
        parent: None,
        parent_is_remote: false,
        trace_state: None,
        sampled,
        kind: Kind::Server,
        name: Cow::Borrowed("GET"),
        start: WallTime(1),
        end: WallTime(2),
        standing: None,
        client_port: 0,
        attributes: attributes
            .iter()
            .map(|(key, text)| Attribute { key, value: Value::Text(Cow::Owned((*text).to_owned())) })
            .collect(),
        status: Status::Unset,
        tgid: 1,
    }
}

#[test]
fn what_spans_share_is_redacted_once_for_all() {
    let shared = |text: &str| {
        let attribute = Attribute { key: "url.query", value: Value::Text(Cow::Owned(text.to_owned())) };
        Arc::new(Standing::new(vec![attribute], &[]))
    };
    let leaves = |standing: &Arc<Standing>| {
        let span = Span { standing: Some(Arc::clone(standing)), ..span([1; 16], Sampled::No, &[]) };
        let released = release(SamplerConfig::AlwaysOn, span).expect("always on");
        released.span().standing.clone().expect("it was there")
    };
    let (secret, harmless) = (shared("token=x"), shared("a=x"));
    assert_eq!(*leaves(&secret), *shared("token=REDACTED"));
    assert!(Arc::ptr_eq(&leaves(&secret), &leaves(&secret)));
    assert!(Arc::ptr_eq(&leaves(&harmless), &harmless));
}

fn release(sampler: SamplerConfig, mut span: Span) -> Option<ReleasedSpan> {
    let resource = Arc::new(Resource { id: 1, attributes: Vec::new() });
    Policy::new(&sampler, &Ledger::new()).release(&mut span, &resource).map(Released::kept)
}

#[test]
fn telemetry_on_its_way_is_not_told() {
    let python = "OTel-OTLP-Exporter-Python/1.45.2";
    let leaves = |name: &'static str, attributes: &[(&'static str, &str)]| {
        let span = Span { name: Cow::Borrowed(name), ..span([1; 16], Sampled::Yes, attributes) };
        release(SamplerConfig::AlwaysOn, span).is_some()
    };
    for (agent, at) in [
        (python, ("url.full", "http://collector:4318/v1/traces")),
        ("OTel OTLP Exporter Go/1.38.0", ("url.full", "http://gateway/otlp/v1/metrics?tenant=a")),
        ("shop/2 OTel-OTLP-Exporter-JavaScript/0.220.0", ("url.path", "/v1/logs")),
        ("OpenTelemetry Collector Contrib/0.155.0 (linux/amd64)", ("url.path", "/v1/traces")),
    ] {
        assert!(!leaves("POST", &[at, ("user_agent.original", agent)]), "{agent}");
    }
    assert!(!leaves("opentelemetry.proto.collector.trace.v1.TraceService/Export", &[]));
    assert!(leaves("POST", &[("url.path", "/v1/traces"), ("user_agent.original", "curl/8")]), "anybody's own API");
    assert!(leaves("POST", &[("url.path", "/v1/traces")]));
    assert!(leaves("POST", &[("url.path", "/orders"), ("user_agent.original", python)]));
    assert!(leaves("GET", &[("url.path", "/v1/traces"), ("user_agent.original", python)]));
    assert!(leaves("shop.v1.Orders/Export", &[]));
}

fn check(key: &'static str, text: &str, expected: &str) {
    let released = release(SamplerConfig::AlwaysOn, span([1; 16], Sampled::No, &[(key, text)])).expect("always on");
    let expected = Value::Text(Cow::Owned(expected.to_owned()));
    assert_eq!(released.span().attribute(key), Some(Cow::Owned(expected)), "{text}");
}

#[test]
fn secrets_in_queries() {
    let check = |text, expected| check("url.query", text, expected);
    check("a=b&c=d", "a=b&c=d");
    check("", "");
    check("token", "token");
    check("token=", "token=");
    check("token=x", "token=REDACTED");
    check("a=1&token=x&b=2&sig=y", "a=1&token=REDACTED&b=2&sig=REDACTED");
    check("a=1;password=x;b=2", "a=1;password=REDACTED;b=2");
    check("AWSAccessKeyId=x&Signature=a%2Fb%3D", "AWSAccessKeyId=REDACTED&Signature=REDACTED");
    check("X-Goog-Signature=x", "X-Goog-Signature=REDACTED");
    check("PassWord=x=y", "PassWord=REDACTED");
    check("p%61ssword=x", "p%61ssword=REDACTED");
    check("%74%6F%6b%65%6e=x", "%74%6F%6b%65%6e=REDACTED");
    check("token%=x&%zz=1", "token%=x&%zz=1");
    check("tokens=3&my_sig=4", "tokens=3&my_sig=4");
    check("é=1&token=ü&ö=2", "é=1&token=REDACTED&ö=2");
}

#[test]
fn secrets_in_urls() {
    let check = |text, expected| check("url.full", text, expected);
    check("http://a/b?c=d", "http://a/b?c=d");
    check("http://u:p@a:80/b", "http://REDACTED:REDACTED@a:80/b");
    check("http://u@a/b", "http://REDACTED@a/b");
    check("http://u:p@q@a/b", "http://REDACTED:REDACTED@a/b");
    check("http://a/b@c:d", "http://a/b@c:d");
    check("http://a?x@y:z", "http://a?x@y:z");
    check("http://a/b?token=x#c", "http://a/b?token=REDACTED#c");
    check("http://a/#access_token=x", "http://a/#access_token=REDACTED");
    check("http://a/b;jsessionid=x/c?d", "http://a/b;jsessionid=REDACTED/c?d");
    check("http://u:p@[::1]/?api_key=k&b", "http://REDACTED:REDACTED@[::1]/?api_key=REDACTED&b");
}

#[test]
fn secrets_in_paths() {
    check("url.path", "/a;JSESSIONID=x;b=c/d", "/a;JSESSIONID=REDACTED;b=c/d");
    check("url.path", "/token=x/plain", "/token=x/plain");
}

#[test]
fn other_attributes_stay() {
    check("user_agent.original", "x?token=y", "x?token=y");
}

#[test]
fn samplers_and_flags() {
    let low = [0; 16];
    let high = [0xff; 16];
    let half = SamplerConfig::TraceIdRatio(0.5);
    let parent_half = SamplerConfig::ParentBasedTraceIdRatio(0.5);
    for (sampler, trace, sampled, expected) in [
        (SamplerConfig::AlwaysOn, low, Sampled::No, true),
        (SamplerConfig::AlwaysOff, low, Sampled::Yes, false),
        (half, low, Sampled::No, true),
        (half, high, Sampled::Yes, false),
        (SamplerConfig::TraceIdRatio(0.0), low, Sampled::Yes, false),
        (SamplerConfig::TraceIdRatio(1.0), high, Sampled::No, true),
        (SamplerConfig::ParentBasedAlwaysOn, low, Sampled::Yes, true),
        (SamplerConfig::ParentBasedAlwaysOn, low, Sampled::No, false),
        (SamplerConfig::ParentBasedAlwaysOn, low, Sampled::Undecided, true),
        (SamplerConfig::ParentBasedAlwaysOff, low, Sampled::Yes, true),
        (SamplerConfig::ParentBasedAlwaysOff, low, Sampled::Undecided, false),
        (parent_half, high, Sampled::Yes, true),
        (parent_half, low, Sampled::No, false),
        (parent_half, low, Sampled::Undecided, true),
        (parent_half, high, Sampled::Undecided, false),
    ] {
        let released = release(sampler, span(trace, sampled, &[]));
        assert_eq!(released.is_some(), expected, "{sampler:?} {sampled:?} {trace:?}");
    }
}

#[test]
fn the_ratio_reads_the_low_bytes_only() {
    let mut trace = [0xff; 16];
    trace[8..].fill(0);
    assert!(release(SamplerConfig::TraceIdRatio(0.01), span(trace, Sampled::Undecided, &[])).is_some());
}

#[test]
fn what_is_sampled_out_is_counted() {
    let ledger = Ledger::new();
    let mut policy = Policy::new(&SamplerConfig::AlwaysOff, &ledger);
    let resource = Arc::new(Resource { id: 1, attributes: Vec::new() });
    assert!(policy.release(&mut span([1; 16], Sampled::Undecided, &[]), &resource).is_none());
    assert_eq!(ledger.lines(), "onlooker_spans_dropped_total{stage=\"policy\",reason=\"sampled_out\"} 1\n");
}

proptest! {
    #[test]
    fn no_secret_leaves_whatever_stands_around_it(before in "[^@#]{0,20}", after in "[&#][^#]{0,20}") {
        let url = format!("http://user:hunter2@host/{before}?a&password=hunter2{after}");
        let released = release(SamplerConfig::AlwaysOn, span([1; 16], Sampled::Yes, &[("url.full", &url)]));
        let text = format!("{:?}", released.expect("always on").span().attributes);
        prop_assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn redaction_takes_any_text(text in "\\PC{0,60}") {
        for key in ["url.full", "url.query", "url.path"] {
            prop_assert!(release(SamplerConfig::AlwaysOn, span([1; 16], Sampled::Yes, &[(key, &text)])).is_some());
        }
    }
}
