// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Objects of one kind by their names, as many as there is room for. A list that is taken again, after the API server was
//! away, takes out what it does not name.

use std::sync::Arc;

use rustc_hash::FxHashMap;

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

/// What became of an object that was to be kept.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept<T> {
    /// It was there as it is.
    Same,
    New(Arc<str>),
    InsteadOf(Arc<str>, T),
    NoRoom,
}

impl<T: PartialEq> Table<T> {
    pub fn new(most: usize) -> Self {
        Self { known: FxHashMap::default(), most, lists: 0 }
    }

    pub fn get(&self, name: &str) -> Option<&T> {
        self.known.get(name).map(|known| &known.object)
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn keep(&mut self, name: String, object: T) -> Kept<T> {
        let list = self.lists;
        if let Some((name, known)) = self.known.get_key_value(name.as_str()) {
            if known.object != object {
                let name = Arc::clone(name);
                let before = self.known.insert(Arc::clone(&name), Known { object, list }).expect("it was there");
                return Kept::InsteadOf(name, before.object);
            }
        } else if self.known.len() >= self.most {
            return Kept::NoRoom;
        } else {
            let name: Arc<str> = name.into();
            self.known.insert(Arc::clone(&name), Known { object, list });
            return Kept::New(name);
        }
        if let Some(known) = self.known.get_mut(name.as_str()) {
            known.list = list;
        }
        Kept::Same
    }

    pub fn remove(&mut self, name: &str) -> Option<(Arc<str>, T)> {
        self.known.remove_entry(name).map(|(name, known)| (name, known.object))
    }

    pub fn begin_list(&mut self) {
        self.lists = self.lists.wrapping_add(1);
    }

    /// Gives what the list has not named.
    pub fn end_list(&mut self) -> Vec<(Arc<str>, T)> {
        let gone = self.known.extract_if(|_, known| known.list != self.lists);
        let gone = gone.map(|(name, known)| (name, known.object)).collect();
        self.known.shrink_to_fit();
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    #[test]
    fn what_a_list_does_not_name_is_gone_when_it_ends() {
        let mut table = Table::new(3);
        table.begin_list();
        assert_eq!(table.keep("a".to_owned(), 1), Kept::New(name("a")));
        assert_eq!(table.keep("b".to_owned(), 1), Kept::New(name("b")));
        assert_eq!(table.end_list(), []);
        assert_eq!(table.keep("c".to_owned(), 1), Kept::New(name("c")), "by the watch");
        assert_eq!(table.keep("d".to_owned(), 1), Kept::NoRoom);
        // One that broke off, and one that is whole.
        table.begin_list();
        assert_eq!(table.keep("a".to_owned(), 1), Kept::Same);
        table.begin_list();
        assert_eq!(table.keep("b".to_owned(), 2), Kept::InsteadOf(name("b"), 1));
        assert_eq!(table.keep("c".to_owned(), 1), Kept::Same);
        assert_eq!(table.len(), 3, "until it ends");
        assert_eq!(table.end_list(), [(name("a"), 1)]);
        assert_eq!((table.get("a"), table.get("b"), table.get("c")), (None, Some(&2), Some(&1)));
        assert_eq!(table.remove("b"), Some((name("b"), 2)));
        assert_eq!((table.remove("b"), table.len()), (None, 1));
    }
}
