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
//!
//! HTTP/2 is bytes to begin with: its pieces have a byte in front that says what they are, and one for their length.

use std::collections::BTreeMap;

use agent_protocols::{
    Direction, End, Message, Parser, Part, Protocol, RECOGNITION_BYTES, Recognition, StreamPiece,
    http1::MAX_HEAD_BYTES, recognise, recognise_inside,
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
            if matches!(message.part, Part::RequestHead(_)) {
                assert_eq!(seen.len() as u64, message.stream, "numbers follow the order of requests");
            }
            check_order(&mut seen, &message);
        }
        while parser.poll_problem().is_some() {}
        assert!(parser.held_bytes() <= 2 * MAX_HEAD_BYTES, "holds {} bytes", parser.held_bytes());
    }
}

/// Drives the HTTP/2 parser. A first byte that is odd joins mid-stream.
pub fn http2(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    let mut parser = Parser::new(Protocol::Http2, Direction::Received, first & 1 != 0);
    let mut seen = BTreeMap::new();
    let mut mark = 0;
    while let [kind, length, behind @ ..] = rest {
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        let direction = if kind & 1 != 0 { Direction::Sent } else { Direction::Received };
        let piece = match kind >> 1 {
            0 => StreamPiece::Gap { length: number(bytes) },
            1 => StreamPiece::End(end(bytes)),
            2 => StreamPiece::Bytes(PREFACE),
            _ => StreamPiece::Bytes(bytes),
        };
        check_inside(direction, bytes);
        feed_http2(&mut parser, &mut seen, direction, piece, mark);
        mark += 1;
        rest = behind;
    }
}

/// Drives the decoder of header blocks: each has its length in front, and is the head of a request.
pub fn hpack(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    let mut parser = Parser::new(Protocol::Http2, Direction::Received, first & 1 != 0);
    let mut seen = BTreeMap::new();
    feed_http2(&mut parser, &mut seen, Direction::Received, StreamPiece::Bytes(PREFACE), 0);
    let mut stream = 1_u32;
    while let [length, behind @ ..] = rest {
        let (block, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        let frame = [&[0, 0, block.len() as u8, 1, 5][..], &stream.to_be_bytes(), block].concat();
        feed_http2(&mut parser, &mut seen, Direction::Received, StreamPiece::Bytes(&frame), stream as usize);
        stream += 2;
        rest = behind;
    }
}

/// A piece in which a request was recognised is one that the parser finds a request in.
fn check_inside(direction: Direction, piece: &[u8]) {
    let Recognition::Found { protocol, requests } = recognise_inside(direction, piece) else { return };
    if requests == direction {
        let mut parser = Parser::new(protocol, requests, true);
        parser.handle(direction, StreamPiece::Bytes(piece), ());
        assert!(parser.poll_message().is_some(), "recognised, and not found");
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Two lanes with a block that is not whole, the last one read, their tables, and all the streams there may be.
const HTTP2_BYTES: usize = 8 * MAX_HEAD_BYTES + 1024 * 256;

fn feed_http2(
    parser: &mut Parser<usize>,
    seen: &mut BTreeMap<u64, u8>,
    direction: Direction,
    piece: StreamPiece<'_>,
    mark: usize,
) {
    parser.handle(direction, piece, mark);
    while let Some(message) = parser.poll_message() {
        assert!(message.mark <= mark, "a mark that was never given");
        check_order(seen, &message);
    }
    while parser.poll_problem().is_some() {}
    assert!(parser.held_bytes() <= HTTP2_BYTES, "holds {} bytes", parser.held_bytes());
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
const RPC: u8 = 32;

/// Heads come first and once, ends once, and nothing after the exchange is over.
fn check_order(seen: &mut BTreeMap<u64, u8>, message: &Message<usize>) {
    let (part, needs, excludes) = match message.part {
        Part::RequestHead(_) => (REQUEST, 0, u8::MAX),
        Part::RequestEnd(_) => (REQUEST_END, REQUEST, REQUEST_END | BROKEN),
        Part::ResponseHead(_) => (RESPONSE, REQUEST, RESPONSE | BROKEN),
        Part::ResponseEnd(_) => (RESPONSE_END, RESPONSE, RESPONSE_END | BROKEN),
        Part::Rpc(_) => (RPC, REQUEST, RPC | BROKEN),
        Part::Broken(_) => (BROKEN, REQUEST, RESPONSE_END | BROKEN),
    };
    let parts = seen.entry(message.stream).or_default();
    assert!(*parts & needs == needs && *parts & excludes == 0, "{message:?} after {parts:#b}");
    *parts |= part;
}
