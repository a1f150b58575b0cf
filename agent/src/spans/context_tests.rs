// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Contexts as requests carry them, valid and not.

use agent_protocols::http::HttpVersion;
use proptest::prelude::*;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn of(headers: &[(Header, &[u8])]) -> Option<Context> {
    Context::of(&HttpRequest::new(HttpVersion::Http11, b"GET", b"/", headers))
}

/// What a context says, in one line: trace, span, sampling, state.
fn told(headers: &[(Header, &str)]) -> String {
    let headers: Vec<(Header, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let Some(context) = of(&headers) else { return "none".to_owned() };
    let ids = context.parent.map_or("no ids".to_owned(), |(trace, span)| {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("{} {}", hex(&trace.0), hex(&span.0))
    });
    format!("{ids} {:?} {}", context.sampled, context.trace_state.unwrap_or_default()).trim_end().to_owned()
}

fn check_traceparent(value: &str, expected: Option<&str>) {
    let expected = expected.map_or("none".to_owned(), |sampled| format!("{TRACE} {SPAN} {sampled}"));
    assert_eq!(told(&[(Header::Traceparent, value)]), expected, "{value}");
}

#[test]
fn traceparent_by_the_specification() {
    let valid = format!("00-{TRACE}-{SPAN}-01");
    check_traceparent(&valid, Some("Yes"));
    check_traceparent(&format!("  {valid}\t"), Some("Yes"));
    check_traceparent(&format!("00-{TRACE}-{SPAN}-00"), Some("No"));
    check_traceparent(&format!("00-{TRACE}-{SPAN}-03"), Some("Yes"));
    check_traceparent(&format!("00-{TRACE}-{SPAN}-fe"), Some("No"));
    check_traceparent(&format!("01-{TRACE}-{SPAN}-01"), Some("Yes"));
    check_traceparent(&format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings"), Some("Yes"));
    for invalid in [
        String::new(),
        "00".to_owned(),
        valid[..54].to_owned(),
        format!("{valid}-00"),
        format!("{valid}0"),
        format!("cc-{TRACE}-{SPAN}-01.x"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("0g-{TRACE}-{SPAN}-01"),
        format!("00-{}-{SPAN}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00_{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-0x"),
        format!("00-{TRACE}-{SPAN}_01"),
    ] {
        check_traceparent(&invalid, None);
    }
}

#[test]
fn the_first_valid_traceparent_counts() {
    let valid = format!("00-{TRACE}-{SPAN}-01");
    let other = format!("00-{}-{SPAN}-00", "a".repeat(32));
    let headers = [(Header::Traceparent, "junk"), (Header::Traceparent, &valid), (Header::Traceparent, &other)];
    assert_eq!(told(&headers), format!("{TRACE} {SPAN} Yes"));
}

#[test]
fn trace_state_lists() {
    let valid = format!("00-{TRACE}-{SPAN}-01");
    let check = |values: &[&str], expected: &str| {
        let mut headers = vec![(Header::Traceparent, valid.as_str())];
        headers.extend(values.iter().map(|value| (Header::Tracestate, *value)));
        assert_eq!(told(&headers), format!("{TRACE} {SPAN} Yes {expected}").trim_end(), "{values:?}");
    };
    check(&["a=1"], "a=1");
    check(&["a=1, b=2 ,,c=3"], "a=1,b=2,c=3");
    check(&["a=1", "tenant@vendor=x:y"], "a=1,tenant@vendor=x:y");
    check(&["A=1"], "");
    check(&["a=1,b"], "");
    check(&["a=1=2"], "");
    check(&[""], "");
    let long = format!("l={}", "x".repeat(200));
    let many: Vec<String> = (0..30).map(|number| format!("k{number}={}", "v".repeat(20))).collect();
    let list = format!("{long},{}", many.join(","));
    check(&[&list], &many[..20].join(","));
    let too_many: Vec<String> = (0..33).map(|number| format!("k{number}=v")).collect();
    check(&[&too_many.join(",")], "");
    assert_eq!(told(&[(Header::Tracestate, "a=1")]), "none", "no state without a parent");
}

#[test]
fn b3_single_header() {
    let check = |value: &str, expected: &str| assert_eq!(told(&[(Header::B3, value)]), expected, "{value}");
    check(&format!("{TRACE}-{SPAN}-1"), &format!("{TRACE} {SPAN} Yes"));
    check(&format!("{TRACE}-{SPAN}-0"), &format!("{TRACE} {SPAN} No"));
    check(&format!("{TRACE}-{SPAN}-d"), &format!("{TRACE} {SPAN} Yes"));
    check(&format!("{TRACE}-{SPAN}"), &format!("{TRACE} {SPAN} Undecided"));
    check(&format!("{TRACE}-{SPAN}-1-{SPAN}"), &format!("{TRACE} {SPAN} Yes"));
    check(&format!("{SPAN}-{SPAN}-1"), &format!("0000000000000000{SPAN} {SPAN} Yes"));
    check("0", "no ids No");
    check("1", "no ids Yes");
    check("d", "no ids Yes");
    check("2", "none");
    check(&format!("{TRACE}-{SPAN}-2"), "none");
    check(&format!("{TRACE}-{SPAN}-1-x"), "none");
    check(&format!("{TRACE}-{SPAN}-1-{SPAN}-1"), "none");
    check(TRACE, "none");
    check("", "none");
}

#[test]
fn b3_several_headers() {
    let ids = [(Header::B3TraceId, TRACE), (Header::B3SpanId, SPAN)];
    let with = |more: &[(Header, &'static str)]| told(&[&ids, more].concat());
    assert_eq!(with(&[]), format!("{TRACE} {SPAN} Undecided"));
    assert_eq!(with(&[(Header::B3Sampled, "1")]), format!("{TRACE} {SPAN} Yes"));
    assert_eq!(with(&[(Header::B3Sampled, "false")]), format!("{TRACE} {SPAN} No"));
    assert_eq!(with(&[(Header::B3Sampled, "0"), (Header::B3Flags, "1")]), format!("{TRACE} {SPAN} Yes"));
    assert_eq!(told(&[(Header::B3Sampled, "0")]), "no ids No");
    assert_eq!(told(&[(Header::B3TraceId, TRACE)]), "none");
    assert_eq!(
        told(&[(Header::B3TraceId, SPAN), (Header::B3SpanId, SPAN)]),
        format!("0000000000000000{SPAN} {SPAN} Undecided")
    );
}

#[test]
fn w3c_stands_above_b3_unless_it_is_invalid() {
    let valid = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(told(&[(Header::B3, "0"), (Header::Traceparent, &valid)]), format!("{TRACE} {SPAN} Yes"));
    assert_eq!(told(&[(Header::Traceparent, "junk"), (Header::B3, "0")]), "no ids No");
}

proptest! {
    #[test]
    fn any_bytes_are_taken(value in proptest::collection::vec(any::<u8>(), 0..80), which in 0..7_usize) {
        let name = [
            Header::Traceparent, Header::Tracestate, Header::B3, Header::B3TraceId, Header::B3SpanId,
            Header::B3Sampled, Header::B3Flags,
        ][which];
        let context = of(&[(name, &value)]);
        let zero = context.and_then(|context| context.parent);
        prop_assert!(zero.is_none_or(|(trace, span)| trace.0 != [0; 16] && span.0 != [0; 8]));
    }

    #[test]
    fn what_is_written_is_read(trace in any::<u128>(), span in any::<u64>(), flags in any::<u8>()) {
        let value = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
        let read = of(&[(Header::Traceparent, value.as_bytes())]);
        let expected = (trace != 0 && span != 0).then(|| Context {
            parent: Some((TraceId(trace.to_be_bytes()), SpanId(span.to_be_bytes()))),
            sampled: if flags & 1 == 1 { Sampled::Yes } else { Sampled::No },
            trace_state: None,
        });
        prop_assert_eq!(read, expected);
    }
}
