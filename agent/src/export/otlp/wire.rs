// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Protobuf, written: fields in, bytes at the end of a buffer out. It knows no message of OTLP.
//!
//! Written by hand because the generated types own their strings: filling one per span costs an allocation per
//! attribute, only to be copied once more into the request. Reading, where the bytes are a stranger's, is left to prost.

/// Field of a message, as its `.proto` file numbers it. Below 16, so that a tag is one byte.
#[derive(Clone, Copy, Debug)]
pub struct Field(u8);

impl Field {
    /// # Panics
    /// Where the number does not fit a tag of one byte; fields are constants, so that the compiler says so.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        assert!(number > 0 && number < 16, "a tag of one byte");
        Self(number)
    }

    /// The tag of this field when it is length-delimited.
    #[must_use]
    pub const fn delimited_tag(self) -> u8 {
        (self.0 << 3) | DELIMITED
    }
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const DELIMITED: u8 = 2;

/// Appends fields; defaults are written where asked, which every reader accepts.
pub struct Writer<'buffer>(pub &'buffer mut Vec<u8>);

impl Writer<'_> {
    #[inline]
    pub fn varint(&mut self, field: Field, value: u64) {
        self.0.push((field.0 << 3) | VARINT);
        push_varint(self.0, value);
    }

    #[inline]
    pub fn fixed64(&mut self, field: Field, value: u64) {
        self.0.push((field.0 << 3) | FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub fn bytes(&mut self, field: Field, value: &[u8]) {
        self.0.push(field.delimited_tag());
        push_varint(self.0, value.len() as u64);
        self.0.extend_from_slice(value);
    }

    #[inline]
    pub fn text(&mut self, field: Field, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// The beginning of a message of so many bytes; what follows is its content.
    #[inline]
    pub fn delimited(&mut self, field: Field, length: usize) {
        self.0.push(field.delimited_tag());
        push_varint(self.0, length as u64);
    }

    /// A message inside this one whose length is not known before. Room is kept for the length that most of these have,
    /// `usual_prefix` bytes; a message of another size is moved.
    pub fn message<const USUAL_PREFIX: usize>(&mut self, field: Field, fill: impl FnOnce(&mut Writer<'_>)) {
        self.0.push(field.delimited_tag());
        let at = self.0.len();
        self.0.extend_from_slice(&[0; USUAL_PREFIX]);
        let start = self.0.len();
        fill(&mut Writer(self.0));
        let end = self.0.len();
        let mut prefix = [0; MAX_VARINT_BYTES];
        let prefix = varint(&mut prefix, (end - start) as u64);
        if prefix.len() != USUAL_PREFIX {
            self.0.resize(end.max(end + prefix.len() - USUAL_PREFIX), 0);
            self.0.copy_within(start..end, at + prefix.len());
            self.0.truncate(at + prefix.len() + end - start);
        }
        self.0[at..at + prefix.len()].copy_from_slice(prefix);
    }
}

/// Bytes of a length-delimited field with so much content.
#[must_use]
pub const fn delimited_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}

/// Seven bits a byte: 64 bits need ten.
const MAX_VARINT_BYTES: usize = 10;

fn varint(buffer: &mut [u8; MAX_VARINT_BYTES], mut value: u64) -> &[u8] {
    let mut length = 0;
    while value >= 0x80 {
        buffer[length] = value as u8 | 0x80;
        value >>= 7;
        length += 1;
    }
    buffer[length] = value as u8;
    &buffer[..=length]
}

#[inline]
pub fn push_varint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        out.extend_from_slice(varint(&mut [0; MAX_VARINT_BYTES], value));
    }
}

/// Bytes that `value` takes as a varint.
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    if value < 0x80 {
        return 1;
    }
    let bits = (u64::BITS - value.leading_zeros()) as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use prost::encoding::{decode_varint, encoded_len_varint};

    use super::*;

    #[test]
    fn varints_are_read_back_by_prost() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                push_varint(&mut bytes, value);
                assert_eq!(decode_varint(&mut bytes.as_slice()), Ok(value));
                assert_eq!(bytes.len(), encoded_len_varint(value));
                assert_eq!(varint_len(value), bytes.len());
            }
        }
    }

    #[test]
    fn a_nested_message_has_its_length_before_it_at_every_size() {
        const INNER: Field = Field::new(1);
        for size in [0, 1, 125, 126, 127, 128, 16_380, 16_384, 70_000] {
            let text = "x".repeat(size);
            let mut bytes = vec![9];
            Writer(&mut bytes).message::<1>(INNER, |inner| inner.message::<2>(INNER, |inner| inner.text(INNER, &text)));
            let mut rest = &bytes[1..];
            for _ in 0..3 {
                assert_eq!(rest[0], INNER.delimited_tag());
                rest = &rest[1..];
                assert_eq!(decode_varint(&mut rest), Ok(rest.len() as u64), "of {size}");
            }
            assert_eq!(rest, text.as_bytes());
        }
    }
}
