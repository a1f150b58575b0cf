// SPDX-License-Identifier: Apache-2.0 OR MIT
//! First bytes for `recognise`; see `README.md` for the command.

#![no_main]

#[path = "../entry.rs"]
#[expect(dead_code, reason = "the other targets' parts")]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::recognition(data));
