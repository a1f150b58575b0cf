// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether first bytes are HTTP/1.
//!
//! In: what begins at a turn. Out: a request line, a status line, neither, or too little to tell.
//! Does not: know methods: any token of RFC 9110 section 5.6.2 is one. `PRI * HTTP/2.0` is not HTTP/1.

use crate::{
    piece::Direction,
    registry::{Protocol, Recognition},
};

/// Bytes of a method. Larger: streams of letters are held longer before they are refused. Smaller: requests with an
/// unusual method are not recognised (the longest registered one has 17).
const METHOD_BYTES: usize = 64;

/// Line breaks before a request line that are forgiven (RFC 9112 section 2.2 asks for at least one).
const EMPTY_BYTES: usize = 16;

#[must_use]
pub fn recognise(direction: Direction, first_bytes: &[u8]) -> Recognition {
    let found = |requests| Recognition::Found { protocol: Protocol::Http1, requests };
    match (status_line(first_bytes), request_line(first_bytes)) {
        (Line::Yes, _) => found(direction.opposite()),
        (_, Line::Yes) => found(direction),
        (Line::No, Line::No) => Recognition::NotMine,
        _ => Recognition::NeedMore,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Yes,
    No,
    NeedMore,
}

/// `HTTP/1.x NNN` and a space, or the line's end (some servers leave the reason out with its space).
fn status_line(bytes: &[u8]) -> Line {
    follows(bytes, b"HTTP/1.m ddd", b" \r\n")
}

/// `method target HTTP/1.x` and the line's end.
fn request_line(bytes: &[u8]) -> Line {
    let empty = count(bytes, |byte| matches!(byte, b'\r' | b'\n'));
    let line = &bytes[empty..];
    let method = count(line, is_token);
    if empty > EMPTY_BYTES || method > METHOD_BYTES {
        return Line::No;
    }
    let Some(target) = after_space(line, method) else { return unless_at_end(line, method) };
    // What httparse takes for a target: anything visible, and bytes above ASCII.
    let length = count(target, |byte| byte > b' ' && byte != 0x7f);
    let Some(version) = after_space(target, length) else { return unless_at_end(target, length) };
    follows(version, b"HTTP/1.m", b"\r\n")
}

fn count(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| belongs(**byte)).count()
}

/// What comes behind a word of this length and one space.
fn after_space(bytes: &[u8], length: usize) -> Option<&[u8]> {
    let rest = bytes[length..].strip_prefix(b" ")?;
    (length > 0).then_some(rest)
}

fn unless_at_end(bytes: &[u8], length: usize) -> Line {
    if length == bytes.len() { Line::NeedMore } else { Line::No }
}

/// Whether `bytes` begin as `pattern` says (`m`: a minor version, `d`: a digit) and go on with one of `next`.
fn follows(bytes: &[u8], pattern: &[u8], next: &[u8]) -> Line {
    let fits = pattern.iter().zip(bytes).all(|(expected, byte)| match expected {
        b'm' => matches!(byte, b'0' | b'1'),
        b'd' => byte.is_ascii_digit(),
        expected => expected == byte,
    });
    match bytes.get(pattern.len()) {
        _ if !fits => Line::No,
        None => Line::NeedMore,
        Some(byte) if next.contains(byte) => Line::Yes,
        Some(_) => Line::No,
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;
    use crate::{Direction::Received, registry::RECOGNITION_BYTES};

    /// What the bytes are, whole; and that no shorter part of them was refused, or found to be something else.
    fn check(bytes: &[u8], expected: Line) {
        let requests = match expected {
            Line::Yes if bytes.starts_with(b"HTTP/") => Received.opposite(),
            _ => Received,
        };
        let expected = match expected {
            Line::Yes => Recognition::Found { protocol: Protocol::Http1, requests },
            Line::No => Recognition::NotMine,
            Line::NeedMore => Recognition::NeedMore,
        };
        let got: Vec<_> = (0..=bytes.len()).map(|length| crate::recognise(Received, &bytes[..length])).collect();
        assert_eq!(got[bytes.len()], expected, "{:?}", bytes.escape_ascii());
        let decided = got.iter().position(|recognition| *recognition != Recognition::NeedMore).unwrap_or(bytes.len());
        assert!(got[decided..].iter().all(|recognition| *recognition == expected), "{:?}", bytes.escape_ascii());
    }

    #[test]
    fn request_lines() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.0\n",
            "get /x?y HTTP/1.1\r\nHost",
            "M-SEARCH * HTTP/1.1\r\n",
            "!#$%&'*+-.^_`|~0 x HTTP/1.1\r\n",
            "UPDATEREDIRECTREF http://a/b HTTP/1.1\r\n",
            "CONNECT a:443 HTTP/1.1\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n",
            "GET /\u{e9} HTTP/1.1\r\n",
            "HTTP/1.1 200 OK",
            "HTTP/1.0 404\r",
        ] {
            check(line.as_bytes(), Line::Yes);
        }
    }

    #[test]
    fn other_things() {
        for bytes in [
            &b"\x16\x03\x01\x02\0\x01"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r ",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"220 mail.example ESMTP\r\n",
            b"OPTIONS rtsp://a/b RTSP/1.0\r\n",
            b"INVITE sip:a@b SIP/2.0\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"PING\r\n",
            b"get key\r\n",
            b"GET  / HTTP/1.1\r\n",
            b"GET / HTTP/1.1 \r\n",
            b"GET / HTTP/1.2\r\n",
            b"GET / x HTTP/1.1\r\n",
            b" GET / HTTP/1.1\r\n",
            b"GET / http/1.1\r\n",
            b"HTTP/1.1 2000\r\n",
            b"HTTP/1.1 OK\r\n",
            b"HTTP/2 200 OK\r\n",
            b"\0\0\0\x2a\x04\xd2\x16\x2f",
        ] {
            check(bytes, Line::No);
        }
    }

    #[test]
    fn too_little_to_tell() {
        for bytes in ["", "\r\n", "G", "GET ", "GET /", "GET / HTTP/1.1", "HTTP/1.1 20", "HTTP"] {
            check(bytes.as_bytes(), Line::NeedMore);
        }
    }

    #[test]
    fn nothing_is_waited_for_endlessly() {
        check(&[b'\n'; EMPTY_BYTES + 1], Line::No);
        check(&[b'A'; METHOD_BYTES + 1], Line::No);
        let target = [b"GET /", &*vec![b'a'; RECOGNITION_BYTES]].concat();
        assert_eq!(crate::recognise(Received, &target[..RECOGNITION_BYTES - 1]), Recognition::NeedMore);
        assert_eq!(crate::recognise(Received, &target[..RECOGNITION_BYTES]), Recognition::NotMine);
    }
}
