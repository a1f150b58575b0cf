// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Peers that want harm: memory stays bounded (the harness looks at it after every piece), and what is left out is
//! counted.

use std::{format, vec, vec::Vec};

use super::{
    super::{MAX_HEAD_BYTES, MAX_OUTSTANDING},
    harness::{
        CONTINUATION, HEAD, HEADERS, LAST, Step, block, data, field, frame, from, get, preface, reset, run, status,
        text, to,
    },
};
use crate::{Part, Problem};

#[test]
fn rapid_reset() {
    let mut steps = vec![to(&[preface()])];
    steps.extend((0..10_000).map(|n| to(&[get(2 * n + 1, "/"), reset(2 * n + 1, 8)])));
    let outcome = run(false, &steps);
    let broken = outcome.messages.iter().filter(|message| matches!(message.part, Part::Broken(_))).count();
    assert_eq!((broken, outcome.messages.len(), outcome.problems.len()), (10_000, 30_000, 0));
}

#[test]
fn streams_that_are_opened_and_left() {
    let mut steps = vec![to(&[preface()])];
    steps.extend((0..2 * MAX_OUTSTANDING as u32).map(|n| to(&[get(2 * n + 1, "/")])));
    steps.push(from(&[status(1, "200", LAST)]));
    steps.push(to(&[get(9999, "/next")]));
    let outcome = run(false, &steps);
    assert_eq!(outcome.problems, vec![Problem::TooManyOutstanding; MAX_OUTSTANDING]);
    assert!(text(&outcome).contains("9999 > GET /next"));
}

#[test]
fn blocks_without_an_end() {
    let flood = frame(CONTINUATION, 0, 1, &[0; 1000]);
    for (flood, count) in [(flood, 1000), (frame(CONTINUATION, 0, 1, &[]), 10_000)] {
        let mut steps = vec![to(&[preface(), frame(HEADERS, 0, 1, b"\x82")])];
        steps.extend(vec![to(&[flood]); count]);
        steps.push(to(&[frame(CONTINUATION, HEAD, 1, &[0x84])]));
        steps.extend([to(&[get(3, "/b")]), from(&[status(3, "200", LAST)])]);
        let told = text(&run(false, &steps));
        assert!(told.contains("3 > GET /b\n3 > end 0\n3 < 200\n3 < end 0"), "{told}");
        assert!(told.ends_with("! head_too_large") || count == 10_000, "{told}");
    }
}

#[test]
fn header_lists_of_a_megabyte() {
    let cookies = block(&vec![("cookie", "0123456789abcdef0123456789abcdef"); 20_000]);
    let mut frames = vec![preface(), frame(HEADERS, 0, 1, b"\x82\x84")];
    frames.extend(cookies.chunks(16_384).map(|part| frame(CONTINUATION, 0, 1, part)));
    frames.extend([frame(CONTINUATION, HEAD, 1, &[]), get(3, "/b")]);
    assert_eq!(text(&run(false, &[to(&frames)])), "3 > GET /b\n3 > end 0\n! head_too_large");
}

#[test]
fn a_block_that_unpacks_to_much() {
    let insert = [&b"\x82\x84"[..], &field("+tracestate", &"x".repeat(120))].concat();
    let bomb = [&b"\x82\x84"[..], &vec![0xbe; 16_000]].concat();
    let steps = [to(&[preface(), frame(HEADERS, HEAD | LAST, 1, &insert), frame(HEADERS, HEAD | LAST, 3, &bomb)])];
    let told = text(&run(false, &steps));
    assert_eq!(told, "1 > GET /\n1 > end 0\n3 > GET /\n3 > end 0\n! head_too_large");
}

#[test]
fn tables_that_are_resized_in_every_frame() {
    let resize = |stream| {
        frame(HEADERS, HEAD | LAST, stream, &[&b"\x20\x3f\xe1\x1f"[..], &[0x82, 0x84], &field("+b3", "0")].concat())
    };
    let mut steps = vec![to(&[preface()])];
    steps.extend((0..5000).flat_map(|n| [to(&[resize(2 * n + 1)]), from(&[status(2 * n + 1, "200", LAST)])]));
    let outcome = run(false, &steps);
    assert_eq!((outcome.messages.len(), outcome.problems.len()), (20_000, 0));
    let many = [&[0x20; 20_000][..], b"\x82\x84"].concat();
    let frames = [frame(HEADERS, LAST, 1, &many[..16_000]), frame(CONTINUATION, HEAD, 1, &many[16_000..])];
    assert_eq!(text(&run(false, &[to(&[preface()]), to(&frames)])), "1 > GET /\n1 > end 0");
}

#[test]
fn heads_up_to_the_limit_are_read() {
    let fields = vec![("x-padding", "0123456789abcdef0123456789abcdef"); 66 * 1024 / 44];
    let block = [&b"\x82\x84"[..], &block(&fields), &field("traceparent", "last")].concat();
    assert!(block.len() < MAX_HEAD_BYTES);
    let mut frames = vec![frame(HEADERS, LAST, 1, &block[..10])];
    frames.extend(block[10..].chunks(9000).map(|part| frame(CONTINUATION, 0, 1, part)));
    frames.push(frame(CONTINUATION, HEAD, 1, &[]));
    let bytes = frames.concat();
    for size in [1, 1000, 16_384, bytes.len()] {
        let steps: Vec<Step> =
            [to(&[preface()])].into_iter().chain(bytes.chunks(size).map(|piece| to(&[piece.to_vec()]))).collect();
        let outcome = run(false, &steps);
        assert_eq!(text(&outcome), "1 > GET /\n1 > end 0", "pieces of {size}");
        let Part::RequestHead(head) = &outcome.messages[0].part else { panic!("no head") };
        let crate::Request::Http(head) = head;
        assert_eq!(head.header(crate::http::Header::Traceparent), Some(&b"last"[..]));
    }
}

#[test]
fn data_is_never_held() {
    let mut steps = vec![to(&[preface(), get(1, "/")]), from(&[status(1, "200", 0)])];
    steps.extend(vec![from(&[data(1, &"x".repeat(16_384), 0)]); 100]);
    steps.push(from(&[data(1, "", LAST)]));
    assert_eq!(text(&run(false, &steps)), format!("1 > GET /\n1 > end 0\n1 < 200\n1 < end {}", 100 * 16_384));
}
