// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What conversations come to. Each case also runs cut at every position, one byte a piece, and with gaps everywhere.

mod endings;
mod harness;
mod limits;
mod losses;
mod random;

use std::{format, string::String, vec::Vec};

use self::harness::{Step::ResponsesEnd, check, from, to};
use super::Parser;
use crate::{
    Direction::{Received, Sent},
    End::Finished,
    StreamPiece,
};

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn one_exchange() {
    check(&[to(GET), from(OK)], "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5");
}

#[test]
fn keep_alive() {
    check(
        &[to(GET), from(OK), to("POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), from(OK)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5
         1 > POST /b\n1 > end 3\n1 < 200\n1 < end 5",
    );
}

#[test]
fn http_1_0_until_close() {
    check(
        &[to("GET / HTTP/1.0\r\n\r\n"), from("HTTP/1.0 200 OK\r\n\r\nall of it"), ResponsesEnd(Finished)],
        "0 > GET /\n0 > end 0\n0 < 200\n0 < end 9",
    );
}

#[test]
fn pipelined_eight_deep() {
    let requests: String = (0..8).map(|n| format!("GET /{n} HTTP/1.1\r\n\r\n")).collect();
    let responses: String =
        (0..8).map(|n| format!("HTTP/1.1 20{n} \r\nContent-Length: {n}\r\n\r\n{}", "x".repeat(n))).collect();
    let asked = (0..8).map(|n| format!("{n} > GET /{n}\n{n} > end 0\n"));
    let answered = (0..8).map(|n| format!("{n} < 20{n}\n{n} < end {}\n", if n == 4 { 0 } else { n }));
    let answered: Vec<String> = answered.collect();
    // 204 has no body whatever it says: four bytes then begin no message.
    let responses = responses.replace("Content-Length: 4\r\n\r\nxxxx", "Content-Length: 4\r\n\r\n");
    check(&[to(requests), from(responses)], &(asked.collect::<String>() + &answered.concat()));
}

#[test]
fn chunked_with_extensions_and_trailers() {
    check(
        &[
            to("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            from(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5;name=\"v\"\r\nhello\r\nA\n0123456789\r\n000\r\nTrailer: x\r\nOther: y\r\n\r\n",
            ),
            to(GET),
            from(OK),
        ],
        "0 > POST /\n0 > end 3\n0 < 200\n0 < end 15\n1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5",
    );
}

#[test]
fn responses_without_a_body() {
    check(
        &[
            to("HEAD / HTTP/1.1\r\n\r\n"),
            from("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
            to(GET),
            from("HTTP/1.1 204 No Content\r\n\r\n"),
            to(GET),
            from("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
        ],
        "0 > HEAD /\n0 > end 0\n0 < 200\n0 < end 0
         1 > GET /a\n1 > end 0\n1 < 204\n1 < end 0
         2 > GET /a\n2 > end 0\n2 < 304\n2 < end 0",
    );
}

#[test]
fn continue_and_early_hints() {
    check(
        &[
            to("PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"),
            from("HTTP/1.1 100 Continue\r\n\r\n"),
            to("body"),
            from("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        "0 > PUT /\n0 > end 4\n0 < 200\n0 < end 0",
    );
}

#[test]
fn connect_becomes_a_tunnel() {
    check(
        &[to("CONNECT a:443 HTTP/1.1\r\n\r\n"), from("HTTP/1.1 200 OK\r\n\r\n"), to("\x16\x03\x01"), from("\x16\x03")],
        "0 > CONNECT a:443\n0 > end 0\n0 < 200\n0 < end 0\nfinished",
    );
}

#[test]
fn connect_refused() {
    check(
        &[
            to("CONNECT a:443 HTTP/1.1\r\n\r\n"),
            from("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"),
            to(GET),
            from(OK),
        ],
        "0 > CONNECT a:443\n0 > end 0\n0 < 407\n0 < end 2\n1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5",
    );
}

#[test]
fn upgrade_ends_with_the_head_of_101() {
    check(
        &[
            to("GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
            from("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\u{1}\u{2}GET / HTTP/1.1\r\n\r\n"),
            to("GET /frame HTTP/1.1\r\n\r\n"),
        ],
        "0 > GET /chat\n0 > end 0\n0 < 101\n0 < end 0\nfinished",
    );
}

#[test]
fn targets_and_methods_of_all_forms() {
    check(
        &[
            to("get http://a.example/x?y=1 HTTP/1.1\r\n\r\n"),
            from(OK),
            to("\r\n\r\nBREW-IT * HTTP/1.1\r\n\r\n"),
            from("HTTP/1.1 418\r\nContent-Length: 0\r\n\r\n"),
        ],
        "0 > get http://a.example/x?y=1\n0 > end 0\n0 < 200\n0 < end 5
         1 > BREW-IT *\n1 > end 0\n1 < 418\n1 < end 0",
    );
}

#[test]
fn bare_line_feeds() {
    check(
        &[to("GET / HTTP/1.1\nHost: x\n\n"), from("HTTP/1.1 200 OK\nContent-Length: 1\n\nx")],
        "0 > GET /\n0 > end 0\n0 < 200\n0 < end 1",
    );
}

#[test]
fn fields_that_are_none_are_stepped_over() {
    check(
        &[
            to("GET / HTTP/1.1\r\nbad field\r\n: x\r\n\r\n"),
            from("HTTP/1.1 400 No\r\nA: b\r\n folded\r\nContent-Length: 0\r\n\r\n"),
        ],
        "0 > GET /\n0 > end 0\n0 < 400\n0 < end 0",
    );
}

#[test]
fn both_lengths_are_flagged_and_the_coding_wins() {
    check(
        &[
            to("POST / HTTP/1.1\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n"),
        ],
        "0 > POST / ambiguous\n0 > end 1\n0 < 200 ambiguous\n0 < end 0",
    );
}

#[test]
fn repeated_lengths() {
    check(
        &[
            to("POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab"),
            from("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx"),
        ],
        "0 > POST /\n0 > end 2\n0 < 200\n0 < end 1",
    );
}

#[test]
fn lengths_that_differ() {
    check(
        &[
            to("POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab"),
            from("HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"),
            to(GET),
            from("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
            to(GET),
            from(OK),
        ],
        "0 > POST /\n0 < 400\n0 > end ?\n0 < end 0
         1 > GET /a\n1 > end 0\n1 < 200\n1 < end ?
         2 > GET /a\n2 > end 0\n2 < 200\n2 < end 5
         ! invalid_length\n! invalid_length",
    );
}

#[test]
fn response_before_the_request_ends() {
    check(
        &[
            to("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"),
            from("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"),
            to("def"),
            to(GET),
            from(OK),
        ],
        "0 > POST /\n0 < 413\n0 < end 0\n0 > end 6\n1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5",
    );
}

#[test]
fn garbage_is_no_message() {
    check(&[to("\x16\x03\x01\x02\0\x01\0"), from("\x16\x03\x03")], "! not_a_message\n! not_a_message");
    check(&[to("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), from("\0")], "! not_a_message\n! not_a_message");
    check(
        &[to(GET), from("SSH-2.0-x\r\n"), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n0 broken not_understood\n1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5\n! not_a_message",
    );
}

#[test]
fn chunks_that_are_none() {
    check(
        &[to(GET), from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloxx"), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end ?\n1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5\n! malformed_chunk",
    );
    check(
        &[
            to(GET),
            from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11112222333344445\r\n"),
            ResponsesEnd(Finished),
        ],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end ?\n! malformed_chunk",
    );
}

#[test]
fn marks_are_those_of_first_and_last_byte() {
    let mut parser = Parser::new(Received, false);
    let mut places = Vec::new();
    for (mark, (direction, bytes)) in [
        (Received, "\r\nPOST / HT"),
        (Received, "TP/1.1\r\nContent-Length: 4\r\n\r\nab"),
        (Received, "cdPO"),
        (Sent, "HTTP/1.1 200 OK\r\nConten"),
        (Sent, "t-Length: 2\r\n\r\n1"),
        (Sent, "2"),
    ]
    .into_iter()
    .enumerate()
    {
        parser.handle(direction, StreamPiece::Bytes(bytes.as_bytes()), mark);
        while let Some(message) = parser.poll_message() {
            places.push((message.mark, message.offset));
        }
    }
    assert_eq!(places, [(0, 2), (2, 2), (3, 0), (5, 1)]);
}

const WEB_CALL: &str = "POST /shop.v1.Shop/Unary HTTP/1.1\r\nContent-Type: application/grpc-web+proto\r\n\r\n";
const WEB_BODY: &[u8] = b"\0\0\0\0\x02hi\x80\0\0\0\x0fgrpc-status:5\r\n";

#[test]
fn grpc_web_says_its_status_at_the_end_of_the_body() {
    let told = "0 > POST /shop.v1.Shop/Unary\n0 > end 0\n0 < 200\n0 Rpc { requests: None, \
        responses: Some(Messages { count: 1, bytes: 2 }), status: Some(5), status_is_unknown: false }\n";
    let length =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", WEB_BODY.len()).as_bytes(), WEB_BODY].concat();
    check(&[to(WEB_CALL), from(length), to(GET), from(OK)], &format!("{told}0 < end 27\n{NEXT}"));
    let (first, second) = WEB_BODY.split_at(10);
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n";
    let chunked = [head, first, b"\r\n11\r\n", second, b"\r\n0\r\n\r\n"].concat();
    check(&[to(WEB_CALL), from(chunked), to(GET), from(OK)], &format!("{told}0 < end 27\n{NEXT}"));
}

const NEXT: &str = "1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5";
