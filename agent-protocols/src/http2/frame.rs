// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frame headers (RFC 9113 section 4.1 and 6).
//!
//! In: nine bytes. Out: the header; whether it can be one at all; whether these bytes are likely to be one where nobody
//! knows that a frame begins.
//! Does not: see payloads.

pub(super) const HEADER_BYTES: usize = 9;

/// The largest payload before anybody speaks of it (section 4.2).
pub(super) const DEFAULT_PAYLOAD_BYTES: u32 = 16_384;

/// The largest that a length can say.
pub(super) const ANY_PAYLOAD_BYTES: u32 = (1 << 24) - 1;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY: u8 = 0x20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// To be ignored by whoever does not know it.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) length: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
    has_reserved_bit: bool,
}

impl FrameHeader {
    pub(super) fn parse(bytes: [u8; HEADER_BYTES]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let stream = u32::from_be_bytes(stream);
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::Reset,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            _ => Kind::Other,
        };
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: stream & STREAM_BITS,
            has_reserved_bit: stream & !STREAM_BITS != 0,
        }
    }

    /// The header that these bytes begin with, if there are enough.
    pub(super) fn first_of(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self::parse)
    }

    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) const fn ends_stream(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers) && self.has(END_STREAM)
    }

    /// No peer may send anything else; where something else stands, the place was lost, or the connection is over.
    pub(super) const fn is_legal(&self, most_payload_bytes: u32) -> bool {
        let fits = match self.kind {
            Kind::Data | Kind::Headers => self.stream != 0 && (!self.has(PADDED) || self.length > 0),
            Kind::PushPromise => self.stream != 0 && self.length >= 4,
            Kind::Priority | Kind::Continuation => self.stream != 0,
            Kind::Reset => self.stream != 0 && self.length == 4,
            Kind::Settings => self.stream == 0 && self.length.is_multiple_of(6) && (!self.has(ACK) || self.length == 0),
            Kind::Ping => self.stream == 0 && self.length == 8,
            Kind::GoAway => self.stream == 0 && self.length >= 8,
            Kind::WindowUpdate => self.length == 4,
            Kind::Other => true,
        };
        fits && self.length <= most_payload_bytes
    }

    /// What nobody forbids and nobody does speaks against it, too: flags without a meaning, a reserved bit, frames of a
    /// kind that is not known, frames that say nothing. Of random bytes one in 2²⁰ passes, of zeros none.
    pub(super) const fn is_likely(&self, most_payload_bytes: u32) -> bool {
        let flags = match self.kind {
            Kind::Data => END_STREAM | PADDED,
            Kind::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Kind::PushPromise => END_HEADERS | PADDED,
            Kind::Settings | Kind::Ping => ACK,
            Kind::Continuation => END_HEADERS,
            Kind::Priority | Kind::Reset | Kind::GoAway | Kind::WindowUpdate => 0,
            Kind::Other => return false,
        };
        let says_something = match self.kind {
            Kind::Data => self.length > 0 || self.has(END_STREAM),
            Kind::Headers => self.length > 0,
            Kind::Priority => self.length == 5,
            _ => true,
        };
        self.flags & !flags == 0 && says_something && !self.has_reserved_bit && self.is_legal(most_payload_bytes)
    }
}

/// All but the reserved one.
pub(super) const STREAM_BITS: u32 = (1 << 31) - 1;

/// The part of a payload between its padding's length and its padding. None where that is longer than what is there.
pub(super) fn without_padding<'a>(header: &FrameHeader, payload: &'a [u8]) -> Option<&'a [u8]> {
    if !header.has(PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.len().checked_sub(usize::from(*padding)).map(|length| &rest[..length])
}

/// What stands before the header block in a frame that begins one: a priority, or the promised stream.
pub(super) fn block_of<'a>(header: &FrameHeader, payload: &'a [u8]) -> Option<(u32, &'a [u8])> {
    let payload = without_padding(header, payload)?;
    match header.kind {
        Kind::PushPromise => {
            let (promised, block) = payload.split_first_chunk()?;
            Some((u32::from_be_bytes(*promised) & STREAM_BITS, block))
        }
        _ if header.has(PRIORITY) => Some((header.stream, payload.get(5..)?)),
        _ => Some((header.stream, payload)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_likely(bytes: [u8; 9]) -> bool {
        FrameHeader::parse(bytes).is_likely(DEFAULT_PAYLOAD_BYTES)
    }

    #[test]
    fn what_is_likely() {
        assert!(is_likely([0, 0, 4, 8, 0, 0, 0, 0, 0]));
        assert!(is_likely([0, 0, 1, 1, 0x25, 0, 0, 0, 3]));
        assert!(is_likely([0, 0, 0, 0, 1, 0, 0, 0, 3]));
        assert!(!is_likely([0; 9]));
        assert!(!is_likely([0, 0, 0, 0, 0, 0, 0, 0, 5]));
        assert!(!is_likely([0, 0, 5, 8, 0, 0, 0, 0, 0]));
        assert!(!is_likely([0, 0, 1, 1, 0x40, 0, 0, 0, 3]));
        assert!(!is_likely([0, 0, 1, 1, 4, 0x80, 0, 0, 3]));
        assert!(!is_likely([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]));
        assert!(!is_likely([0x17, 3, 3, 0, 0x40, 1, 0, 1, 0xfc]));
    }

    #[test]
    fn padding_that_is_longer_than_its_frame() {
        let header = FrameHeader::parse([0, 0, 4, 0, PADDED, 0, 0, 0, 1]);
        assert_eq!(without_padding(&header, &[2, b'a', 0, 0]), Some(&b"a"[..]));
        assert_eq!(without_padding(&header, &[3, b'a', 0, 0]), Some(&b""[..]));
        assert_eq!(without_padding(&header, &[4, b'a', 0, 0]), None);
    }
}
