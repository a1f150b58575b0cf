// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is made of bytes that were lost, and of connections that were open before.

use super::{
    GET, OK,
    harness::{
        Step::{RequestsEnd, RequestsGap, ResponsesEnd, ResponsesGap},
        check, check_joined, from, to,
    },
};
use crate::End::{Finished, Reset};

#[test]
fn joined_mid_stream() {
    check_joined(
        true,
        &[from("f a body\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5",
    );
    check_joined(
        true,
        &[to("d of a body"), from(OK), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5\n! response_without_request",
    );
    check_joined(true, &[to(GET), from(OK)], "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5");
    check_joined(true, &[to(GET), ResponsesEnd(Reset)], "0 > GET /a\n0 > end 0\n0 broken connection_reset");
}

#[test]
fn gap_inside_a_body() {
    check(
        &[to("PUT / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"), RequestsGap(1000), from(OK)],
        "0 > PUT /\n0 > end 1000 lost\n0 < 200\n0 < end 5",
    );
    check(
        &[
            to(GET),
            from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nab"),
            ResponsesGap(98),
            from("\r\n0\r\n\r\n"),
        ],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 100 lost",
    );
    check(
        &[to(GET), from("HTTP/1.1 200 OK\r\n\r\n"), ResponsesGap(77), ResponsesEnd(Finished)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 77 lost",
    );
}

#[test]
fn gap_past_the_end_of_a_body() {
    check(
        &[
            to(GET),
            from("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"),
            ResponsesGap(50),
            from("xyz"),
            to(GET),
            from(OK),
        ],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 10 lost\n1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5",
    );
}

#[test]
fn chunked_body_past_the_budget() {
    let head = from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    // The last bytes of the last call were captured.
    check(
        &[to(GET), head.clone(), ResponsesGap(100_000), from("z\r\n0\r\n\r\n"), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end ? lost\n1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5",
    );
    // They were not: the next request, or the connection's end, tells.
    check(
        &[to(GET), head.clone(), ResponsesGap(100_000), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end ? lost\n1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5",
    );
    check(
        &[to(GET), head.clone(), ResponsesGap(100_000), RequestsEnd(Finished), ResponsesEnd(Finished)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end ? lost",
    );
    check(
        &[to(GET), head.clone(), ResponsesGap(100_000), ResponsesEnd(Reset)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 broken connection_reset",
    );
    // Several were outstanding: their ends are in there, nobody knows where.
    check(
        &[to(GET), to(GET), head, ResponsesGap(100_000), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n1 > GET /a\n1 > end 0\n0 < 200\n0 broken bytes_lost\n1 broken bytes_lost
         2 > GET /a\n2 > end 0\n2 < 200\n2 < end 5",
    );
}

#[test]
fn chunked_request_past_the_budget() {
    check(
        &[
            to("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"),
            RequestsGap(100_000),
            from(OK),
            to(GET),
            from(OK),
        ],
        "0 > PUT /\n0 < 200\n0 > end ? lost\n0 < end 5\n1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5",
    );
}

#[test]
fn head_lost() {
    check(
        &[to(GET), ResponsesGap(43), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n0 broken bytes_lost\n1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5",
    );
    check(
        &[to("GET /a HT"), RequestsGap(19), from(OK), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5\n! head_cut_short\n! response_without_request",
    );
    check(&[to(GET), ResponsesGap(43), ResponsesEnd(Finished)], "0 > GET /a\n0 > end 0\n0 broken bytes_lost");
}

#[test]
fn a_lost_response_that_is_noticed_late() {
    // The gap comes with the next record of its direction, behind the request that followed.
    let steps = [to(GET), to(GET), ResponsesGap(43), to("GET /c HTTP/1.1\r\n\r\n"), from(OK)];
    check(
        &steps,
        "0 > GET /a\n0 > end 0\n1 > GET /a\n1 > end 0\n0 broken bytes_lost\n1 broken bytes_lost
         2 > GET /c\n2 > end 0\n2 < 200\n2 < end 5",
    );
}

#[test]
fn a_response_after_lost_requests_is_not_given_to_a_later_one() {
    check(
        &[to(GET), RequestsGap(28), from(OK), from(OK), to("GET /c HTTP/1.1\r\n\r\n"), from(OK)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5\n1 > GET /c\n1 > end 0\n1 < 200\n1 < end 5\n! response_without_request",
    );
}

#[test]
fn response_without_a_request() {
    check(
        &[from("HTTP/1.1 408 Timeout\r\n\r\n"), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5\n! response_without_request",
    );
}
