// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A tree of spans in; for each instant of the trace the one span that decided when it would be over out.
//!
//! Walking back from a span's end: the time after its last child is its own; then the child that finished last has the
//! time back to its start; then the child that finished last before that; and so on down. A child that had not
//! finished when the next step began cannot have been what that step waited for, so parallel siblings stay light.
//!
//! The segments never overlap, and together they cover every instant at which any span of the trace was open: their
//! lengths add up to the whole.

use crate::spans::Kind;

use super::tree::Tree;

/// Nanoseconds since the epoch, half open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub span: usize,
    pub from: u64,
    pub to: u64,
}

/// Ends that lie this far past the next start still count as before it: the offset between the kernel's clock and the
/// wall clock is read again and again. Larger: parallel siblings pass for a sequence. Smaller: a slewing clock takes
/// whole calls off the path.
const CLOCK_DISORDER: u64 = 100_000;

/// The part of a child's own length that disorder may take, so that short parallel calls are not chained by it.
const DISORDER_SHARE: u64 = 16;

pub fn critical_path(tree: &Tree) -> Vec<Segment> {
    let mut children_by_end = tree.children.clone();
    for children in &mut children_by_end {
        children.sort_by_key(|&child| std::cmp::Reverse((tree.spans[child].end, tree.spans[child].start)));
    }
    let mut walk = Walk { tree, children_by_end: &children_by_end, segments: Vec::new(), waiting: Vec::new() };
    for piece in covering(pieces_outside_parents(tree)) {
        walk.waiting.push(piece);
        while let Some(window) = walk.waiting.pop() {
            walk.step(window);
        }
    }
    walk.segments
}

struct Walk<'a> {
    tree: &'a Tree,
    children_by_end: &'a [Vec<usize>],
    segments: Vec<Segment>,
    /// Windows that belong to a span or to those below it; kept here and not on the stack, for chains are long.
    waiting: Vec<Segment>,
}

impl Walk<'_> {
    /// Splits a span's window into its own time and the windows of its children.
    fn step(&mut self, window: Segment) {
        let mut cursor = window.to;
        let children_by_end = self.children_by_end;
        for &child in &children_by_end[window.span] {
            if cursor <= window.from {
                return;
            }
            let span = &self.tree.spans[child];
            let is_waited_for = span.end.0 <= cursor.saturating_add(disorder(span.duration()));
            // The two ends of one exchange: the caller does wait, and the server's last write may return after the
            // caller's last read.
            let is_other_end =
                cursor == window.to && self.tree.spans[window.span].kind == Kind::Client && span.kind == Kind::Server;
            let (from, to) = (span.start.0.max(window.from), span.end.0.min(cursor));
            if from >= to || !(is_waited_for || is_other_end) {
                continue;
            }
            self.keep(Segment { span: window.span, from: to, to: cursor });
            self.waiting.push(Segment { span: child, from, to });
            cursor = from;
        }
        self.keep(Segment { to: cursor, ..window });
    }

    fn keep(&mut self, segment: Segment) {
        if segment.from < segment.to {
            self.segments.push(segment);
        }
    }
}

fn disorder(duration: u64) -> u64 {
    CLOCK_DISORDER.min(duration / DISORDER_SHARE)
}

/// The parts of spans at which no parent of theirs was open: whole roots, and where a child began before its parent or
/// outlived it.
fn pieces_outside_parents(tree: &Tree) -> Vec<Segment> {
    let mut pieces = Vec::new();
    for (index, span) in tree.spans.iter().enumerate() {
        let (start, end) = (span.start.0, span.end.0);
        let (opened, closed) = tree.parents[index].map_or((end, end), |parent| {
            let parent = &tree.spans[parent];
            (parent.start.0, parent.end.0)
        });
        for (from, to) in [(start, end.min(opened)), (start.max(closed), end)] {
            if from < to {
                pieces.push(Segment { span: index, from, to });
            }
        }
    }
    pieces
}

/// As few of the pieces as cover all instants that any of them covers, cut so that none overlap; the last one first.
fn covering(mut pieces: Vec<Segment>) -> Vec<Segment> {
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.to));
    let mut covering: Vec<Segment> = Vec::new();
    let mut cursor = u64::MAX;
    let mut longest: Option<Segment> = None;
    let mut rest = pieces.into_iter().peekable();
    loop {
        while let Some(piece) = rest.next_if(|piece| piece.to >= cursor) {
            longest = longest.filter(|longest| longest.from <= piece.from).or(Some(piece));
        }
        match longest {
            Some(piece) if piece.from < cursor => {
                covering.push(Segment { to: piece.to.min(cursor), ..piece });
                cursor = piece.from;
            }
            _ => match rest.peek() {
                Some(piece) => cursor = piece.to,
                None => return covering,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{facts::Facts, samples::Sample},
        *,
    };

    /// Milliseconds of each span on the path, in the order of their starts: `(span id, from, to)`.
    fn path(samples: &[Sample]) -> Vec<(u8, u64, u64)> {
        let tree = Tree::new(samples.iter().map(|sample| Facts::of(&sample.released())).collect());
        let (start, _) = tree.extent();
        let mut segments = critical_path(&tree);
        segments.sort_by_key(|segment| segment.from);
        segments
            .iter()
            .map(|segment| {
                let milliseconds = |time: u64| (time - start.0) / 1_000_000;
                let id = tree.spans[segment.span].span_id.0[7];
                (id, milliseconds(segment.from), milliseconds(segment.to))
            })
            .collect()
    }

    #[test]
    fn calls_one_after_the_other_are_all_on_it() {
        let spans = [Sample::server(1, 0..100), Sample::client(2, 10..40).under(1), Sample::client(3, 50..90).under(1)];
        assert_eq!(path(&spans), [(1, 0, 10), (2, 10, 40), (1, 40, 50), (3, 50, 90), (1, 90, 100)]);
    }

    #[test]
    fn of_parallel_calls_the_last_to_finish_is_on_it() {
        let spans = [Sample::server(1, 0..100), Sample::client(2, 10..60).under(1), Sample::client(3, 10..90).under(1)];
        assert_eq!(path(&spans), [(1, 0, 10), (3, 10, 90), (1, 90, 100)]);
    }

    #[test]
    fn a_call_that_was_open_when_the_next_began_was_not_waited_for() {
        let spans = [Sample::server(1, 0..100), Sample::client(2, 5..60).under(1), Sample::client(3, 40..90).under(1)];
        assert_eq!(path(&spans), [(1, 0, 40), (3, 40, 90), (1, 90, 100)]);
    }

    #[test]
    fn a_call_that_outlives_its_request_has_only_the_time_after_it() {
        let spans = [Sample::server(1, 0..50), Sample::client(2, 10..80).under(1)];
        assert_eq!(path(&spans), [(1, 0, 50), (2, 50, 80)]);
    }

    #[test]
    fn the_server_end_of_a_call_may_end_after_the_client_end() {
        let spans = [Sample::client(1, 0..50), Sample::server(2, 10..52).under(1)];
        assert_eq!(path(&spans), [(1, 0, 10), (2, 10, 50), (2, 50, 52)]);
    }

    #[test]
    fn clock_disorder_between_calls_does_not_take_one_off() {
        let mut second = Sample::client(3, 50..90).under(1);
        second.start -= 60_000;
        let spans = [Sample::server(1, 0..100), Sample::client(2, 10..50).under(1), second];
        assert_eq!(path(&spans), [(1, 0, 10), (2, 10, 49), (3, 49, 90), (1, 90, 100)]);
    }

    #[test]
    fn a_child_before_its_parent_and_roots_apart_are_covered() {
        let spans = [Sample::server(1, 10..50), Sample::client(2, 5..20).under(1), Sample::server(3, 70..90)];
        assert_eq!(
            path(&spans),
            [(2, 5, 10), (2, 10, 20), (1, 20, 50), (3, 70, 90)].map(|(id, from, to)| (id, from - 5, to - 5))
        );
    }

    proptest! {
        #[test]
        fn the_lengths_add_up_to_the_whole(
            shapes in prop::collection::vec((0_u64..200, 0_u64..100, 0_u8..40, any::<bool>()), 1..40)
        ) {
            let samples: Vec<Sample> = (1..).zip(&shapes).map(|(id, &(start, length, parent, is_client))| {
                let span = if is_client { Sample::client } else { Sample::server }(id, start..start + length);
                if parent == 0 { span } else { span.under(parent) }
            }).collect();
            let tree = Tree::new(samples.iter().map(|sample| Facts::of(&sample.released())).collect());
            let mut segments = critical_path(&tree);
            segments.sort_by_key(|segment| segment.from);
            prop_assert!(segments.windows(2).all(|pair| pair[0].to <= pair[1].from));
            for segment in &segments {
                let span = &tree.spans[segment.span];
                prop_assert!(span.start.0 <= segment.from && segment.to <= span.end.0);
            }
            let (start, end) = tree.extent();
            let is_open = |time: u64| tree.spans.iter().any(|span| span.start.0 <= time && time < span.end.0);
            let whole = (start.0..end.0).step_by(1_000_000).filter(|&time| is_open(time)).count() as u64 * 1_000_000;
            prop_assert_eq!(segments.iter().map(|segment| segment.to - segment.from).sum::<u64>(), whole);
        }
    }
}
