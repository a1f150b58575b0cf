// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What comes of streams when frames are lost.

use std::vec::Vec;

use super::harness::{
    HEAD, HEADERS, LAST,
    Step::{RequestsGap, ResponsesEnd, ResponsesGap},
    check, check_pieces, data, field, frame, from, get, post, preface, reset, run, status, text, to,
};
use crate::End;

#[test]
fn a_gap_inside_data_is_counted() {
    let sent = data(1, &"x".repeat(1000), LAST);
    check(
        &[
            to(&[preface(), get(1, "/")]),
            from(&[status(1, "200", 0), sent[..19].to_vec()]),
            ResponsesGap(980),
            from(&[sent[999..].to_vec(), frame(6, 0, 0, &[0; 8])]),
            to(&[get(3, "/b")]),
            from(&[status(3, "204", LAST)]),
        ],
        "1 > GET /\n1 > end 0\n1 < 200\n1 < end 1000 lost\n3 > GET /b\n3 > end 0\n3 < 204\n3 < end 0",
    );
}

#[test]
fn a_stream_that_goes_on_after_a_loss_was_not_over() {
    check_pieces(
        false,
        &[
            to(&[preface(), get(1, "/")]),
            from(&[status(1, "200", 0)]),
            ResponsesGap(5000),
            from(&[data(1, "more", 0), data(1, "end", LAST)]),
        ],
        "1 > GET /\n1 > end 0\n1 < 200\n1 < end ? lost\n! frames_lost",
    );
}

#[test]
fn a_stream_that_is_heard_of_no_more_is_given_up_in_time() {
    let mut steps = Vec::from([to(&[preface(), get(1, "/")]), from(&[status(1, "200", 0)]), ResponsesGap(5000)]);
    let next = |id: u32| [to(&[get(id, "/n")]), from(&[status(id, "204", LAST)])];
    steps.extend((3..=63).step_by(2).flat_map(next));
    assert!(!text(&run(false, &steps)).contains("1 broken"));
    steps.extend(next(65));
    assert!(text(&run(false, &steps)).contains("1 broken bytes_lost\n65 > GET /n"));
    // At the connection's end at the latest; it was the loss that ended it, not that end.
    let steps = [to(&[preface(), get(1, "/")]), ResponsesGap(50), ResponsesEnd(End::Finished)];
    assert_eq!(text(&run(false, &steps)), "1 > GET /\n1 > end 0\n1 broken bytes_lost\n! frames_lost");
}

#[test]
fn a_loss_costs_the_table_and_nothing_more() {
    let insert = frame(HEADERS, HEAD | LAST, 1, &[&b"\x82"[..], &field("+:path", "/kept")].concat());
    let indexed = |stream| frame(HEADERS, HEAD | LAST, stream, b"\x82\xbe");
    check_pieces(
        false,
        &[to(&[preface(), insert.clone(), indexed(3)]), RequestsGap(100), to(&[indexed(5)]), to(&[insert, indexed(7)])],
        "1 > GET /kept\n1 > end 0\n3 > GET /kept\n3 > end 0\n5 > GET  ?\n5 > end 0\n7 > GET /kept\n7 > end 0
         ! frames_lost",
    );
}

#[test]
fn a_head_of_a_response_that_was_lost_leaves_no_status() {
    let head = status(1, "200", 0);
    check_pieces(
        false,
        &[
            to(&[preface(), get(1, "/"), post(3, "/p", &[])]),
            from(&[head[..12].to_vec()]),
            ResponsesGap(head.len() as u64 - 12),
            from(&[data(1, "x", LAST), reset(3, 2)]),
        ],
        "1 > GET /\n1 > end 0\n3 > POST /p\n1 broken bytes_lost\n3 broken INTERNAL_ERROR\n! head_cut_short",
    );
}

#[test]
fn a_frame_that_nobody_may_send_costs_what_it_hides() {
    for wrong in [frame(4, 0, 0, &[0; 5]), frame(3, 0, 1, &[0; 5]), frame(0, 0, 0, b"x"), frame(6, 0, 1, &[0; 8])] {
        let steps = [to(&[preface(), get(1, "/"), wrong]), to(&[get(3, "/b")])];
        let expected = "1 > GET /\n1 > end 0\n3 > GET /b\n3 > end 0\n! malformed_frame";
        assert_eq!(text(&run(false, &steps)), expected);
    }
}
