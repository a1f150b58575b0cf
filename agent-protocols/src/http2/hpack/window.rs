// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The dynamic table as a window on what was inserted since the connection has been followed (RFC 7541 section 2.3.2).
//!
//! In: insertions, and indices that count from the newest entry. Out: the entry, or that it is older than the window.
//! Because indices count from the newest, whatever was inserted since joining is found exactly, however much was there
//! before. Entries keep their lengths, for eviction; values only of fields that are kept, names never.
//! Does not: evict too early: sizes that are not known count as zero, so that an entry stays longer here than in the
//! encoder's table, where nothing refers to it any more.

use alloc::{collections::VecDeque, vec::Vec};

use super::super::field::Field;

/// What an entry counts for beside its texts (RFC 7541 section 4.1).
const ENTRY_BYTES: u32 = 32;

/// The table's size before anybody speaks of it (RFC 9113 section 6.5.2).
const DEFAULT_BYTES: u32 = 4096;

/// Table bytes that are followed, which bounds the memory. Larger: that much more for each direction of a connection.
/// Smaller: peers with larger tables (browsers: 64 KiB) refer to entries that were forgotten, and the field is absent.
pub(super) const MOST_BYTES: u32 = 64 * 1024;

/// As above, while nobody knows how large the table is, because the connection was joined. Few make it larger than the
/// default; an entry that the encoder has dropped is never asked for.
const JOINED_BYTES: u32 = 16 * 1024;

/// Values that have been dropped may take up this much more than those that are there. Larger: memory. Smaller: what
/// is left is moved to the front more often.
const SLACK_BYTES: usize = 512;

#[derive(Debug)]
pub(super) struct Window {
    /// Newest first.
    entries: VecDeque<Entry>,
    /// Values of the entries, oldest first.
    values: Vec<u8>,
    /// Bytes that have been taken from the front of `values` in all.
    moved: u64,
    /// What the entries count for, as far as it is known.
    size: u32,
    limit: u32,
    /// The encoder may have entries that are older than all of these.
    has_older: bool,
    /// Insertions, and whatever else makes an index mean something else.
    changes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    field: Field,
    name_bytes: u32,
    value_bytes: u32,
    /// Where the value lies, if it is kept; counted from the first that ever was.
    value_at: u64,
}

/// What an index stands for.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'a> {
    Entry {
        field: Field,
        name_bytes: u32,
        value: &'a [u8],
    },
    /// Inserted before the window begins.
    Older,
    /// There is no such entry.
    Nothing,
}

impl Window {
    pub(super) const fn new(joined_mid_stream: bool) -> Self {
        let limit = if joined_mid_stream { JOINED_BYTES } else { DEFAULT_BYTES };
        Self {
            entries: VecDeque::new(),
            values: Vec::new(),
            moved: 0,
            size: 0,
            limit,
            has_older: joined_mid_stream,
            changes: 0,
        }
    }

    /// `index` is 0 for the newest.
    pub(super) fn get(&self, index: u32) -> Found<'_> {
        match self.entries.get(index as usize) {
            Some(Entry { field, name_bytes, .. }) if !field.has_kept_value() => {
                Found::Entry { field: *field, name_bytes: *name_bytes, value: &[] }
            }
            Some(Entry { field, name_bytes, value_bytes, value_at }) => {
                let at = (value_at - self.moved) as usize;
                let value = &self.values[at..at + *value_bytes as usize];
                Found::Entry { field: *field, name_bytes: *name_bytes, value }
            }
            None if self.has_older => Found::Older,
            None => Found::Nothing,
        }
    }

    /// `value_bytes` is its length, also where the value itself is not kept.
    pub(super) fn insert(&mut self, field: Field, name_bytes: u32, value_bytes: u32, value: &[u8]) {
        self.changes += 1;
        let size = ENTRY_BYTES.saturating_add(name_bytes).saturating_add(value_bytes);
        self.make_room(self.limit.saturating_sub(size));
        if size > self.limit {
            // Section 4.4: it empties the table, and is none of it. A limit of our own may have been too small.
            return;
        }
        self.compact();
        let value_at = self.moved + self.values.len() as u64;
        if field.has_kept_value() {
            self.values.extend_from_slice(value);
        }
        self.size += size;
        self.entries.push_front(Entry { field, name_bytes, value_bytes, value_at });
    }

    /// The encoder's table has this size from here on.
    pub(super) fn resize(&mut self, bytes: u32) {
        self.changes += 1;
        self.limit = bytes.min(MOST_BYTES);
        self.make_room(self.limit);
        // An entry takes up 32 bytes at least: where there is no room for one more, there is none older.
        self.has_older &= bytes > MOST_BYTES || self.size + ENTRY_BYTES <= bytes;
    }

    /// Insertions were lost: nobody knows how far from the newest the entries are.
    pub(super) fn distrust(&mut self) {
        self.changes += 1;
        self.entries.clear();
        self.moved += self.values.len() as u64;
        self.values.clear();
        self.size = 0;
        self.has_older = true;
    }

    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn memory(&self) -> usize {
        self.values.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    #[cfg(test)]
    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    fn make_room(&mut self, most: u32) {
        while self.size > most
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= ENTRY_BYTES + oldest.name_bytes + oldest.value_bytes;
            // The encoder's own table may be larger than what is followed of it.
            self.has_older |= self.limit == MOST_BYTES || self.limit == JOINED_BYTES;
        }
    }

    /// Takes values that no entry has any more from the front.
    fn compact(&mut self) {
        let oldest = self.entries.back().map_or(self.moved + self.values.len() as u64, |oldest| oldest.value_at);
        let unused = (oldest - self.moved) as usize;
        if unused == self.values.len() || unused > SLACK_BYTES.max(self.values.len() / 2) {
            self.values.drain(..unused);
            self.moved = oldest;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::http::Header;

    const KEPT: Field = Field::Kept(Header::B3);

    fn insert(window: &mut Window, value: &[u8]) {
        window.insert(KEPT, 2, value.len() as u32, value);
    }

    fn values(window: &Window) -> Vec<&[u8]> {
        let value = |index| match window.get(index) {
            Found::Entry { value, .. } => Some(value),
            Found::Older | Found::Nothing => None,
        };
        (0..).map_while(value).collect()
    }

    #[test]
    fn indices_count_from_the_newest_and_the_oldest_go_first() {
        let mut window = Window::new(false);
        window.resize(3 * 36);
        for value in [b"10", b"11", b"12", b"13"] {
            insert(&mut window, value);
        }
        assert_eq!(values(&window), [b"13", b"12", b"11"]);
        assert_eq!(window.get(3), Found::Nothing);
        insert(&mut window, &[b'x'; 40]);
        assert_eq!(values(&window), [&[b'x'; 40][..]]);
        insert(&mut window, &[b'x'; 200]);
        assert_eq!(values(&window).len(), 0);
    }

    #[test]
    fn what_is_older_than_the_window_is_known_to_be() {
        let mut window = Window::new(true);
        insert(&mut window, b"new");
        assert_eq!((values(&window).len(), window.get(1)), (1, Found::Older));
        window.resize(4096);
        assert_eq!(window.get(1), Found::Older);
        window.resize(68);
        assert_eq!(window.get(1), Found::Nothing);
        window.distrust();
        assert_eq!(window.get(0), Found::Older);
        window.resize(0);
        assert_eq!(window.get(0), Found::Nothing);
    }

    #[test]
    fn values_are_freed() {
        let mut window = Window::new(false);
        for _ in 0..10_000 {
            insert(&mut window, &[b'x'; 100]);
            window.insert(Field::Other, 10, 100, &[]);
        }
        assert!(window.memory() < 16 * 1024, "{}", window.memory());
        assert_eq!(values(&window)[0], &[b'x'; 100][..0]);
        assert_eq!(values(&window)[1], &[b'x'; 100]);
    }
}
