// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A table by numbers that are given one after the other, for things of which most do not stay for long.
//!
//! In: entries. Out: the entry of a number. A number's place is its lowest bits, so that nothing is hashed.
//! Does not: bound itself.

use rustc_hash::FxHashMap;

/// Places of the smallest table that holds anything.
const LEAST_PLACES: usize = 64;

#[derive(Debug)]
pub struct Slots<T> {
    /// A power of two.
    places: Vec<Option<(u64, T)>>,
    /// Those that came to a place that another one has not left.
    others: FxHashMap<u64, T>,
    entries: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), others: FxHashMap::default(), entries: 0 }
    }
}

impl<T> Slots<T> {
    pub const fn len(&self) -> usize {
        self.entries
    }

    pub fn get(&self, number: u64) -> Option<&T> {
        match self.places.get(self.place(number)) {
            Some(Some((of, entry))) if *of == number => Some(entry),
            _ if self.others.is_empty() => None,
            _ => self.others.get(&number),
        }
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = self.place(number);
        match self.places.get_mut(place) {
            Some(Some((of, entry))) if *of == number => Some(entry),
            _ if self.others.is_empty() => None,
            _ => self.others.get_mut(&number),
        }
    }

    /// The number must be new.
    pub fn insert(&mut self, number: u64, entry: T) {
        if self.entries * 2 >= self.places.len() {
            self.grow();
        }
        self.entries += 1;
        self.put(number, entry);
    }

    pub fn remove(&mut self, number: u64) -> Option<T> {
        let place = self.place(number);
        let removed = match self.places.get_mut(place) {
            Some(place @ Some(_)) if place.as_ref().is_some_and(|(of, _)| *of == number) => {
                place.take().map(|(_, entry)| entry)
            }
            _ if self.others.is_empty() => None,
            _ => self.others.remove(&number),
        };
        self.entries -= usize::from(removed.is_some());
        removed
    }

    pub fn values(&self) -> impl Iterator<Item = (u64, &T)> {
        let placed = self.places.iter().flatten().map(|(number, entry)| (*number, entry));
        placed.chain(self.others.iter().map(|(number, entry)| (*number, entry)))
    }

    fn place(&self, number: u64) -> usize {
        number as usize & self.places.len().wrapping_sub(1)
    }

    fn put(&mut self, number: u64, entry: T) {
        let place = self.place(number);
        match &mut self.places[place] {
            place @ None => *place = Some((number, entry)),
            Some(_) => {
                self.others.insert(number, entry);
            }
        }
    }

    fn grow(&mut self) {
        let places = (self.places.len() * 2).max(LEAST_PLACES);
        let old = std::mem::replace(&mut self.places, std::iter::repeat_with(|| None).take(places).collect());
        let others = std::mem::take(&mut self.others);
        old.into_iter().flatten().chain(others).for_each(|(number, entry)| self.put(number, entry));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0_u8..4, 0_u64..400), 0..600)) {
            let (mut slots, mut expected, mut next) = (Slots::default(), BTreeMap::new(), 0_u64);
            for (action, number) in steps {
                match action {
                    // As often as it is removed, so that numbers pass their places several times.
                    0 | 1 => {
                        slots.insert(next, number);
                        expected.insert(next, number);
                        next += 1;
                    }
                    2 => prop_assert_eq!(slots.remove(number), expected.remove(&number)),
                    _ => {
                        prop_assert_eq!(slots.get(number), expected.get(&number));
                        prop_assert_eq!(slots.get_mut(number), expected.get_mut(&number));
                    }
                }
                prop_assert_eq!(slots.len(), expected.len());
            }
            let mut all: Vec<_> = slots.values().map(|(number, entry)| (number, *entry)).collect();
            all.sort_unstable();
            prop_assert_eq!(all, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_that_stays_is_found_when_its_place_is_passed_again() {
        let mut slots = Slots::default();
        slots.insert(0, 0);
        for number in 1..10_000 {
            slots.insert(number, number);
            assert_eq!((slots.remove(number), slots.get(0)), (Some(number), Some(&0)));
        }
        assert_eq!((slots.places.len(), slots.len()), (LEAST_PLACES, 1));
    }
}
