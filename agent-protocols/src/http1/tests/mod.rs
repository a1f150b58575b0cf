// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What conversations come to. Each case also runs cut at every position, one byte a piece, and with gaps everywhere.

mod harness;
mod random;

use std::{format, string::String, vec::Vec};

use self::harness::{
    Step::{RequestsEnd, RequestsGap, ResponsesEnd, ResponsesGap},
    check, check_joined, from, run, text, to,
};
use super::{MAX_HEAD_BYTES, MAX_OUTSTANDING, Parser};
use crate::{
    Direction::{Received, Sent},
    End::{Abandoned, Finished, Reset},
    Part, Request, StreamPiece,
    http::Header,
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
fn response_without_a_request() {
    check(
        &[from("HTTP/1.1 408 Timeout\r\n\r\n"), to(GET), from(OK)],
        "0 > GET /a\n0 > end 0\n0 < 200\n0 < end 5\n! response_without_request",
    );
}

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
        let Request::Http(head) = &**head;
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
