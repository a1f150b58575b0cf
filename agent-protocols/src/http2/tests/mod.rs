// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What conversations come to. Each case also runs cut at every position, one byte a piece, and with gaps everywhere.

mod attacks;
mod endings;
mod harness;
mod joined;
mod losses;
mod random;
mod rpc;

use self::harness::{
    CONTINUATION, DATA, HEAD, HEADERS, LAST, PUSH_PROMISE, Step, check, check_protocol, data, field, frame, from, get,
    post, preface, settings, status, to, trailers,
};
use crate::Protocol;

#[test]
fn one_exchange() {
    check(
        &[to(&[preface(), get(1, "/a")]), from(&[settings(), status(1, "200", 0), data(1, "hello", LAST)])],
        "1 > GET /a\n1 > end 0\n1 < 200\n1 < end 5",
    );
}

#[test]
fn many_streams_at_once() {
    check(
        &[
            to(&[preface(), post(1, "/a", &[]), get(3, "/b"), data(1, "ab", 0)]),
            from(&[settings(), status(3, "204", LAST), status(1, "500", 0)]),
            to(&[data(1, "c", LAST), get(5, "/c")]),
            from(&[data(1, "x", 0), status(5, "404", LAST), data(1, "y", LAST)]),
        ],
        "1 > POST /a\n3 > GET /b\n3 > end 0\n3 < 204\n3 < end 0\n1 < 500\n1 > end 3\n5 > GET /c\n5 > end 0
         5 < 404\n5 < end 0\n1 < end 2",
    );
}

#[test]
fn continuation_padding_and_priority() {
    let path = field(":path", "/long");
    let begin = [&[2, 0, 0, 0, 0, 7][..], b"\x82", &path[..3], b"\0\0"].concat();
    check(
        &[
            to(&[
                preface(),
                frame(HEADERS, LAST | 0x28, 1, &begin),
                frame(CONTINUATION, 0, 1, &[]),
                frame(CONTINUATION, 0, 1, &path[3..5]),
                frame(CONTINUATION, HEAD, 1, &path[5..]),
                // Flags without a meaning mean nothing.
                frame(HEADERS, HEAD | 0x10, 3, b"\x83\x86\x84"),
                frame(DATA, LAST | 0x08, 3, b"\x03abcd\0\0\0"),
            ]),
            from(&[status(3, "200", LAST), frame(HEADERS, HEAD | LAST | 0x08, 1, b"\x01\x88\0")]),
        ],
        "1 > GET /long\n1 > end 0\n3 > POST /\n3 > end 4\n3 < 200\n3 < end 0\n1 < 200\n1 < end 0",
    );
}

#[test]
fn informational_responses_and_trailers() {
    check(
        &[
            to(&[preface(), post(1, "/", &[]), data(1, "ab", 0), trailers(1, &[("x", "y")])]),
            from(&[status(1, "100", 0), status(1, "103", 0), status(1, "201", 0), trailers(1, &[("a", "b")])]),
        ],
        "1 > POST /\n1 > end 2\n1 < 201\n1 < end 0",
    );
}

#[test]
fn pushed_responses() {
    let promise = [&2_u32.to_be_bytes()[..], b"\x82\x87", &field(":path", "/pushed")].concat();
    check(
        &[
            to(&[preface(), get(1, "/")]),
            from(&[
                frame(PUSH_PROMISE, HEAD, 1, &promise),
                status(1, "200", LAST),
                status(2, "200", 0),
                data(2, "body", LAST),
            ]),
        ],
        "1 > GET /\n1 > end 0\n2 > GET /pushed\n2 > end 0\n1 < 200\n1 < end 0\n2 < 200\n2 < end 4",
    );
}

#[test]
fn tunnels() {
    let connect = [field(":method", "CONNECT"), field(":authority", "a:1")].concat();
    let extended = [field(":method", "CONNECT"), field(":protocol", "websocket"), field(":path", "/chat")].concat();
    check(
        &[
            to(&[preface(), frame(HEADERS, HEAD, 1, &connect), frame(HEADERS, HEAD, 3, &extended)]),
            from(&[status(1, "200", 0), status(3, "200", 0)]),
            to(&[data(1, "abc", 0), data(3, "d", LAST)]),
            from(&[data(3, "e", LAST), data(1, "f", LAST)]),
            to(&[data(1, "g", LAST)]),
        ],
        "1 > CONNECT a:1\n3 > CONNECT /chat\n1 < 200\n3 < 200\n3 > end 1\n3 < end 1\n1 < end 1\n1 > end 4",
    );
}

#[test]
fn tables_of_both_directions() {
    let insert = |stream| frame(HEADERS, HEAD | LAST, stream, &[&b"\x82"[..], &field("+:path", "/kept")].concat());
    let indexed = |stream| frame(HEADERS, HEAD | LAST, stream, b"\x82\xbe");
    let answer = |stream| frame(HEADERS, HEAD | LAST, stream, &field("+:status", "201"));
    check(
        &[
            to(&[preface(), insert(1), indexed(3)]),
            from(&[answer(1), frame(HEADERS, HEAD | LAST, 3, b"\xbe")]),
            // A size of nothing, then what it was: the table is empty.
            to(&[frame(HEADERS, HEAD | LAST, 5, b"\x20\x3f\xe1\x1f\x82\x84"), insert(7), indexed(9)]),
        ],
        "1 > GET /kept\n1 > end 0\n3 > GET /kept\n3 > end 0\n1 < 201\n1 < end 0\n3 < 201\n3 < end 0
         5 > GET /\n5 > end 0\n7 > GET /kept\n7 > end 0\n9 > GET /kept\n9 > end 0",
    );
}

#[test]
fn a_larger_frame_has_to_be_allowed() {
    let large = data(1, &"x".repeat(16_385), LAST);
    let allow = frame(4, 0, 0, &[0, 5, 0, 0, 0x40, 1]);
    let asked = to(&[preface(), post(1, "/", &[])]);
    let told = |answers| harness::text(&harness::run(false, &[asked.clone(), answers, Step::Requests(large.clone())]));
    assert_eq!(told(from(&[allow])), "1 > POST /\n1 > end 16385");
    assert_eq!(told(from(&[settings()])), "1 > POST /\n! malformed_frame");
}

#[test]
fn an_upgrade_from_http_1() {
    let request =
        b"GET /up HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n";
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    check_protocol(
        Protocol::Http1,
        &[
            to(&[b"GET /first HTTP/1.1\r\n\r\n".to_vec()]),
            from(&[b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".to_vec()]),
            to(&[request.to_vec()]),
            from(&[answer.to_vec(), settings(), status(1, "200", 0), data(1, "hello", LAST)]),
            to(&[preface(), get(3, "/b")]),
            from(&[status(3, "404", LAST)]),
        ],
        "0 > GET /first\n0 > end 0\n0 < 200\n0 < end 1\n1 > GET /up\n1 > end 0\n1 < 200\n1 < end 5
         3 > GET /b\n3 > end 0\n3 < 404\n3 < end 0",
    );
}

#[test]
fn frames_of_unknown_kinds_are_stepped_over() {
    check(
        &[
            to(&[preface(), frame(0x10, 0xff, 0, b"\0\0\0\x01u=1"), get(1, "/"), frame(8, 0, 0, &[0, 0, 1, 0])]),
            from(&[frame(0xc, 0, 0, b"origin"), frame(6, 1, 0, &[7; 8]), status(1, "200", LAST)]),
        ],
        "1 > GET /\n1 > end 0\n1 < 200\n1 < end 0",
    );
}
