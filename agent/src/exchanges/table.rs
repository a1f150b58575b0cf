// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A table by connection and stream, for what mostly has one stream a connection and sometimes hundreds.
//!
//! In: entries whose streams grow on each connection. Out: an entry, or the oldest of a connection that has ended.
//! Costs one look-up by connection, however many connections there are.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

/// Where an entry lies: connection and stream.
pub type Key = (u64, u64);

#[derive(Debug)]
pub struct Table<T> {
    /// Streams in growing order; no connection is without one.
    connections: FxHashMap<u64, SmallVec<[(u64, T); 1]>>,
    entries: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { connections: FxHashMap::default(), entries: 0 }
    }
}

impl<T> Table<T> {
    pub const fn len(&self) -> usize {
        self.entries
    }

    pub fn get_mut(&mut self, (connection, stream): Key) -> Option<&mut T> {
        let streams = self.connections.get_mut(&connection)?;
        let index = streams.binary_search_by_key(&stream, |(stream, _)| *stream).ok()?;
        Some(&mut streams[index].1)
    }

    /// Gives the entry that was there before.
    pub fn insert(&mut self, (connection, stream): Key, entry: T) -> Option<T> {
        let streams = match self.connections.entry(connection) {
            Entry::Vacant(place) => {
                place.insert(smallvec![(stream, entry)]);
                self.entries += 1;
                return None;
            }
            Entry::Occupied(streams) => streams.into_mut(),
        };
        match streams.binary_search_by_key(&stream, |(stream, _)| *stream) {
            Ok(index) => Some(std::mem::replace(&mut streams[index].1, entry)),
            Err(index) => {
                streams.insert(index, (stream, entry));
                self.entries += 1;
                None
            }
        }
    }

    pub fn remove(&mut self, (connection, stream): Key) -> Option<T> {
        self.remove_where(connection, |streams| streams.binary_search_by_key(&stream, |(stream, _)| *stream).ok())
    }

    /// Of a connection's entries, the one with the lowest stream.
    pub fn remove_oldest(&mut self, connection: u64) -> Option<T> {
        self.remove_where(connection, |_| Some(0))
    }

    fn remove_where(&mut self, connection: u64, find: impl FnOnce(&[(u64, T)]) -> Option<usize>) -> Option<T> {
        let Entry::Occupied(mut streams) = self.connections.entry(connection) else { return None };
        let index = find(streams.get())?;
        let entry = match streams.get().len() {
            1 => streams.remove().pop(),
            _ => Some(streams.get_mut().remove(index)),
        };
        let (_, entry) = entry?;
        self.entries -= 1;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0_u8..4, 0_u64..3, 0_u64..4), 0..60)) {
            let (mut table, mut expected) = (Table::default(), BTreeMap::new());
            for (number, (action, connection, stream)) in steps.into_iter().enumerate() {
                let key = (connection, stream);
                match action {
                    0 => prop_assert_eq!(table.insert(key, number), expected.insert(key, number)),
                    1 => prop_assert_eq!(table.get_mut(key), expected.get_mut(&key)),
                    2 => prop_assert_eq!(table.remove(key), expected.remove(&key)),
                    _ => {
                        let oldest = expected.range((connection, 0)..=(connection, u64::MAX)).next().map(|(key, _)| *key);
                        let removed = oldest.and_then(|oldest| expected.remove(&oldest));
                        prop_assert_eq!(table.remove_oldest(connection), removed);
                    }
                }
                prop_assert_eq!(table.len(), expected.len());
            }
            prop_assert_eq!(table.connections.is_empty(), expected.is_empty());
        }
    }
}
