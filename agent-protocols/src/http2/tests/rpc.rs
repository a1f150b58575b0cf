// SPDX-License-Identifier: Apache-2.0 OR MIT
//! gRPC calls: their messages, and where their status comes from.

use std::{format, string::String, vec::Vec};

use super::harness::{
    HEAD, HEADERS, LAST, Step, block, check, data, frame, from, post, preface, reset, run, text, to, trailers,
};

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc+proto"), ("te", "trailers")];

fn ask(stream: u32) -> Vec<u8> {
    post(stream, "/p.S/M", GRPC)
}

fn answer(stream: u32) -> Vec<u8> {
    frame(HEADERS, HEAD, stream, &block(&[(":status", "200"), ("content-type", "application/grpc")]))
}

fn done(stream: u32, code: &str) -> Vec<u8> {
    trailers(stream, &[("grpc-status", code), ("grpc-message", "")])
}

#[test]
fn unary() {
    check(
        &[
            to(&[preface(), ask(1), data(1, "\0\0\0\0\x02ab", LAST)]),
            from(&[answer(1), data(1, "\0\0\0\0\x03abc", 0), done(1, "0")]),
        ],
        "1 > POST /p.S/M\n1 > end 7\n1 < 200\n1 rpc 1/2 1/3 0\n1 < end 8",
    );
}

#[test]
fn both_sides_stream_and_the_client_ends_last() {
    check(
        &[
            to(&[preface(), ask(1), data(1, "\0\0\0\0\x02ab\0\0\0", 0)]),
            from(&[answer(1), data(1, "\0\0\0\0\0", 0)]),
            to(&[data(1, "\0\x01c\x01\0\0\0\0", 0)]),
            from(&[data(1, "\0\0\0\0\x04abcd", 0), done(1, "13")]),
            to(&[data(1, "", LAST)]),
        ],
        "1 > POST /p.S/M\n1 < 200\n1 < end 14\n1 rpc 3/3 2/4 13\n1 > end 18",
    );
}

#[test]
fn trailers_only() {
    let refused = frame(
        HEADERS,
        HEAD | LAST,
        1,
        &block(&[(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")]),
    );
    check(
        &[to(&[preface(), ask(1), data(1, "\0\0\0\0\x02ab", LAST)]), from(&[refused])],
        "1 > POST /p.S/M\n1 > end 7\n1 < 200\n1 rpc 1/2 0/0 12\n1 < end 0",
    );
}

#[test]
fn cancelled() {
    check(
        &[
            to(&[preface(), ask(1), data(1, "\0\0\0\0\x02ab", LAST)]),
            from(&[answer(1), data(1, "\0\0\0\0\x03abc", 0)]),
            to(&[reset(1, 8)]),
        ],
        "1 > POST /p.S/M\n1 > end 7\n1 < 200\n1 rpc 1/2 1/3 ?\n1 broken CANCEL",
    );
}

/// A call on a connection whose tables are older than what was seen of it.
const OLD_CALL: &[u8] = b"\x83\x86\xc2\xc1\xc0";

fn joined(steps: &[Step]) -> String {
    text(&run(true, steps))
}

#[test]
fn a_call_of_a_joined_connection_is_known_by_its_messages_and_trailers() {
    let ask = || frame(HEADERS, HEAD, 7, OLD_CALL);
    let unary = to(&[ask(), data(7, "\0\0\0\0\x02ab", LAST)]);
    let old_trailers = frame(HEADERS, HEAD | LAST, 7, b"\xbf\xbe");
    let old_answer = frame(HEADERS, HEAD, 7, b"\x88\xc0");
    let reply = || data(7, "\0\0\0\0\x03abc", 0);
    assert_eq!(
        joined(&[unary.clone(), from(&[old_answer.clone(), reply(), old_trailers.clone()])]),
        "7 > POST  ?\n7 > end 7\n7 < 200 ?\n7 rpc 1/2 1/3 ?!\n7 < end 8"
    );
    // What is said later is known, and proves it too.
    for (answer, end, status) in [(answer(7), old_trailers.clone(), "?!"), (old_answer.clone(), done(7, "5"), "5")] {
        let told = joined(&[unary.clone(), from(&[answer, reply(), end])]);
        assert!(told.ends_with(&format!("rpc 1/2 1/3 {status}\n7 < end 8")), "{told}");
    }
    // Anything else is a request as others are: bodies of another kind, no trailers, another type, no body.
    let other = to(&[ask(), data(7, "{\"a\": 1}", LAST)]);
    let half = to(&[ask(), data(7, "\0\0\0\0\x03ab", LAST)]);
    let page = frame(HEADERS, HEAD, 7, &block(&[(":status", "200"), ("content-type", "text/html")]));
    let refused = from(&[frame(HEADERS, HEAD | LAST, 7, b"\x88\xc0")]);
    let answered = from(&[old_answer.clone(), reply(), old_trailers.clone()]);
    for steps in [
        [other, answered.clone()],
        [half, answered.clone()],
        [unary.clone(), from(&[old_answer.clone(), reply(), data(7, "", LAST)])],
        [unary.clone(), from(&[old_answer, data(7, "\x02\0\0\0\0", 0), old_trailers.clone()])],
        [unary.clone(), from(&[page, reply(), old_trailers])],
        [unary, refused],
        [to(&[frame(HEADERS, HEAD | LAST, 7, OLD_CALL)]), answered],
    ] {
        let told = joined(&steps);
        assert!(!told.contains("rpc"), "{told}");
        assert!(told.contains("7 < end") || told.contains("! not_a_message"), "{told}");
    }
}

#[test]
fn lengths_that_are_lost_are_not_made_up() {
    let (whole, cut) = (answer(1), data(1, "\0\0\0\0\x03abc", LAST));
    let answers = [whole, cut].concat();
    let at = answers.len() - 8;
    let lost = |begin: usize, end: usize| {
        let (before, behind) = (answers[..at + begin].to_vec(), answers[at + end..].to_vec());
        let gap = Step::ResponsesGap((end - begin) as u64);
        text(&run(false, &[to(&[preface(), ask(1), data(1, "", LAST)]), from(&[before]), gap, from(&[behind])]))
    };
    assert_eq!(lost(6, 8), "1 > POST /p.S/M\n1 > end 0\n1 < 200\n1 rpc 0/0 1/3 ?\n1 < end 8 lost");
    assert_eq!(lost(4, 6), "1 > POST /p.S/M\n1 > end 0\n1 < 200\n1 rpc 0/0 ? ?\n1 < end 8 lost");
}
