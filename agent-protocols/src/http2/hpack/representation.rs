// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fields of a header block as they stand on the wire (RFC 7541 sections 5 and 6).
//!
//! In: a whole header block. Out: its representations in order, borrowed from it, or that it is malformed.
//! Does not: know a table; what an index stands for is the decoder's business.

use alloc::vec::Vec;

use super::{Malformed, huffman};

pub(super) enum Representation<'a> {
    Indexed(u32),
    Literal {
        name: Name<'a>,
        value: Text<'a>,
        /// It becomes the newest entry of the table.
        inserts: bool,
    },
    /// The table has this size from here on.
    Resize(u32),
}

pub(super) enum Name<'a> {
    Index(u32),
    Text(Text<'a>),
}

/// A string literal.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    is_coded: bool,
}

impl Text<'_> {
    /// Appends the text, and gives its length.
    pub(super) fn decode_into(self, out: &mut Vec<u8>) -> Result<usize, Malformed> {
        let before = out.len();
        if self.is_coded {
            huffman::decode(self.bytes, |byte| out.push(byte))?;
        } else {
            out.extend_from_slice(self.bytes);
        }
        Ok(out.len() - before)
    }

    /// Its length, of which a table needs to know even where the text is of no interest.
    pub(super) fn length(self) -> Result<usize, Malformed> {
        if !self.is_coded {
            return Ok(self.bytes.len());
        }
        let mut length = 0;
        huffman::decode(self.bytes, |_| length += 1)?;
        Ok(length)
    }
}

pub(super) struct Representations<'a> {
    rest: &'a [u8],
    /// A field has come: from here on the table's size does not change (RFC 7541 section 4.2).
    has_field: bool,
}

impl<'a> Representations<'a> {
    pub(super) const fn new(block: &'a [u8]) -> Self {
        Self { rest: block, has_field: false }
    }

    fn representation(&mut self, first: u8) -> Result<Representation<'a>, Malformed> {
        if first & 0xe0 == 0x20 {
            let size = self.integer(5)?;
            return if self.has_field { Err(Malformed) } else { Ok(Representation::Resize(size)) };
        }
        self.has_field = true;
        if first & 0x80 != 0 {
            return Ok(Representation::Indexed(self.integer(7)?));
        }
        let inserts = first & 0x40 != 0;
        let name = match self.integer(if inserts { 6 } else { 4 })? {
            0 => Name::Text(self.text()?),
            index => Name::Index(index),
        };
        Ok(Representation::Literal { name, value: self.text()?, inserts })
    }

    fn text(&mut self) -> Result<Text<'a>, Malformed> {
        let is_coded = self.rest.first().ok_or(Malformed)? & 0x80 != 0;
        let length = self.integer(7)? as usize;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(Text { bytes, is_coded })
    }

    /// Section 5.1. Numbers that do not fit 32 bits count nothing that could be meant.
    fn integer(&mut self, prefix_bits: u32) -> Result<u32, Malformed> {
        let mask = (1 << prefix_bits) - 1;
        let mut value = u64::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value as u32);
        }
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Malformed);
            }
        }
        Err(Malformed)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*byte)
    }
}

impl<'a> Iterator for Representations<'a> {
    type Item = Result<Representation<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = *self.rest.first()?;
        Some(self.representation(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(bytes: &[u8], prefix_bits: u32) -> Result<u32, Malformed> {
        Representations::new(bytes).integer(prefix_bits)
    }

    #[test]
    fn integers_of_appendix_c_1() {
        assert_eq!(integer(&[0b0000_1010], 5), Ok(10));
        assert_eq!(integer(&[0b0001_1111, 0b1001_1010, 0b0000_1010], 5), Ok(1337));
        assert_eq!(integer(&[42], 8), Ok(42));
    }

    #[test]
    fn integers_without_an_end_or_beyond_measure() {
        assert_eq!(integer(&[0x1f, 0x80], 5), Err(Malformed));
        assert_eq!(integer(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0], 5), Err(Malformed));
        assert_eq!(integer(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0x0f], 5), Err(Malformed));
        assert_eq!(integer(&[0x1f, 0xe0, 0xff, 0xff, 0xff, 0x0f], 5), Ok(u32::MAX));
    }
}
