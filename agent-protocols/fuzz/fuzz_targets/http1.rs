// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pieces, gaps, turns and ends for the HTTP/1 parser; see `entry.rs` for the form and `README.md` for the command.

#![no_main]

#[path = "../entry.rs"]
#[expect(dead_code, reason = "the other targets' parts")]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::http1(data));
