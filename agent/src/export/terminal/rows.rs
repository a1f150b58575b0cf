// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A tree of spans in; the rows that are worth a reader's screen out, in the order they are printed.
//!
//! Three things make many spans few rows: the two ends of one call are one row, equal siblings fold into one, and past
//! the limit the rows with errors and the longest ones stay.

use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use crate::spans::Kind;

use super::{facts::Facts, tree::Tree};

/// Levels shown. Larger: the names of deep rows leave no room for anything. Smaller: long chains of calls are cut.
const DEEPEST: usize = 24;

/// A client span and the server span it caused are one row unless the time between them, spent in the network and in
/// queues, is worth seeing: more than this share of the whole, and more than [`TIME_BETWEEN`] nanoseconds.
const SHARE_BETWEEN: u64 = 10;
const TIME_BETWEEN: u64 = 1_000_000;

pub struct Row {
    pub depth: usize,
    pub is_last_sibling: bool,
    pub label: Label,
    /// More than one where equal siblings folded.
    pub calls: Vec<Call>,
    children: Vec<usize>,
}

/// The spans of one call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The caller's end where there is one; its times are the row's.
    pub outer: usize,
    /// The called end, where it is shown in the same row.
    pub inner: Option<usize>,
}

/// What a row says; siblings that say the same fold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    pub service: String,
    /// The pattern while rows fold; the name itself where all that folded share it.
    pub name: String,
    pub status: String,
    pub is_error: bool,
}

impl Row {
    pub fn spans(&self) -> impl Iterator<Item = usize> {
        self.calls.iter().flat_map(|call| [Some(call.outer), call.inner]).flatten()
    }

    /// Nanoseconds; of folded rows the sum.
    pub fn duration(&self, tree: &Tree) -> u64 {
        self.calls.iter().map(|call| tree.spans[call.outer].duration()).sum()
    }
}

/// At most `limit` rows, parents before children, siblings by their start.
pub fn rows(tree: &Tree, limit: usize) -> Vec<Row> {
    let mut grower = Grower { tree, has_error: errors_below(tree), rows: Vec::new(), waiting: BinaryHeap::new() };
    let mut top = grower.fold(&tree.roots, 0);
    let mut is_chosen = vec![false; grower.rows.len()];
    for _ in 0..limit {
        let Some((_, _, std::cmp::Reverse(row))) = grower.waiting.pop() else { break };
        let below: Vec<usize> = grower.rows[row].calls.iter().flat_map(|call| children(tree, *call)).copied().collect();
        let depth = grower.rows[row].depth + 1;
        if depth < DEEPEST {
            grower.rows[row].children = grower.fold(&below, depth);
        }
        is_chosen.resize(grower.rows.len(), false);
        is_chosen[row] = true;
    }
    let mut all: Vec<Option<Row>> = grower.rows.into_iter().map(Some).collect();
    let mut printed = Vec::new();
    top.retain(|&row| is_chosen[row]);
    let mut waiting: Vec<(usize, bool)> = last_marked(top);
    while let Some((index, is_last_sibling)) = waiting.pop() {
        let Some(mut row) = all[index].take() else { continue };
        row.is_last_sibling = is_last_sibling;
        row.children.retain(|&child| is_chosen[child]);
        waiting.extend(last_marked(std::mem::take(&mut row.children)));
        printed.push(row);
    }
    printed
}

/// In reverse, to be popped in order, each with whether it is the last of its siblings.
fn last_marked(siblings: Vec<usize>) -> Vec<(usize, bool)> {
    siblings.into_iter().rev().enumerate().map(|(from_end, row)| (row, from_end == 0)).collect()
}

fn children(tree: &Tree, call: Call) -> &[usize] {
    &tree.children[call.inner.unwrap_or(call.outer)]
}

/// For each span whether it or any below it failed.
fn errors_below(tree: &Tree) -> Vec<bool> {
    let mut has_error: Vec<bool> = tree.spans.iter().map(|span| span.is_error).collect();
    for &span in tree.parents_first.iter().rev() {
        if let Some(parent) = tree.parents[span] {
            has_error[parent] |= has_error[span];
        }
    }
    has_error
}

struct Grower<'a> {
    tree: &'a Tree,
    has_error: Vec<bool>,
    rows: Vec<Row>,
    /// Rows that may be shown, the most telling on top: with an error below, then the longest, then the earliest.
    waiting: BinaryHeap<(bool, u64, std::cmp::Reverse<usize>)>,
}

impl Grower<'_> {
    /// Makes rows of siblings, equal ones folded, and puts them up to be chosen.
    fn fold(&mut self, siblings: &[usize], depth: usize) -> Vec<usize> {
        let mut by_label: FxHashMap<Label, usize> = FxHashMap::default();
        let mut made = Vec::new();
        for &span in siblings {
            let call = self.call(span);
            let row = *by_label.entry(self.label(call)).or_insert_with_key(|label| {
                let label = label.clone();
                self.rows.push(Row { depth, is_last_sibling: false, label, calls: Vec::new(), children: Vec::new() });
                made.push(self.rows.len() - 1);
                self.rows.len() - 1
            });
            self.rows[row].calls.push(call);
        }
        for &row in &made {
            let name = common_name(self.tree, &self.rows[row].calls);
            let row_ref = &mut self.rows[row];
            row_ref.label.name = name.unwrap_or_else(|| std::mem::take(&mut row_ref.label.name));
            let has_error = row_ref.spans().any(|span| self.has_error[span]);
            self.waiting.push((has_error, row_ref.duration(self.tree), std::cmp::Reverse(row)));
        }
        made
    }

    fn call(&self, outer: usize) -> Call {
        let is_below_another = self.tree.parents[outer].is_some();
        let inner = match self.tree.children[outer].as_slice() {
            &[inner] if is_below_another && is_one_exchange(&self.tree.spans[outer], &self.tree.spans[inner]) => {
                Some(inner)
            }
            _ => None,
        };
        Call { outer, inner }
    }

    fn label(&self, call: Call) -> Label {
        let outer = &self.tree.spans[call.outer];
        let shown = shown(self.tree, call);
        let is_unwatched_peer = call.inner.is_none() && self.is_call_to_unwatched(call.outer);
        let service = if is_unwatched_peer { outer.peer() } else { shown.service() };
        let is_error = outer.is_error || shown.is_error;
        Label { service, name: shown.pattern(), status: shown.status.to_string(), is_error }
    }

    /// Its row stands below the caller's own, so it says who is called.
    fn is_call_to_unwatched(&self, span: usize) -> bool {
        self.tree.spans[span].kind == Kind::Client
            && self.tree.parents[span].is_some()
            && self.tree.children[span].is_empty()
    }
}

fn shown(tree: &Tree, call: Call) -> &Facts {
    &tree.spans[call.inner.unwrap_or(call.outer)]
}

fn common_name(tree: &Tree, calls: &[Call]) -> Option<String> {
    let mut names = calls.iter().map(|call| shown(tree, *call).name());
    let first = names.next()?;
    names.all(|name| name == first).then_some(first)
}

fn is_one_exchange(outer: &Facts, inner: &Facts) -> bool {
    let between = outer.duration().saturating_sub(inner.duration());
    outer.kind == Kind::Client
        && inner.kind == Kind::Server
        && outer.status == inner.status
        && (between <= TIME_BETWEEN || between <= outer.duration() / SHARE_BETWEEN)
}

#[cfg(test)]
mod tests {
    use super::{super::samples::Sample, *};

    /// `depth service name ×calls` of each row.
    fn shown_rows(samples: &[Sample], limit: usize) -> Vec<String> {
        let tree = Tree::new(samples.iter().map(|sample| Facts::of(&sample.released())).collect());
        let line = |row: Row| format!("{} {} {} ×{}", row.depth, row.label.service, row.label.name, row.calls.len());
        rows(&tree, limit).into_iter().map(line).collect()
    }

    #[test]
    fn both_ends_of_a_call_are_one_row_unless_time_passed_between() {
        let call = |inner: Sample| {
            [Sample::server(1, 0..100).of("a", "GET"), Sample::client(2, 10..90).of("a", "GET").under(1), inner]
        };
        let near = call(Sample::server(3, 11..89).of("b", "GET").under(2));
        assert_eq!(shown_rows(&near, 9), ["0 a GET ×1", "1 b GET ×1"]);
        let far = call(Sample::server(3, 60..70).of("b", "GET").under(2));
        assert_eq!(shown_rows(&far, 9), ["0 a GET ×1", "1 a GET ×1", "2 b GET ×1"]);
    }

    #[test]
    fn equal_siblings_fold_with_what_is_below_them() {
        let mut samples = vec![Sample::server(1, 0..100).of("shop", "GET").http("/basket", 200)];
        for item in 0..6_u8 {
            let at = u64::from(item) * 10;
            let path = format!("/stock/{item}");
            samples.push(Sample::client(10 + item, at..at + 9).of("shop", "GET").http(&path, 200).under(1));
            samples.push(Sample::server(20 + item, at..at + 9).of("stock", "GET").http(&path, 200).under(10 + item));
            let query = Sample::client(30 + item, at..at + 5).of("stock", "SELECT items").under(20 + item);
            samples.push(query.with("db.system.name", "postgres".into()));
        }
        let expected = ["0 shop GET /basket ×1", "1 stock GET /stock/* ×6", "2 postgres SELECT items ×6"];
        assert_eq!(shown_rows(&samples, 9), expected);
    }

    #[test]
    fn what_failed_does_not_fold_with_what_did_not() {
        let samples = [
            Sample::server(1, 0..100).of("shop", "GET"),
            Sample::client(2, 0..10).of("shop", "GET").http("/charge", 503).under(1),
            Sample::client(3, 20..30).of("shop", "GET").http("/charge", 200).under(1),
        ];
        assert_eq!(shown_rows(&samples, 9).len(), 3);
    }

    #[test]
    fn past_the_limit_errors_and_the_longest_stay() {
        let mut samples = vec![Sample::server(1, 0..250).of("shop", "GET")];
        for call in 2..80_u8 {
            let length = u64::from(call);
            samples.push(
                Sample::client(call, 0..length)
                    .of("shop", "GET")
                    .under(1)
                    .with("url.path", "/".into())
                    .of("shop", ["a", "b", "c", "d"][usize::from(call) % 4]),
            );
        }
        samples.push(Sample::client(99, 0..1).of("shop", "broken").error().under(1));
        assert_eq!(shown_rows(&samples, 3), ["0 shop GET ×1", "1 shop d ×20", "1 shop broken ×1"]);
    }

    #[test]
    fn a_chain_without_end_is_cut() {
        let samples: Vec<Sample> = (1..200)
            .map(|id| if id == 1 { Sample::client(1, 0..9) } else { Sample::client(id, 0..9).under(id - 1) })
            .collect();
        assert_eq!(shown_rows(&samples, 100).len(), DEEPEST);
    }
}
