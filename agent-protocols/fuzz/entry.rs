// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a fuzzer's bytes are made to do, for the fuzz targets and for `tests/corpus.rs` alike.
//!
//! In: any bytes. Out: nothing, or a panic that names the promise that was broken.
//! Does not: know what the right messages are; `src/http1/tests` does.
//!
//! The bytes are lines, so that a person can read and write a corpus file:
//! `>` bytes of the request direction, `<` of the other one, up to the line's end; a `\` before the end stands for
//! CR LF, and the next line of the same direction follows without a turn. `}N` and `{N` are gaps of N bytes (in
//! base 256, as they come), `]C` and `[C` ends, of a kind by their byte. A first line `joined` joins mid-stream.

use std::collections::BTreeMap;

use agent_protocols::{
    Direction, End, Message, Parser, Part, Protocol, RECOGNITION_BYTES, Recognition, StreamPiece,
    http1::MAX_HEAD_BYTES, recognise,
};

/// Drives the HTTP/1 parser.
pub fn http1(data: &[u8]) {
    let (joined, script) = match data.strip_prefix(b"joined\n") {
        Some(script) => (true, script),
        None => (false, data),
    };
    let mut parser = Parser::new(Protocol::Http1, Direction::Received, joined);
    let mut seen = BTreeMap::new();
    let mut last = None;
    for (mark, line) in script.split(|byte| *byte == b'\n').enumerate() {
        let Some((&kind, rest)) = line.split_first() else { continue };
        let direction = if matches!(kind, b'<' | b'{' | b'[') { Direction::Sent } else { Direction::Received };
        let bytes = match rest {
            [text @ .., b'\\'] => [text, b"\r\n"].concat(),
            text => text.to_vec(),
        };
        let piece = match kind {
            b'{' | b'}' => StreamPiece::Gap { length: number(rest) },
            b'[' | b']' => StreamPiece::End(end(rest)),
            _ => StreamPiece::Bytes(&bytes),
        };
        if !matches!(piece, StreamPiece::End(_)) && last.replace(direction) != Some(direction) {
            parser.handle(direction, StreamPiece::Turn, mark);
        }
        parser.handle(direction, piece, mark);
        while let Some(message) = parser.poll_message() {
            assert!(message.mark <= mark, "a mark that was never given");
            check_order(&mut seen, &message);
        }
        while parser.poll_problem().is_some() {}
        assert!(parser.held_bytes() <= 2 * MAX_HEAD_BYTES, "holds {} bytes", parser.held_bytes());
    }
}

/// Asks about every beginning of the bytes: once decided, more bytes change nothing.
pub fn recognition(data: &[u8]) {
    let mut decided = None;
    for length in 0..=data.len().min(RECOGNITION_BYTES + 1) {
        // All lengths of the first bytes, and then some.
        if length > 256 && length % 97 != 0 {
            continue;
        }
        let recognition = recognise(Direction::Sent, &data[..length]);
        match decided {
            Some(before) => assert_eq!(before, recognition, "changed its mind at {length} bytes"),
            None if recognition == Recognition::NeedMore => assert!(length < RECOGNITION_BYTES, "waits endlessly"),
            None => decided = Some(recognition),
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn end(bytes: &[u8]) -> End {
    match bytes.first() {
        Some(b'r') => End::Reset,
        Some(b'a') => End::Abandoned,
        _ => End::Finished,
    }
}

const REQUEST: u8 = 1;
const REQUEST_END: u8 = 2;
const RESPONSE: u8 = 4;
const RESPONSE_END: u8 = 8;
const BROKEN: u8 = 16;

/// Heads come first and once, ends once, and nothing after the exchange is over.
fn check_order(seen: &mut BTreeMap<u64, u8>, message: &Message<usize>) {
    let (part, needs, excludes) = match message.part {
        Part::RequestHead(_) => (REQUEST, 0, u8::MAX),
        Part::RequestEnd(_) => (REQUEST_END, REQUEST, REQUEST_END | BROKEN),
        Part::ResponseHead(_) => (RESPONSE, REQUEST, RESPONSE | BROKEN),
        Part::ResponseEnd(_) => (RESPONSE_END, RESPONSE, RESPONSE_END | BROKEN),
        Part::Broken(_) => (BROKEN, REQUEST, RESPONSE_END | BROKEN),
    };
    if part == REQUEST {
        assert_eq!(seen.len() as u64, message.stream, "numbers follow the order of requests");
    }
    let parts = seen.entry(message.stream).or_default();
    assert!(*parts & needs == needs && *parts & excludes == 0, "{message:?} after {parts:#b}");
    *parts |= part;
}
