// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The head before, for the next one: on one connection they are mostly the same, but for the first line.
//!
//! In: bytes that begin where a head is due. Out: what they would be parsed to, where all behind the first line is byte for
//! byte what was parsed last.
//! Does not: remember large ones.

use alloc::{boxed::Box, vec::Vec};

use super::head::Head;

/// Bytes of a head that is remembered. Larger: memory, for each direction of a connection that is in use. Smaller: the
/// requests of browsers are parsed one by one.
const REMEMBERED_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct Again<H>(Option<Box<Last<H>>>);

#[derive(Debug)]
struct Last<H> {
    bytes: Vec<u8>,
    /// Of the first line, with its end.
    line_bytes: usize,
    head: H,
}

impl<H> Default for Again<H> {
    fn default() -> Self {
        Self(None)
    }
}

impl<H: Head> Again<H> {
    /// The head that `bytes` begin with, and its length.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<(H, usize)> {
        let last = self.0.as_ref()?;
        if bytes.starts_with(&last.bytes) {
            return Some((last.head.clone(), last.bytes.len()));
        }
        let line_bytes = memchr::memchr(b'\n', bytes)? + 1;
        let (line, rest) = bytes.split_at(line_bytes);
        let fields = &last.bytes[last.line_bytes..];
        if !rest.starts_with(fields) {
            return None;
        }
        Some((last.head.with_line(line)?, line_bytes + fields.len()))
    }

    /// This is the head of which `bytes` are the whole.
    pub(super) fn remember(&mut self, bytes: &[u8], head: &H) {
        if bytes.len() > REMEMBERED_BYTES {
            return;
        }
        let Some(line_bytes) = memchr::memchr(b'\n', bytes).map(|end| end + 1) else { return };
        let last = self.0.get_or_insert_with(|| Box::new(Last { bytes: Vec::new(), line_bytes, head: head.clone() }));
        last.bytes.clear();
        last.bytes.reserve_exact(bytes.len());
        last.bytes.extend_from_slice(bytes);
        last.line_bytes = line_bytes;
        last.head.clone_from(head);
    }

    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::{format, vec::Vec};

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::http1::head::{Parsed, RequestHead, ResponseHead};

    const LINES: [&str; 9] = [
        "GET / HTTP/1.1\r\n",
        "GET /other?a=b HTTP/1.1\r\n",
        "CONNECT a:1 HTTP/1.0\r\n",
        "get / HTTP/1.1\n",
        "GET /\u{1} HTTP/1.1\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 404 Not\tFound\r\n",
        "HTTP/1.0 204\r\n",
        "HTTP/1.1 20 OK\r\n",
    ];
    const FIELDS: [&str; 7] = [
        "\r\n",
        "Host: a\r\nContent-Length: 5\r\n\r\n",
        "Host: a\r\nContent-Length: 5\r\n",
        "Host: b\r\nUser-Agent: c\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Host: b\r\ntraceparent: d\r\n\r\n",
        "Host: a\r\n folded\r\n\r\n",
        "Host: \u{1}\r\n\r\n",
    ];

    /// Whatever came before, a head says what its bytes say. Gives how many were not parsed.
    fn check<H: Head + std::fmt::Debug>(heads: &[Vec<u8>]) -> Result<usize, TestCaseError> {
        let (mut again, mut repeated) = (Again::<H>::default(), 0);
        for bytes in heads {
            let parsed = H::parse(bytes);
            if let Some((head, length)) = again.read(bytes) {
                let Parsed::Whole { head: expected, length: expected_length } = &parsed else {
                    return Err(TestCaseError::fail(format!("no head: {head:?}")));
                };
                prop_assert_eq!((format!("{head:?}"), length), (format!("{expected:?}"), *expected_length));
                repeated += 1;
            }
            if let Parsed::Whole { head, length } = &parsed {
                again.remember(&bytes[..*length], head);
            }
        }
        Ok(repeated)
    }

    proptest! {
        #[test]
        fn a_head_like_the_one_before_is_read_as_if_it_were_the_first(
            heads in vec((select(&LINES[..]), select(&FIELDS[..]), select(&["", "abcde", "GET"][..])), 1..12),
        ) {
            let heads: Vec<_> = heads.iter().map(|(line, fields, body)| [*line, fields, body].concat().into()).collect();
            check::<RequestHead>(&heads)?;
            check::<ResponseHead>(&heads)?;
        }
    }

    #[test]
    fn only_a_first_line_that_differs_is_parsed() {
        let heads = |lines: &[&str]| lines.iter().map(|line| [line, FIELDS[1]].concat().into()).collect::<Vec<_>>();
        assert_eq!(check::<RequestHead>(&heads(&[LINES[0], LINES[0], LINES[1], LINES[2]])).ok(), Some(3));
        assert_eq!(check::<ResponseHead>(&heads(&[LINES[5], LINES[5], LINES[7]])).ok(), Some(2));
    }
}
