// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What comes of exchanges when a direction ends: in order, by a reset, or because watching did.

use super::{
    GET, OK,
    harness::{
        Step::{RequestsEnd, ResponsesEnd},
        check, from, to,
    },
};
use crate::End::{Abandoned, Finished, Reset};

#[test]
fn request_given_up_after_an_early_response() {
    check(
        &[
            to("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"),
            from("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"),
            RequestsEnd(Finished),
        ],
        "0 > POST /\n0 < 413\n0 < end 0\n0 > end ?",
    );
}

#[test]
fn half_close_keeps_what_is_outstanding() {
    check(&[to(GET), RequestsEnd(Finished), from(OK)], "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5");
}

#[test]
fn connection_closed_before_the_response() {
    check(&[to(GET), ResponsesEnd(Finished)], "0 > GET /a\n0 > end 0\n0 broken connection_closed");
    check(&[to(GET), RequestsEnd(Reset), ResponsesEnd(Finished)], "0 > GET /a\n0 > end 0\n0 broken connection_reset");
    check(&[to(GET), ResponsesEnd(Abandoned)], "0 > GET /a\n0 > end 0\n0 broken abandoned");
    check(&[ResponsesEnd(Finished), to(GET), RequestsEnd(Reset)], "0 > GET /a\n0 > end 0\n0 broken connection_reset");
}

#[test]
fn connection_closed_in_a_response() {
    check(
        &[to(GET), from("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc"), ResponsesEnd(Finished)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 broken connection_closed",
    );
    check(
        &[to(GET), from("HTTP/1.1 200 OK\r\n\r\nabc"), ResponsesEnd(Reset)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 broken connection_reset",
    );
    check(
        &[to(GET), from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), ResponsesEnd(Finished)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 broken connection_closed",
    );
    check(
        &[to(GET), from("HTTP/1.1 200 O"), ResponsesEnd(Reset)],
        "0 > GET /a\n0 > end 0\n0 broken connection_reset\n! head_cut_short",
    );
}

#[test]
fn request_aborted_in_its_body() {
    check(
        &[to("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"), RequestsEnd(Finished), ResponsesEnd(Finished)],
        "0 > POST /\n0 > end ?\n0 broken connection_closed",
    );
    check(&[to("POST / HTTP/1.1\r\nConte"), RequestsEnd(Finished)], "! head_cut_short");
    check(
        &[to("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"), ResponsesEnd(Finished), to("def")],
        "0 > POST /\n0 broken connection_closed",
    );
}
