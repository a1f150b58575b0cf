// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The chunked transfer coding (RFC 9112 section 7.1), a byte at a time where it must be and a chunk where it can.
//!
//! In: the bytes of a chunked body, and gaps. Out: where it ends, trailers included.
//! Does not: keep data, extensions or trailers. httparse reads a chunk's size only from a whole line in one slice.

use super::body::Step;

/// Digits of a chunk's size. Larger: the size no longer fits 64 bits. Smaller: a size written with leading zeros is
/// refused.
const SIZE_DIGITS: u8 = 16;

#[derive(Clone, Copy, Debug)]
pub(super) enum Chunks {
    Size {
        size: u64,
        digits: u8,
    },
    /// The rest of the line with the size: extensions, which nobody needs.
    Extension {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// The line break behind the data.
    DataEnd,
    /// A line of the trailer section; the empty one ends the body.
    Trailer {
        empty: bool,
    },
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self::Size { size: 0, digits: 0 }
    }

    pub(super) fn read(&mut self, bytes: &[u8], counted: &mut u64) -> Step {
        self.read_data(bytes, counted, |_| {})
    }

    /// Shows what of the bytes is data.
    pub(super) fn read_data(&mut self, bytes: &[u8], counted: &mut u64, mut show: impl FnMut(&[u8])) -> Step {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used) {
            *self = match *self {
                Self::Size { size, digits } => match (byte, hex_value(byte)) {
                    (_, Some(value)) if digits < SIZE_DIGITS => {
                        Self::Size { size: size << 4 | value, digits: digits + 1 }
                    }
                    (b'\n', _) if digits > 0 => Self::after_size(size),
                    (b';' | b'\r' | b' ' | b'\t', _) if digits > 0 => Self::Extension { size },
                    _ => return Step::Astray,
                },
                Self::Extension { size } if byte == b'\n' => Self::after_size(size),
                Self::Extension { size } => Self::Extension { size },
                Self::Data { left } => {
                    let available = (bytes.len() - used) as u64;
                    let taken = left.min(available);
                    *counted = counted.saturating_add(taken);
                    *self = Self::after_data(left - taken);
                    let data = &bytes[used..][..usize::try_from(taken).expect("no more than there is in the slice")];
                    show(data);
                    if taken == available {
                        return Step::Inside;
                    }
                    used += data.len();
                    continue;
                }
                Self::DataEnd if byte == b'\r' => Self::DataEnd,
                Self::DataEnd if byte == b'\n' => Self::new(),
                Self::DataEnd => return Step::Astray,
                Self::Trailer { empty: true } if byte == b'\n' => return Step::Ended { used: used as u64 + 1 },
                Self::Trailer { empty } => Self::Trailer { empty: byte == b'\n' || (empty && byte == b'\r') },
            };
            used += 1;
        }
        Step::Inside
    }

    /// Bytes that are not known can be stepped over inside a chunk's data, and nowhere else.
    pub(super) fn skip(&mut self, length: u64, counted: &mut u64) -> Step {
        match *self {
            Self::Data { left } if length <= left => {
                *counted = counted.saturating_add(length);
                *self = Self::after_data(left - length);
                Step::Inside
            }
            _ => Step::Astray,
        }
    }

    const fn after_size(size: u64) -> Self {
        if size == 0 { Self::Trailer { empty: true } } else { Self::Data { left: size } }
    }

    const fn after_data(left: u64) -> Self {
        if left == 0 { Self::DataEnd } else { Self::Data { left } }
    }
}

fn hex_value(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}
