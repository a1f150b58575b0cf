// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The spans of one trace in, in any order; who is whose parent out.
//!
//! Whatever the spans claim, the result is a forest that holds each of them once: ids that occur twice, spans that are
//! their own parent and rings of parents come from broken or hostile propagation and must not hang the terminal.

use rustc_hash::FxHashMap;

use crate::moment::WallTime;

use super::facts::Facts;

pub struct Tree {
    /// By start; of those that start together the longest first, which is the outer one.
    pub spans: Vec<Facts>,
    pub parents: Vec<Option<usize>>,
    /// In the order of `spans`.
    pub children: Vec<Vec<usize>>,
    pub roots: Vec<usize>,
    /// Every parent stands before its children.
    pub parents_first: Vec<usize>,
    /// Spans whose parent was never seen; they are roots here.
    pub missing_parents: usize,
}

impl Tree {
    pub fn new(mut spans: Vec<Facts>) -> Self {
        spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end), span.span_id));
        let mut by_id = FxHashMap::default();
        for (index, span) in spans.iter().enumerate() {
            by_id.entry(span.span_id).or_insert(index);
        }
        let mut tree = Self {
            parents: vec![None; spans.len()],
            children: vec![Vec::new(); spans.len()],
            roots: Vec::new(),
            parents_first: Vec::with_capacity(spans.len()),
            missing_parents: 0,
            spans,
        };
        for index in 0..tree.spans.len() {
            let Some(id) = tree.spans[index].parent else { continue };
            match by_id.get(&id) {
                Some(&parent) if parent != index => {
                    tree.parents[index] = Some(parent);
                    tree.children[parent].push(index);
                }
                Some(_) => {}
                None => tree.missing_parents += 1,
            }
        }
        tree.find_roots();
        tree
    }

    /// Roots are the spans without a parent, then the earliest of each ring that no root leads to.
    fn find_roots(&mut self) {
        let mut is_reached = vec![false; self.spans.len()];
        let without_parent: Vec<usize> = (0..self.spans.len()).filter(|&span| self.parents[span].is_none()).collect();
        for span in without_parent.into_iter().chain(0..self.spans.len()) {
            if is_reached[span] {
                continue;
            }
            if let Some(parent) = self.parents[span].take() {
                self.children[parent].retain(|&child| child != span);
            }
            self.roots.push(span);
            let mut waiting = vec![span];
            while let Some(span) = waiting.pop() {
                is_reached[span] = true;
                self.parents_first.push(span);
                waiting.extend(&self.children[span]);
            }
        }
        self.roots.sort_unstable();
    }

    /// From the first start to the last end, which a child that outlives its parent can be.
    pub fn extent(&self) -> (WallTime, WallTime) {
        let start = self.spans.first().map(|span| span.start).unwrap_or_default();
        let end = self.spans.iter().map(|span| span.end).max().unwrap_or_default();
        (start, end)
    }

    pub fn errors(&self) -> usize {
        self.spans.iter().filter(|span| span.is_error).count()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::Sample, *};

    fn tree(samples: &[Sample]) -> Tree {
        Tree::new(samples.iter().map(|sample| Facts::of(&sample.released())).collect())
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let spans = [Sample::server(1, 0..90), Sample::client(2, 10..80).under(1), Sample::server(3, 20..70).under(2)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let tree = tree(&order.map(|index: usize| spans[index].clone()));
            assert_eq!(tree.parents, [None, Some(0), Some(1)]);
            assert_eq!(tree.roots, [0]);
        }
    }

    #[test]
    fn remote_and_unseen_parents_make_roots() {
        let tree = tree(&[Sample::server(1, 0..9).under(77).remote(), Sample::client(2, 10..20).under(78)]);
        assert_eq!(tree.roots, [0, 1]);
        assert_eq!(tree.missing_parents, 1);
    }

    #[test]
    fn rings_and_twins_are_held_once() {
        let ring =
            [Sample::server(1, 0..9).under(2), Sample::client(2, 1..8).under(1), Sample::client(3, 2..3).under(3)];
        let twins = [Sample::server(1, 0..9), Sample::server(1, 0..9), Sample::client(2, 1..2).under(1)];
        for samples in [&ring, &twins] {
            let tree = tree(samples);
            let mut reached = tree.parents_first.clone();
            reached.sort_unstable();
            assert_eq!(reached, [0, 1, 2]);
        }
    }
}
