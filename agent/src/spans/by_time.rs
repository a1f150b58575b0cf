// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Exchanges in the order of a time: nearly all come last, and leave first or last.
//!
//! Costs a few instructions for those, and for the others a search and a move of the shorter side.

use std::collections::VecDeque;

use crate::{exchanges::ExchangeId, moment::KernelTime};

type Entry = (KernelTime, ExchangeId);

#[derive(Debug, Default)]
pub struct ByTime(VecDeque<Entry>);

impl ByTime {
    pub fn insert(&mut self, time: KernelTime, id: ExchangeId) {
        let entry = (time, id);
        if self.0.back().is_none_or(|last| *last < entry) {
            self.0.push_back(entry);
        } else if let Err(place) = self.0.binary_search(&entry) {
            self.0.insert(place, entry);
        }
    }

    pub fn remove(&mut self, time: KernelTime, id: ExchangeId) {
        let entry = (time, id);
        if self.0.front() == Some(&entry) {
            self.0.pop_front();
        } else if self.0.back() == Some(&entry) {
            self.0.pop_back();
        } else if let Ok(place) = self.0.binary_search(&entry) {
            self.0.remove(place);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of an earlier time, the earliest first.
    pub fn before(&self, time: KernelTime) -> impl Iterator<Item = ExchangeId> {
        self.0.iter().take_while(move |(of, _)| *of < time).map(|(_, id)| *id)
    }

    /// Those of a later time.
    pub fn after(&self, time: KernelTime) -> impl Iterator<Item = ExchangeId> {
        self.0.iter().rev().take_while(move |(of, _)| *of > time).map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_in_order(steps in prop::collection::vec((any::<bool>(), 0_u64..6, 0_u64..4), 0..60)) {
            let (mut by_time, mut expected) = (ByTime::default(), BTreeSet::new());
            for (comes, time, id) in steps {
                let (time, id) = (KernelTime(time), ExchangeId(id));
                if comes {
                    by_time.insert(time, id);
                    expected.insert((time, id));
                } else {
                    by_time.remove(time, id);
                    expected.remove(&(time, id));
                }
                let ids = |wanted: &dyn Fn(KernelTime) -> bool| {
                    expected.iter().filter(|(of, _)| wanted(*of)).map(|(_, id)| *id).collect::<Vec<_>>()
                };
                prop_assert_eq!(by_time.before(time).collect::<Vec<_>>(), ids(&|of| of < time));
                let mut after: Vec<_> = by_time.after(time).collect();
                after.reverse();
                prop_assert_eq!(after, ids(&|of| of > time));
                prop_assert_eq!(by_time.is_empty(), expected.is_empty());
            }
        }
    }
}
