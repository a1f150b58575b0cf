// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Objects of one kind by their names, as many as there is room for. A list that is taken again, after the API server was
//! away, takes out what it does not name.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::enrich::kubernetes::object::Change;

/// What a table keeps.
pub trait Member: PartialEq {
    /// `NAME.NAMESPACE`, which no other object of its kind has.
    fn full_name(&self) -> String;
}

#[derive(Debug)]
pub struct Table<T> {
    known: FxHashMap<Arc<str>, Known<T>>,
    most: usize,
    /// Lists that have begun.
    lists: u32,
}

#[derive(Debug)]
struct Known<T> {
    object: T,
    /// The list that named it last, or that was the last one when a watch did.
    list: u32,
}

/// What a change makes of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn<T> {
    /// No longer in it, or not as they were.
    pub gone: Vec<(Arc<str>, T)>,
    /// In it from now on, or as it is now.
    pub seen: Option<Arc<str>>,
    /// It would have been, if there were room.
    pub is_refused: bool,
}

impl<T> Default for Turn<T> {
    fn default() -> Self {
        Self { gone: Vec::new(), seen: None, is_refused: false }
    }
}

impl<T> Turn<T> {
    pub fn changes_anything(&self) -> bool {
        !self.gone.is_empty() || self.seen.is_some()
    }
}

impl<T: Member> Table<T> {
    pub fn new(most: usize) -> Self {
        Self { known: FxHashMap::default(), most, lists: 0 }
    }

    pub fn get(&self, name: &str) -> Option<&T> {
        self.known.get(name).map(|known| &known.object)
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn handle(&mut self, change: Change<T>) -> Turn<T> {
        match change {
            Change::ListBegins => {
                self.lists = self.lists.wrapping_add(1);
                Turn::default()
            }
            Change::Seen(object) => self.keep(*object),
            Change::Gone(object) => {
                let gone = self.known.remove_entry(object.full_name().as_str());
                Turn { gone: gone.into_iter().map(Self::without_list).collect(), ..Turn::default() }
            }
            Change::ListEnds => {
                let gone = self.known.extract_if(|_, known| known.list != self.lists);
                let gone = gone.map(Self::without_list).collect();
                self.known.shrink_to_fit();
                Turn { gone, ..Turn::default() }
            }
        }
    }

    fn keep(&mut self, object: T) -> Turn<T> {
        let (name, list) = (object.full_name(), self.lists);
        if let Some(known) = self.known.get_mut(name.as_str()).filter(|known| known.object == object) {
            known.list = list;
            return Turn::default();
        }
        let before = self.known.remove_entry(name.as_str());
        if before.is_none() && self.known.len() >= self.most {
            return Turn { is_refused: true, ..Turn::default() };
        }
        let name = before.as_ref().map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        self.known.insert(Arc::clone(&name), Known { object, list });
        Turn { gone: before.into_iter().map(Self::without_list).collect(), seen: Some(name), is_refused: false }
    }

    fn without_list((name, known): (Arc<str>, Known<T>)) -> (Arc<str>, T) {
        (name, known.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Item(&'static str, u32);

    impl Member for Item {
        fn full_name(&self) -> String {
            self.0.to_owned()
        }
    }

    #[track_caller]
    fn check(table: &mut Table<Item>, change: Change<Item>, gone: &[(&str, u32)], seen: Option<&str>) {
        let turn = table.handle(change);
        let found: Vec<_> = turn.gone.iter().map(|(name, item)| (&**name, item.1)).collect();
        assert_eq!((found.as_slice(), turn.seen.as_deref()), (gone, seen));
        assert!(!turn.is_refused);
    }

    fn is(name: &'static str, value: u32) -> Change<Item> {
        Change::Seen(Box::new(Item(name, value)))
    }

    #[test]
    fn what_a_list_does_not_name_is_gone_when_it_ends() {
        let mut table = Table::new(3);
        check(&mut table, Change::ListBegins, &[], None);
        check(&mut table, is("a", 1), &[], Some("a"));
        check(&mut table, is("b", 1), &[], Some("b"));
        check(&mut table, Change::ListEnds, &[], None);
        // By the watch.
        check(&mut table, is("c", 1), &[], Some("c"));
        assert!(table.handle(is("d", 1)).is_refused);
        // A list that broke off, and one that is whole.
        check(&mut table, Change::ListBegins, &[], None);
        check(&mut table, is("a", 1), &[], None);
        check(&mut table, Change::ListBegins, &[], None);
        check(&mut table, is("b", 2), &[("b", 1)], Some("b"));
        check(&mut table, is("c", 1), &[], None);
        assert_eq!(table.len(), 3, "until it ends");
        check(&mut table, Change::ListEnds, &[("a", 1)], None);
        assert_eq!((table.get("a"), table.get("b"), table.get("c")), (None, Some(&Item("b", 2)), Some(&Item("c", 1))));
        check(&mut table, Change::Gone(Box::new(Item("b", 7))), &[("b", 2)], None);
        check(&mut table, Change::Gone(Box::new(Item("b", 7))), &[], None);
        assert_eq!(table.len(), 1);
    }
}
