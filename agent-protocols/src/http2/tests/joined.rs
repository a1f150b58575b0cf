// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Connections that are joined in their midst: every request that begins from then on is there.

use std::vec::Vec;

use super::harness::{
    HEAD, HEADERS, LAST, Step, check_pieces, data, field, frame, from, get, post, run, status, text, to, trailers,
};
use crate::{Direction, Protocol, Recognition, recognise_inside};

#[test]
fn at_a_request() {
    check_pieces(
        true,
        &[to(&[get(7, "/a")]), from(&[status(7, "200", 0), data(7, "abc", LAST)])],
        "7 > GET /a\n7 > end 0\n7 < 200\n7 < end 3",
    );
}

#[test]
fn while_others_are_under_way() {
    check_pieces(
        true,
        &[
            from(&[data(5, "rest", LAST), status(3, "200", LAST)]),
            to(&[data(9, "upload", 0), get(11, "/a")]),
            from(&[status(9, "200", LAST), status(11, "404", LAST)]),
            to(&[trailers(9, &[("x", "y")])]),
        ],
        "11 > GET /a\n11 > end 0\n11 < 404\n11 < end 0",
    );
}

#[test]
fn inside_a_frame() {
    let body = data(5, &"x".repeat(2000), LAST);
    check_pieces(
        true,
        &[to(&[body[700..].to_vec(), get(7, "/a")]), from(&[status(7, "204", LAST)])],
        "7 > GET /a\n7 > end 0\n7 < 204\n7 < end 0",
    );
    // The frame goes on through pieces that hold nothing but parts of it.
    let parts = body[700..].chunks(200).map(|part| to(&[part.to_vec()]));
    let steps: Vec<Step> = parts.chain([to(&[get(7, "/a")])]).collect();
    assert_eq!(text(&run(true, &steps)), "7 > GET /a\n7 > end 0");
}

#[test]
fn what_stood_in_the_table_is_absent_and_what_comes_is_right() {
    let ask = |stream, block: &[u8]| frame(HEADERS, HEAD | LAST, stream, block);
    let insert = [&b"\x82\x86\xc0"[..], &field("+:path", "/new")].concat();
    check_pieces(
        true,
        &[
            to(&[ask(7, b"\x82\x86\xc1\xc0")]),
            to(&[ask(9, &insert)]),
            to(&[ask(11, b"\x82\x86\xbe")]),
            to(&[ask(13, b"\x82\x86\xbf\xbe")]),
            from(&[frame(HEADERS, HEAD | LAST, 7, b"\xbe"), frame(HEADERS, HEAD | LAST, 9, b"\x88")]),
        ],
        "7 > GET  ?\n7 > end 0\n9 > GET /new ?\n9 > end 0\n11 > GET /new\n11 > end 0\n13 > GET /new ?\n13 > end 0
         7 < 0 ?\n7 < end 0\n9 < 200\n9 < end 0",
    );
}

#[test]
fn a_head_without_any_known_field_is_one_if_it_does_not_end_its_stream() {
    let first = post(5, "/a", &[]);
    check_pieces(
        true,
        &[to(&[first, frame(HEADERS, HEAD, 7, b"\xc0\xbf"), frame(HEADERS, HEAD | LAST, 9, b"\xc0\xbf")])],
        "5 > POST /a\n7 >   ?\n! not_a_message",
    );
}

#[test]
fn held_pieces_prove_each_other() {
    let bytes = [data(5, "abc", 0), get(7, "/a"), frame(8, 0, 0, &[0, 0, 0, 1])].concat();
    for size in 1..bytes.len() {
        let steps: Vec<Step> = bytes.chunks(size).map(|piece| to(&[piece.to_vec()])).collect();
        assert_eq!(text(&run(true, &steps)), "7 > GET /a\n7 > end 0", "pieces of {size}");
    }
}

#[test]
fn a_piece_says_who_asks() {
    let requests = |piece: &[u8]| match recognise_inside(Direction::Received, piece) {
        Recognition::Found { protocol: Protocol::Http2, requests } => Some(requests),
        _ => None,
    };
    assert_eq!(requests(&get(1, "/")), Some(Direction::Received));
    assert_eq!(requests(&[frame(8, 0, 0, &[0, 0, 0, 1]), get(1, "/")].concat()), Some(Direction::Received));
    assert_eq!(requests(&status(1, "200", 0)), Some(Direction::Sent));
    assert_eq!(
        requests(&[b"the end of a body".to_vec(), data(3, "x", 0), get(5, "/")].concat()),
        Some(Direction::Received)
    );
    assert_eq!(requests(&frame(6, 0, 0, &[0; 8])), None);
    assert_eq!(recognise_inside(Direction::Received, &frame(6, 0, 0, &[0; 8])), Recognition::NeedMore);
    assert_eq!(recognise_inside(Direction::Received, &[0; 20]), Recognition::NotMine);
    assert_eq!(requests(&data(1, "GET / HTTP/1.1\r\n\r\n", LAST)), None);
    assert_eq!(requests(&frame(HEADERS, HEAD | LAST, 1, b"\xc0\xbf")), None);
}

/// Found by fuzzing: a table that was made too small for anything is referred to.
#[test]
fn a_piece_is_recognised_by_what_its_blocks_say_one_after_the_other() {
    let smaller = frame(HEADERS, HEAD | LAST, 0x106, b"\x21");
    let referring = frame(HEADERS, HEAD | LAST, 0x206, b"\x82\x86\xfc");
    let piece = [&smaller[..], &data(0x107, "abc", 0), &referring].concat();
    assert_eq!(recognise_inside(Direction::Received, &piece), Recognition::NotMine);
    assert_eq!(text(&run(true, &[to(&[piece])])), "! malformed_head");
}
