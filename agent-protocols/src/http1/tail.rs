// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The likely end of a chunked body whose framing was lost.
//!
//! In: bytes behind a gap. Out: whether a piece ended the way a chunked body without trailers ends.
//! Bias: data that holds the same seven bytes where a piece happens to end is taken for the end, and the exchange,
//! flagged as having lost bytes, ends too early. The other mistake would be worse and frequent: a large chunked body
//! past the capture budget would last until the connection's next request. Ends with trailers are not seen.

/// The last seven bytes, the newest lowest; zero where there were fewer since the gap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tail(u64);

const LAST_CHUNK: u64 = u64::from_be_bytes(*b"\0\0\r\n0\r\n\r") << 8 | b'\n' as u64;
const LENGTH: usize = 7;
const MASK: u64 = (1 << (8 * LENGTH)) - 1;

impl Tail {
    /// Takes the next piece; true if the body has likely ended with it.
    pub(super) fn push(&mut self, piece: &[u8]) -> bool {
        for &byte in &piece[piece.len().saturating_sub(LENGTH)..] {
            self.0 = (self.0 << 8 | u64::from(byte)) & MASK;
        }
        self.0 == LAST_CHUNK & MASK || self.0 == LAST_CHUNK_ALONE
    }
}

/// The last chunk right behind the gap.
const LAST_CHUNK_ALONE: u64 = LAST_CHUNK & ((1 << (8 * (LENGTH - 2))) - 1);
