// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B), decoded by table.
//!
//! In: coded bytes. Out: each byte of the text. The code is canonical: the lengths below are all there is to it. Codes
//! of up to eight bits, which are those of nearly all text, take one look-up; the others one comparison a length more.

use super::Malformed;

/// Bits of the code of each byte. EOS, with 30 bits as some others, is the last code of all.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26,
];

const LONGEST: usize = 30;

/// By the next eight bits: the byte, and the length of its code; zero where that is longer.
const SHORT: [(u8, u8); 256] = short_codes();

/// The bytes in the order of their codes.
const BY_CODE: [u8; 256] = by_code();

/// By length: where its codes end, as the first bits of a word; and where they lie in [`BY_CODE`].
const LONG: [Long; LONGEST + 1] = long_codes();

#[derive(Clone, Copy)]
struct Long {
    /// The first code, and the one behind the last, moved to the top of 32 bits.
    first: u64,
    end: u64,
    index: usize,
}

/// Gives each byte of the text to `tell`.
pub(super) fn decode(coded: &[u8], mut tell: impl FnMut(u8)) -> Result<(), Malformed> {
    let mut coded = coded.iter();
    // The bits that were read and not used, from the top.
    let (mut bits, mut count) = (0_u64, 0_u32);
    loop {
        while count <= 56
            && let Some(byte) = coded.next()
        {
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        let (byte, length) = match SHORT[(bits >> 56) as usize] {
            (_, 0) => long_code(bits >> 32).unwrap_or((0, u8::MAX)),
            short => short,
        };
        if u32::from(length) > count {
            // What is left is padding: less than a byte, and all ones.
            let is_padding = count < 8 && bits >> 56 == u64::from(!(0xff_u8 >> count));
            return if is_padding { Ok(()) } else { Err(Malformed) };
        }
        tell(byte);
        bits <<= length;
        count -= u32::from(length);
    }
}

/// The byte with a code of more than eight bits, by the next 32 bits; none for EOS, which never stands in a text.
fn long_code(bits: u64) -> Option<(u8, u8)> {
    let length = (9..=LONGEST).find(|length| bits < LONG[*length].end)?;
    let Long { first, index, .. } = LONG[length];
    let offset = (bits - first) >> (32 - length);
    Some((BY_CODE[index + offset as usize], length as u8))
}

const fn by_code() -> [u8; 256] {
    let (mut bytes, mut at, mut length) = ([0; 256], 0, 0);
    while length <= LONGEST {
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                bytes[at] = byte as u8;
                at += 1;
            }
            byte += 1;
        }
        length += 1;
    }
    bytes
}

const fn long_codes() -> [Long; LONGEST + 1] {
    let mut lengths = [Long { first: 0, end: 0, index: 0 }; LONGEST + 1];
    let (mut code, mut index, mut length) = (0, 0, 1);
    while length <= LONGEST {
        code <<= 1;
        let first = code;
        let start = index;
        while index < 256 && LENGTHS[BY_CODE[index] as usize] as usize == length {
            code += 1;
            index += 1;
        }
        let top = 32 - length;
        lengths[length] = Long { first: first << top, end: code << top, index: start };
        length += 1;
    }
    lengths
}

const fn short_codes() -> [(u8, u8); 256] {
    let (mut table, mut next) = ([(0, 0); 256], 0);
    let mut index = 0;
    while index < 256 {
        let byte = BY_CODE[index];
        let length = LENGTHS[byte as usize];
        if length > 8 {
            break;
        }
        let mut entries = 1 << (8 - length);
        while entries > 0 {
            table[next] = (byte, length);
            next += 1;
            entries -= 1;
        }
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn code_of(byte: u8) -> (u64, u32) {
        let length = usize::from(LENGTHS[usize::from(byte)]);
        let index = BY_CODE.iter().position(|other| *other == byte).unwrap();
        let long = LONG[length];
        ((long.first >> (32 - length)) + (index - long.index) as u64, length as u32)
    }

    fn encode(text: &[u8]) -> Vec<u8> {
        let (mut coded, mut bits, mut count) = (vec![], 0_u64, 0);
        for byte in text {
            let (code, length) = code_of(*byte);
            bits = bits << length | code;
            count += length;
            while count >= 8 {
                count -= 8;
                coded.push((bits >> count) as u8);
            }
            bits &= (1 << count) - 1;
        }
        if count > 0 {
            coded.push((bits << (8 - count)) as u8 | 0xff >> count);
        }
        coded
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut text = vec![];
        decode(coded, |byte| text.push(byte)).map(|()| text)
    }

    #[test]
    fn codes_of_appendix_b() {
        assert_eq!(code_of(b'0'), (0x0, 5));
        assert_eq!(code_of(b'z'), (0x7b, 7));
        assert_eq!(code_of(b'\\'), (0x7fff0, 19));
        assert_eq!(code_of(0), (0x1ff8, 13));
        assert_eq!(code_of(10), (0x3fff_fffc, 30));
        assert_eq!(code_of(22), (0x3fff_fffe, 30));
        assert_eq!(code_of(255), (0x3ff_ffee, 26));
    }

    #[test]
    fn padding_is_short_and_of_ones() {
        assert_eq!(decoded(b"\x07"), Ok(b"0".to_vec()));
        for wrong in [&b"\x06"[..], b"\x07\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc", b"\0\0\0\0\0\0\0\xff\xff"] {
            assert_eq!(decoded(wrong), Err(Malformed), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn texts_come_out_as_they_went_in(text in any::<Vec<u8>>()) {
            prop_assert_eq!(decoded(&encode(&text)), Ok(text));
        }
    }
}
