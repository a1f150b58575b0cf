// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fields of one header block, as far as they are kept.
//!
//! In: fields from the decoder, in order. Out: what kind of block it is, and the head that it makes.
//! Reused for every block of a connection, so that an ordinary block allocates nothing here.

use alloc::vec::Vec;

use super::{MAX_HEAD_BYTES, field::Field, hpack::Malformed};
use crate::http::{Header, HttpRequest, HttpVersion, Kept};

/// Fields that are kept of one block. Larger: a block that repeats one short reference over and over takes more memory.
/// Smaller: nobody sends so many of the few fields that are kept.
const MOST_FIELDS: usize = 256;

/// Memory that stays between blocks. Larger: each connection that once had a large head keeps more. Smaller: usual heads
/// allocate.
const KEPT_BYTES: usize = 2048;

#[derive(Debug, Default)]
pub(super) struct FieldList {
    fields: Vec<Held>,
    values: Vec<u8>,
    has_unknown: bool,
    is_too_large: bool,
    /// Of the first field, which is a pseudo-header in every head and in no trailers.
    first: Option<Field>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    field: Field,
    /// Where in the values its own lies.
    begin: u32,
    end: u32,
}

/// What a block is by its pseudo-headers (RFC 9113 section 8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
    Trailers,
    /// Its first field is not known, and no pseudo-header among the others is.
    Unknown,
}

impl FieldList {
    pub(super) fn clear(&mut self) {
        self.fields.clear();
        self.values.clear();
        self.values.shrink_to(KEPT_BYTES);
        self.has_unknown = false;
        self.is_too_large = false;
        self.first = None;
    }

    pub(super) fn push(&mut self, field: Field, value: &[u8]) {
        self.first.get_or_insert(field);
        self.has_unknown |= field == Field::Unknown;
        if field.has_kept_value() && self.has_room(value.len()) {
            let begin = self.values.len();
            self.values.extend_from_slice(value);
            self.keep(field, begin);
        }
    }

    /// Lets `write` append the value, and gives it.
    pub(super) fn push_with(
        &mut self,
        field: Field,
        write: impl FnOnce(&mut Vec<u8>) -> Result<usize, Malformed>,
    ) -> Result<&[u8], Malformed> {
        self.first.get_or_insert(field);
        let begin = self.values.len();
        write(&mut self.values)?;
        if self.has_room(0) {
            self.keep(field, begin);
        }
        Ok(&self.values[begin..])
    }

    /// Lets `write` append bytes behind the values, and forgets them when `read` has seen them.
    pub(super) fn with_scratch<T>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<usize, Malformed>,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Malformed> {
        let before = self.values.len();
        write(&mut self.values)?;
        let seen = read(&self.values[before..]);
        self.values.truncate(before);
        Ok(seen)
    }

    /// Fields that were named before the connection was seen.
    pub(super) const fn has_unknown(&self) -> bool {
        self.has_unknown
    }

    /// More of the fields than are kept.
    pub(super) const fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    pub(super) fn kind(&self) -> Kind {
        for held in &self.fields {
            match held.field {
                Field::Status => return Kind::Response,
                field if field.is_of_request() => return Kind::Request,
                _ => {}
            }
        }
        if self.first == Some(Field::Unknown) { Kind::Unknown } else { Kind::Trailers }
    }

    pub(super) fn get(&self, wanted: Field) -> Option<&[u8]> {
        self.iter().find_map(|(field, value)| (field == wanted).then_some(value))
    }

    /// A decimal number; none where there is no such field, or another text in it.
    pub(super) fn number(&self, wanted: Field) -> Option<u32> {
        str::from_utf8(self.get(wanted)?).ok()?.parse().ok()
    }

    pub(super) fn request(&self) -> HttpRequest {
        let method = self.get(Field::Method).unwrap_or_default();
        // A CONNECT of the usual kind has no path: its target is the authority, as in HTTP/1.
        let target = self.get(Field::Path).or_else(|| self.get(Field::Authority).filter(|_| method == b"CONNECT"));
        let mut kept = Kept::of_request(method, target.unwrap_or_default());
        if self.has_unknown {
            kept.note_unknown();
        }
        for (field, value) in self.iter() {
            match field {
                Field::Kept(header) => kept.add(header, value),
                Field::Authority => kept.add(Header::Host, value),
                Field::Scheme => kept.add(Header::Scheme, value),
                Field::Protocol => kept.add(Header::Protocol, value),
                _ => {}
            }
        }
        HttpRequest::keep(HttpVersion::Http2, kept, false)
    }

    pub(super) fn memory(&self) -> usize {
        self.values.capacity() + self.fields.capacity() * size_of::<Held>()
    }

    fn iter(&self) -> impl Iterator<Item = (Field, &[u8])> {
        let value = |held: &Held| &self.values[held.begin as usize..held.end as usize];
        self.fields.iter().map(move |held| (held.field, value(held)))
    }

    fn keep(&mut self, field: Field, begin: usize) {
        self.fields.push(Held { field, begin: begin as u32, end: self.values.len() as u32 });
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        let has_room = self.fields.len() < MOST_FIELDS && self.values.len() + bytes <= MAX_HEAD_BYTES;
        self.is_too_large |= !has_room;
        has_room
    }
}
