// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Heads as nearly everybody sends them, read in one pass over their lines.
//!
//! In: bytes that begin where a head is due. Out: what httparse would make of them, for a fifth of its instructions,
//! because fields that nobody asks for are stepped over without a look; or nothing, where the head is not whole or not
//! plain, and httparse has the word.
//! Does not: know better than httparse. A test compares the two on whatever comes.

use super::{
    fields::{self, Field, Fields},
    head::{RequestHead, ResponseHead},
};
use crate::http::HttpVersion;

/// The head, and its length.
pub(super) fn request(bytes: &[u8]) -> Option<(RequestHead, usize)> {
    let mut lines = Lines { bytes, at: 0, read: 0 };
    let (version, method, target) = request_line(lines.next()?)?;
    let mut fields = Fields::of_request(method, target);
    lines.fields(fields::of_request, &mut fields)?;
    Some((RequestHead::new(version, method, fields), lines.at))
}

/// The head, and its length.
pub(super) fn response(bytes: &[u8]) -> Option<(ResponseHead, usize)> {
    let mut lines = Lines { bytes, at: 0, read: 0 };
    let (version, status) = status_line(lines.next()?)?;
    let mut fields = Fields::default();
    lines.fields(fields::of_response, &mut fields)?;
    Some((ResponseHead::new(version, status, fields), lines.at))
}

/// Version, method and target. No control character passes.
pub(super) fn request_line(line: &[u8]) -> Option<(HttpVersion, &[u8], &[u8])> {
    let (line, version) = match line.split_last_chunk::<9>()? {
        (line, b" HTTP/1.1") => (line, HttpVersion::Http11),
        (line, b" HTTP/1.0") => (line, HttpVersion::Http10),
        _ => return None,
    };
    let method = line.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let (method, target) = line.split_at(method);
    let target = target.strip_prefix(b" ")?;
    let is_plain = !method.is_empty() && !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
    is_plain.then_some((version, method, target))
}

/// Version and status.
pub(super) fn status_line(line: &[u8]) -> Option<(HttpVersion, u16)> {
    let (version, line) = line.split_first_chunk::<9>()?;
    let version = match version {
        b"HTTP/1.1 " => HttpVersion::Http11,
        b"HTTP/1.0 " => HttpVersion::Http10,
        _ => return None,
    };
    let (digits, reason) = line.split_first_chunk::<3>()?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(reason, [] | [b' ', ..]) {
        return None;
    }
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    Some((version, status))
}

/// A line that stands alone, without its end; nothing where it ends otherwise or holds another control character.
pub(super) fn without_end(line: &[u8]) -> Option<&[u8]> {
    line.strip_suffix(LINE_END).filter(|line| controls(line) == 0)
}

struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Lines so far.
    read: usize,
}

impl<'a> Lines<'a> {
    /// The next line without its end; absent where there is none, or one that does not end like others.
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = memchr::memchr(b'\n', rest)?;
        self.at += end + 1;
        self.read += 1;
        rest[..end].strip_suffix(b"\r")
    }

    /// Takes the lines to the empty one, and of them what is of interest.
    fn fields(&mut self, of: impl Fn(&[u8]) -> Option<(Field, &[u8])>, fields: &mut Fields) -> Option<()> {
        loop {
            let line = self.next()?;
            match line.first() {
                // Control characters are worth httparse's judgement, wherever they are.
                None => return (controls(&self.bytes[..self.at]) == LINE_END.len() * self.read).then_some(()),
                // Goes on with the line before.
                Some(b' ') => return None,
                Some(_) => {}
            }
            if let Some((field, [b':', value @ ..])) = of(line) {
                fields.note(field, trimmed(value));
            }
        }
    }
}

const LINE_END: &[u8] = b"\r\n";

/// How many control characters there are (those below the space, and delete); counted eight bytes at a time.
fn controls(bytes: &[u8]) -> usize {
    const LOW_BITS: u64 = each(0x7f);
    // As many words as a byte can count.
    const WORDS: usize = u8::MAX as usize;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut total = rest.iter().filter(|byte| byte.is_ascii_control()).count();
    for words in words.chunks(WORDS) {
        let mut counts = 0;
        for word in words {
            let word = u64::from_ne_bytes(*word);
            // No sum reaches into the next byte: its highest bit says whether the byte's lower ones are at least a space,
            // or a delete.
            let (space_or_more, delete) =
                ((word & LOW_BITS) + each(0x80 - b' '), (word & LOW_BITS) + each(0x80 - 0x7f));
            let is_control = (!space_or_more | delete) & !word;
            counts += is_control >> 7 & each(1);
        }
        total += counts.to_ne_bytes().iter().map(|count| usize::from(*count)).sum::<usize>();
    }
    total
}

/// A word of which each byte is this one.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let Some(rest) = value.strip_prefix(b" ") {
        value = rest;
    }
    while let Some(rest) = value.strip_suffix(b" ") {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec::Vec};

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::http1::{
        carefully,
        head::{Head, Parsed},
    };

    fn same<H: Head + std::fmt::Debug>(plain: Option<(H, usize)>, careful: Parsed<H>) {
        let Some((head, length)) = plain else { return };
        let Parsed::Whole { head: expected, length: expected_length } = careful else { panic!("no head: {head:?}") };
        assert_eq!((format!("{head:?}"), length), (format!("{expected:?}"), expected_length));
    }

    fn check(bytes: &[u8]) {
        same(request(bytes), carefully::request(bytes));
        same(response(bytes), carefully::response(bytes));
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let name = select(
            &[
                "Host",
                "hOsT",
                "b3",
                "User-Agent",
                "traceparent",
                "TraceState",
                "Content-Length",
                "content-type",
                "Transfer-Encoding",
                "X-B3-TraceId",
                "x-b3-sampled",
                "X-Forwarded-For",
                "Grpc-Status",
                "grpc-timeout",
                "Upgrade",
                "Accept",
                "Cookie",
                "",
                " Host",
                "Host ",
                "b\u{1}3",
            ][..],
        );
        let value = prop_oneof![
            4 => "[ \t]{0,2}[ -~]{0,12}[ \t]{0,2}",
            2 => select(&["", " 5", "chunked", "7, 7", "gzip, chunked"][..]).prop_map(String::from),
            1 => "[\0-\u{ff}]{0,6}",
        ];
        let colon = select(&[": ", ":", ":", ""][..]);
        let end = prop_oneof![12 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
        (name, colon, value, end)
            .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}").into_bytes())
    }

    fn first_line() -> impl Strategy<Value = String> {
        let method = prop_oneof![select(&["GET", "HEAD", "CONNECT"][..]).prop_map(String::from), "[A-Za-z!]{0,4}"];
        let target = prop_oneof!["/[a-z?=]{0,20}", "[ -\u{100}]{0,5}"];
        let version = select(&["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2"][..]);
        prop_oneof![
            (method, target, version.clone())
                .prop_map(|(method, target, version)| { format!("{method} {target} {version}\r\n") }),
            (version, "[0-9 ]{2,4}", "[ -~\t\u{1}\u{e9}]{0,9}")
                .prop_map(|(version, status, reason)| { format!("{version} {status} {reason}\r\n") }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_plain_is_read_as_httparse_reads_it(
            first in first_line(),
            lines in vec(line(), 0..6),
            rest in select(&["\r\n", "\r\nGET / HTTP/1.1\r\n\r\n", "\n", ""][..]),
        ) {
            check(&[first.as_bytes(), &lines.concat(), rest.as_bytes()].concat());
        }

        #[test]
        fn a_byte_of_any_value_anywhere_changes_nothing(at in any::<proptest::sample::Index>(), byte: u8) {
            for head in HEADS {
                let mut bytes = head.to_vec();
                bytes[at.index(head.len())] = byte;
                check(&bytes);
            }
        }
    }

    const HEADS: [&[u8]; 2] = [
        b"POST /a?b=c HTTP/1.1\r\nHost: a:1\r\nAccept: x\r\ncontent-length: 3\r\nb3: 0\r\nX-Forwarded-For: b\r\n\r\nabc",
        b"HTTP/1.1 404 Not Found\r\nDate: now\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];

    #[test]
    fn control_characters_are_counted_among_thousands_of_bytes() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        let expected = bytes.iter().filter(|byte| byte.is_ascii_control()).count();
        assert_eq!(controls(&bytes), expected);
    }

    #[test]
    fn ordinary_heads_are_plain() {
        assert_eq!(request(HEADS[0]).map(|(_, length)| length), Some(HEADS[0].len() - 3));
        assert_eq!(response(HEADS[1]).map(|(_, length)| length), Some(HEADS[1].len()));
    }
}
