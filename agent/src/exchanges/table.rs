// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A table by connection and stream, for what mostly has one stream a connection and sometimes hundreds.
//!
//! In: entries whose streams grow on each connection. Out: an entry, or the oldest of a connection that has ended.
//! Costs a look at one place where few are open on a connection, and one look-up by connection where many are.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Where an entry lies: connection and stream.
pub type Key = (u64, u64);

/// Places for entries that come first to theirs; a power of two. Larger: memory, 24 bytes each. Smaller: of a few hundred
/// that are open at once, more are looked up.
const PLACES: usize = if cfg!(test) { 8 } else { 2048 };

/// Places that the streams of one connection share; a power of two. Larger: the end of a connection looks at more of
/// them. Smaller: where more streams are open at once, more are looked up.
const PLACES_OF_CONNECTION: usize = if cfg!(test) { 4 } else { 16 };

#[derive(Debug)]
pub struct Table<T> {
    places: Box<[Option<(Key, T)>]>,
    /// Those whose place another one has. Streams in growing order; no connection is without one.
    others: FxHashMap<u64, SmallVec<[(u64, T); 1]>>,
    entries: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        let places = std::iter::repeat_with(|| None).take(PLACES).collect();
        Self { places, others: FxHashMap::default(), entries: 0 }
    }
}

impl<T> Table<T> {
    pub const fn len(&self) -> usize {
        self.entries
    }

    pub fn get_mut(&mut self, (connection, stream): Key) -> Option<&mut T> {
        match &mut self.places[place(connection, stream)] {
            Some((of, entry)) if *of == (connection, stream) => Some(entry),
            _ => find(&mut self.others, (connection, stream)),
        }
    }

    /// Gives the entry that was there before.
    pub fn insert(&mut self, key @ (connection, stream): Key, entry: T) -> Option<T> {
        if let Some(before) = self.get_mut(key) {
            return Some(std::mem::replace(before, entry));
        }
        self.entries += 1;
        match &mut self.places[place(connection, stream)] {
            place @ None => *place = Some((key, entry)),
            Some(_) => {
                let streams = self.others.entry(connection).or_default();
                let index = streams.partition_point(|(of, _)| *of < stream);
                streams.insert(index, (stream, entry));
            }
        }
        None
    }

    pub fn remove(&mut self, key @ (connection, stream): Key) -> Option<T> {
        let place = &mut self.places[place(connection, stream)];
        let removed = match place {
            Some((of, _)) if *of == key => place.take().map(|(_, entry)| entry),
            _ => self.remove_other(connection, |streams| streams.binary_search_by_key(&stream, |(of, _)| *of).ok()),
        };
        self.entries -= usize::from(removed.is_some());
        removed
    }

    /// Of a connection's entries, the one with the lowest stream.
    pub fn remove_oldest(&mut self, connection: u64) -> Option<T> {
        let first = first_place(connection);
        let places = self.places[first..first + PLACES_OF_CONNECTION].iter().flatten();
        let placed = places.filter_map(|((of, stream), _)| (*of == connection).then_some(*stream)).min();
        let other = self.others.get(&connection).and_then(|streams| streams.first()).map(|(stream, _)| *stream);
        let oldest = placed.into_iter().chain(other).min()?;
        self.remove((connection, oldest))
    }

    fn remove_other(&mut self, connection: u64, find: impl FnOnce(&[(u64, T)]) -> Option<usize>) -> Option<T> {
        if self.others.is_empty() {
            return None;
        }
        let Entry::Occupied(mut streams) = self.others.entry(connection) else { return None };
        let index = find(streams.get())?;
        let (_, entry) = match streams.get().len() {
            1 => streams.remove().pop()?,
            _ => streams.get_mut().remove(index),
        };
        Some(entry)
    }
}

fn find<T>(others: &mut FxHashMap<u64, SmallVec<[(u64, T); 1]>>, (connection, stream): Key) -> Option<&mut T> {
    if others.is_empty() {
        return None;
    }
    let streams = others.get_mut(&connection)?;
    let index = streams.binary_search_by_key(&stream, |(of, _)| *of).ok()?;
    Some(&mut streams[index].1)
}

/// The first of a connection's places.
const fn first_place(connection: u64) -> usize {
    // Numbers of connections are given one after the other on each processor, so that they differ in few bits.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let group = connection.wrapping_mul(SPREAD) >> (u64::BITS - (PLACES / PLACES_OF_CONNECTION).ilog2());
    group as usize * PLACES_OF_CONNECTION
}

/// Streams that one side begins have numbers of one kind, odd or even.
const fn place(connection: u64, stream: u64) -> usize {
    first_place(connection) + (stream >> 1) as usize % PLACES_OF_CONNECTION
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
            prop_assert_eq!(expected.is_empty(), table.others.is_empty() && table.places.iter().all(Option::is_none));
        }
    }
}
