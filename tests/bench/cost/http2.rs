// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The words of HTTP/2, written by hand as clients and servers write them: what stays the same is put into the header
//! table by the first message, path and length are written out each time.

use crate::talk::Words;

/// Of a response. More: its body's length has three digits, and its data may have to wait for the window.
pub const MOST_BYTES: usize = 99;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_HEADER_BYTES: usize = 9;
/// Where in a frame its stream's number stands.
const STREAM_AT: usize = 5;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Each is its head.
pub fn requests() -> Words {
    const TARGET: &[u8] = b"\x82\x86\x04\x08/items/7";
    let head = |fields: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, 1, &[TARGET, fields].concat());
    // `:authority`, `user-agent` and `accept`: into the table, and out of it.
    let first = head(b"\x41\x09localhost\x7a\x07bench/1\x53\x03*/*");
    let others = head(b"\xc0\xbf\xbe");
    Words { first: [PREFACE, &settings(0), &first].concat(), others, streams: vec![STREAM_AT] }
}

/// Each is a head and a body, of so many bytes together.
pub fn responses(bytes: usize) -> Words {
    // `content-type`: into the table, and out of it.
    let first = response(bytes, b"\x5f\x0atext/plain");
    let others = response(bytes, b"\xbe");
    let second_frame = others.len() - FRAME_HEADER_BYTES - body_bytes(bytes);
    let streams = vec![STREAM_AT, second_frame + STREAM_AT];
    Words { first: [settings(0), settings(ACK), first].concat(), others, streams }
}

/// 200, and `content-length` with two digits.
fn response(bytes: usize, fields: &[u8]) -> Vec<u8> {
    let body = body_bytes(bytes);
    let head = [b"\x88\x0f\x0d\x02", body.to_string().as_bytes(), fields].concat();
    [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, END_STREAM, 1, &vec![b'.'; body])].concat()
}

/// What is left beside two frames' headers and the seven bytes of a head.
const fn body_bytes(bytes: usize) -> usize {
    bytes - 2 * FRAME_HEADER_BYTES - 7
}

fn settings(flags: u8) -> Vec<u8> {
    frame(SETTINGS, flags, 0, &[])
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
