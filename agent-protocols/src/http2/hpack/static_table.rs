// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The static table (RFC 7541 appendix A), as far as anything of it is kept.
//!
//! In: an index from 1 to [`ENTRIES`]. Out: the field, the length of its name, and its value where it has one.

use super::super::field::Field;
use crate::http::Header;

pub(super) const ENTRIES: u32 = 61;

/// What stands at an index, and the length of its name.
pub(super) fn entry(index: u32) -> (Field, u32, &'static [u8]) {
    let (field, value): (_, &[u8]) = match index {
        1 => (Field::Authority, b""),
        2 => (Field::Method, b"GET"),
        3 => (Field::Method, b"POST"),
        4 => (Field::Path, b"/"),
        5 => (Field::Path, b"/index.html"),
        6 => (Field::Scheme, b"http"),
        7 => (Field::Scheme, b"https"),
        8 => (Field::Status, b"200"),
        9 => (Field::Status, b"204"),
        10 => (Field::Status, b"206"),
        11 => (Field::Status, b"304"),
        12 => (Field::Status, b"400"),
        13 => (Field::Status, b"404"),
        14 => (Field::Status, b"500"),
        31 => (Field::Kept(Header::ContentType), b""),
        38 => (Field::Kept(Header::Host), b""),
        58 => (Field::Kept(Header::UserAgent), b""),
        // Their values are empty, but for one that is not kept either.
        _ => (Field::Other, b""),
    };
    (field, NAME_BYTES[index as usize - 1].into(), value)
}

/// The lengths of the names, which count for the size of entries that take their name from here.
const NAME_BYTES: [u8; ENTRIES as usize] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4,
    4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];
