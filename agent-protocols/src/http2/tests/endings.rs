// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What ends streams before their responses do.

use std::format;

use super::harness::{
    LAST,
    Step::{RequestsEnd, ResponsesEnd},
    check, data, from, get, go_away, post, preface, reset, status, to,
};
use crate::End::{Abandoned, Finished, Reset};

#[test]
fn resets_by_either_side() {
    check(
        &[
            to(&[preface(), get(1, "/a"), get(3, "/b"), get(5, "/c"), get(7, "/d")]),
            from(&[reset(3, 7), status(5, "200", 0), data(5, "x", 0), reset(7, 99)]),
            to(&[reset(1, 8), reset(5, 8)]),
            // Under way when the reset came.
            from(&[status(1, "200", 0), data(5, "y", LAST)]),
        ],
        "1 > GET /a\n1 > end 0\n3 > GET /b\n3 > end 0\n5 > GET /c\n5 > end 0\n7 > GET /d\n7 > end 0
         3 broken REFUSED_STREAM\n5 < 200\n7 broken UNKNOWN_ERROR_CODE\n1 broken CANCEL\n5 broken CANCEL",
    );
}

#[test]
fn an_early_response_that_wants_no_more_of_the_request() {
    check(
        &[to(&[preface(), post(1, "/", &[]), data(1, "abc", 0)]), from(&[status(1, "413", LAST), reset(1, 0)])],
        "1 > POST /\n1 < 413\n1 < end 0\n1 > end ?",
    );
}

#[test]
fn requests_that_will_not_be_processed() {
    check(
        &[
            to(&[preface(), get(1, "/a"), get(3, "/b"), get(5, "/c")]),
            from(&[go_away(u32::MAX >> 1, 0), go_away(1, 11), status(1, "200", LAST)]),
        ],
        "1 > GET /a\n1 > end 0\n3 > GET /b\n3 > end 0\n5 > GET /c\n5 > end 0\n3 broken goaway\n5 broken goaway
         1 < 200\n1 < end 0",
    );
}

#[test]
fn connections_that_end() {
    let asked = to(&[preface(), get(1, "/a"), post(3, "/b", &[])]);
    let told = "1 > GET /a\n1 > end 0\n3 > POST /b\n";
    let broken = |reason| format!("{told}1 broken {reason}\n3 broken {reason}");
    check(&[asked.clone(), ResponsesEnd(Finished)], &broken("connection_closed"));
    check(&[asked.clone(), ResponsesEnd(Reset)], &broken("connection_reset"));
    check(&[asked.clone(), RequestsEnd(Reset), ResponsesEnd(Finished)], &broken("connection_reset"));
    check(&[asked.clone(), ResponsesEnd(Abandoned)], &broken("abandoned"));
    check(
        &[asked, RequestsEnd(Finished), from(&[status(1, "200", LAST), status(3, "200", LAST)])],
        &format!("{told}3 > end ?\n1 < 200\n1 < end 0\n3 < 200\n3 < end 0"),
    );
}

#[test]
fn a_head_that_never_ends() {
    let cut = get(1, "/a")[..12].to_vec();
    check(&[to(&[preface(), cut]), RequestsEnd(Finished)], "! head_cut_short");
}
