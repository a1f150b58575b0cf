// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The limits of heads and of outstanding requests.

use std::{format, string::String, vec::Vec};

use super::{
    super::{MAX_HEAD_BYTES, MAX_OUTSTANDING},
    GET, OK,
    harness::{from, run, text, to},
};
use crate::{Part, Request, http::Header};

#[test]
fn many_outstanding() {
    let requests: String = (0..MAX_OUTSTANDING).map(|n| format!("GET /{n} HTTP/1.1\r\n\r\n")).collect();
    let responses = "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n".repeat(MAX_OUTSTANDING);
    let whole = run(false, &[to(&requests), from(&responses)]);
    assert_eq!((whole.messages.len(), whole.problems.len()), (4 * MAX_OUTSTANDING, 0));
    let steps = [to(requests + GET), from(responses + OK), to("GET /next HTTP/1.1\r\n\r\n"), from(OK)];
    let outcome = text(&run(false, &steps));
    assert!(outcome.ends_with("< end 5\n! too_many_outstanding\n! response_without_request"), "{outcome}");
}

#[test]
fn a_large_head_with_the_traceparent_last() {
    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let end = format!("TraceParent: {TRACEPARENT}\r\n\r\n");
    // Few large fields, and more small ones than are parsed without an allocation.
    for field in [format!("Cookie: {}\r\n", "x".repeat(4000)), "x: y\r\n".into()] {
        let fields = field.repeat((64 * 1024 - 100) / field.len());
        let request = format!("GET / HTTP/1.1\r\n{fields}{end}");
        let whole = run(false, &[to(&request), from(OK)]);
        let Part::RequestHead(head) = &whole.messages[0].part else { panic!("{}", text(&whole)) };
        let Request::Http(head) = head;
        assert_eq!(head.header(Header::Traceparent), Some(TRACEPARENT.as_bytes()));
        for size in [1, 7, 1000, 16 * 1024] {
            let mut steps: Vec<_> = request.as_bytes().chunks(size).map(to).collect();
            steps.push(from(OK));
            assert_eq!(run(false, &steps), whole, "pieces of {size}");
        }
    }
}

#[test]
fn a_head_that_is_too_large() {
    let request = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES));
    for size in [1, 1000, request.len()] {
        let mut steps: Vec<_> = request.as_bytes().chunks(size).map(to).collect();
        steps.extend([from(OK), to(GET), from(OK)]);
        assert_eq!(
            text(&run(false, &steps)),
            "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5\n! head_too_large\n! response_without_request"
        );
    }
}
