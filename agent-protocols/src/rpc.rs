// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The messages inside the body of a gRPC call: five bytes before each say how long it is.
//!
//! In: the body of one side of a call, and what of it was lost. Out: how many messages there were, and of how many bytes;
//! for gRPC-Web, whose last message holds the trailers, the status in them.
//! Does not: keep messages. A gap inside a message is stepped over; one that hides a length ends the count.

use alloc::vec::Vec;

use crate::message::Messages;

/// Set in the first byte before gRPC-Web's trailers.
const IS_TRAILERS: u8 = 0x80;

/// Set in the first byte before a message that is compressed; nothing else is, over HTTP/2.
const IS_COMPRESSED: u8 = 0x01;

/// Bytes of gRPC-Web's trailers that are read. Larger: memory, for the time of one call's end. Smaller: a status behind a
/// long message is not found.
const TRAILERS_BYTES: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct MessageWalk {
    messages: Messages,
    prefix: [u8; 5],
    /// Bytes of the next prefix that have come.
    count: u8,
    /// Bytes of the message that have not come.
    left: u32,
    is_lost: bool,
    /// A prefix has said what gRPC's do not.
    is_odd: bool,
    /// The text of gRPC-Web's trailers, while they last.
    trailers: Option<Vec<u8>>,
}

impl MessageWalk {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_lost {
            if self.left > 0 {
                let (message, rest) = bytes.split_at(bytes.len().min(self.left as usize));
                self.left -= message.len() as u32;
                bytes = rest;
                if let Some(trailers) = &mut self.trailers {
                    let room = TRAILERS_BYTES.saturating_sub(trailers.len());
                    trailers.extend_from_slice(&message[..message.len().min(room)]);
                }
                continue;
            }
            let count = usize::from(self.count);
            let (part, rest) = bytes.split_at(bytes.len().min(self.prefix.len() - count));
            self.prefix[count..count + part.len()].copy_from_slice(part);
            self.count += part.len() as u8;
            bytes = rest;
            if usize::from(self.count) == self.prefix.len() {
                self.begin_message();
            }
        }
    }

    fn begin_message(&mut self) {
        let [flags, length @ ..] = self.prefix;
        self.count = 0;
        self.left = u32::from_be_bytes(length);
        self.is_odd |= flags & !IS_COMPRESSED != 0;
        if flags & IS_TRAILERS == 0 {
            self.messages.count += 1;
            self.messages.bytes += u64::from(self.left);
        } else {
            self.trailers = Some(Vec::new());
        }
    }

    /// So many bytes are lost.
    pub(crate) fn skip(&mut self, length: u64) {
        self.trailers = None;
        match u32::try_from(length) {
            Ok(length) if length <= self.left => self.left -= length,
            _ => self.is_lost |= length > 0,
        }
    }

    /// Nobody knows how many bytes are lost.
    pub(crate) fn lose(&mut self) {
        self.trailers = None;
        self.is_lost = true;
    }

    pub(crate) fn messages(&self) -> Option<Messages> {
        (!self.is_lost).then_some(self.messages)
    }

    /// The body consists of messages of gRPC, each whole, and of nothing else.
    pub(crate) const fn is_exact(&self) -> bool {
        !self.is_lost && !self.is_odd && self.left == 0 && self.count == 0
    }

    /// The status in gRPC-Web's trailers.
    pub(crate) fn status(&self) -> Option<u32> {
        self.trailers.as_ref()?.split(|byte| *byte == b'\n').find_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            let value = str::from_utf8(&value[1..]).ok().filter(|_| name.eq_ignore_ascii_case(b"grpc-status"))?;
            value.trim().parse().ok()
        })
    }
}

/// Whether a call whose request says this type is one of gRPC-Web whose messages can be walked.
pub(crate) fn is_web(content_type: &[u8]) -> bool {
    content_type.starts_with(b"application/grpc-web") && is_walked(content_type)
}

/// Whether a body of this type is made of messages. Those of `grpc-web-text` are too, but in base64.
pub(crate) fn is_walked(content_type: &[u8]) -> bool {
    let Some(rest) = content_type.strip_prefix(b"application/grpc") else { return false };
    let rest = rest.strip_prefix(b"-web").unwrap_or(rest);
    matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"\0\0\0\0\x03abc\x01\0\0\0\0\0\0\0\0\x02xy";
    const WEB: &[u8] = b"\0\0\0\0\x01a\x80\0\0\0\x22grpc-message:a:b\r\ngrpc-Status: 13\r\n";

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        for at in 0..BODY.len() {
            let mut walk = MessageWalk::default();
            walk.push(&BODY[..at]);
            walk.push(&BODY[at..]);
            assert_eq!(walk.messages(), Some(Messages { count: 3, bytes: 5 }));
            assert_eq!(walk.status(), None);
        }
    }

    #[test]
    fn a_gap_inside_a_message_hides_nothing_and_another_ends_the_count() {
        for (begin, end) in (0..BODY.len()).flat_map(|begin| (begin + 1..=BODY.len()).map(move |end| (begin, end))) {
            let mut walk = MessageWalk::default();
            walk.push(&BODY[..begin]);
            walk.skip((end - begin) as u64);
            walk.push(&BODY[end..]);
            let is_inside = |range: core::ops::RangeInclusive<usize>| range.contains(&begin) && range.contains(&end);
            let expected = (is_inside(5..=8) || is_inside(18..=20)).then_some(Messages { count: 3, bytes: 5 });
            assert_eq!(walk.messages(), expected, "{begin}..{end}");
        }
    }

    #[test]
    fn what_is_exact() {
        for at in 0..=BODY.len() {
            let mut walk = MessageWalk::default();
            walk.push(&BODY[..at]);
            assert_eq!(walk.is_exact(), [0, 8, 13, BODY.len()].contains(&at), "{at}");
        }
        for other in [&b"{\"a\":1}"[..], b"\x02\0\0\0\x01a", b"a=b", WEB] {
            let mut walk = MessageWalk::default();
            walk.push(other);
            assert!(!walk.is_exact(), "{other:?}");
        }
    }

    #[test]
    fn web_trailers_hold_the_status() {
        for at in 0..WEB.len() {
            let mut walk = MessageWalk::default();
            walk.push(&WEB[..at]);
            walk.push(&WEB[at..]);
            assert_eq!((walk.messages(), walk.status()), (Some(Messages { count: 1, bytes: 1 }), Some(13)));
        }
    }

    #[test]
    fn types() {
        for walked in ["application/grpc", "application/grpc+proto", "application/grpc-web+proto", "application/grpc;x"]
        {
            assert!(is_walked(walked.as_bytes()), "{walked}");
        }
        for other in ["application/json", "application/grpc-web-text", "application/grpcx", ""] {
            assert!(!is_walked(other.as_bytes()), "{other}");
        }
    }
}
