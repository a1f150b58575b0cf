// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows and the critical path in; a bar of cells for each row out.
//!
//! In each column of cells at most one is heavy: the row that had most of that time on the critical path. What a row
//! that is not shown had, the nearest row above it shows.

use super::{critical_path::critical_path, rows::Row, tree::Tree};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cell {
    #[default]
    Empty,
    Light,
    Heavy,
}

impl Cell {
    pub const fn glyph(self) -> char {
        match self {
            Self::Empty => ' ',
            Self::Light => '─',
            Self::Heavy => '━',
        }
    }
}

/// One bar a row, each of `cells` cells.
pub fn bars(tree: &Tree, rows: &[Row], cells: usize) -> Vec<Vec<Cell>> {
    let (start, end) = tree.extent();
    let axis = Axis { start: start.0, length: (end.0 - start.0).max(1), cells };
    let mut bars = vec![vec![Cell::Empty; cells]; rows.len()];
    for (row, bar) in rows.iter().zip(&mut bars) {
        for call in &row.calls {
            let span = &tree.spans[call.outer];
            let (first, past) = axis.cells_of(span.start.0, span.end.0);
            bar[first..past].fill(Cell::Light);
        }
    }
    for (cell, owner) in heaviest(tree, rows, &axis).into_iter().enumerate() {
        if let Some(row) = owner {
            bars[row][cell] = Cell::Heavy;
        }
    }
    bars
}

/// For each column the row with most of the critical path in it.
fn heaviest(tree: &Tree, rows: &[Row], axis: &Axis) -> Vec<Option<usize>> {
    let row_of = rows_of_spans(tree, rows);
    let mut weights = vec![0_u64; axis.cells * rows.len()];
    for segment in critical_path(tree) {
        let Some(row) = row_of[segment.span] else { continue };
        let (first, past) = axis.cells_of(segment.from, segment.to);
        for cell in first..past {
            let (from, to) = axis.times_of(cell);
            weights[cell * rows.len() + row] += segment.to.min(to).saturating_sub(segment.from.max(from));
        }
    }
    (0..axis.cells)
        .map(|cell| {
            let column = &weights[cell * rows.len()..(cell + 1) * rows.len()];
            // Of equals the first, which is the outer one.
            (0..rows.len()).rev().max_by_key(|&row| column[row]).filter(|&row| column[row] > 0)
        })
        .collect()
}

/// The row that shows each span, or the nearest one above it.
fn rows_of_spans(tree: &Tree, rows: &[Row]) -> Vec<Option<usize>> {
    let mut row_of = vec![None; tree.spans.len()];
    for (index, row) in rows.iter().enumerate() {
        for span in row.spans() {
            row_of[span] = Some(index);
        }
    }
    for &span in &tree.parents_first {
        row_of[span] = row_of[span].or_else(|| row_of[tree.parents[span]?]);
    }
    row_of
}

/// Nanoseconds to cells and back.
struct Axis {
    start: u64,
    length: u64,
    cells: usize,
}

impl Axis {
    /// The cells that an interval touches, at least one.
    fn cells_of(&self, from: u64, to: u64) -> (usize, usize) {
        let cells = self.cells as u128;
        let length = u128::from(self.length);
        let first = u128::from(from - self.start) * cells / length;
        let past = (u128::from(to - self.start) * cells).div_ceil(length);
        let first = usize::try_from(first.min(cells - 1)).unwrap_or(0);
        let past = usize::try_from(past.min(cells)).unwrap_or(self.cells);
        (first, past.max(first + 1))
    }

    fn times_of(&self, cell: usize) -> (u64, u64) {
        let border = |cell: usize| {
            let past_start = u128::from(self.length) * cell as u128 / self.cells as u128;
            self.start + u64::try_from(past_start).unwrap_or(self.length)
        };
        (border(cell), border(cell + 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{facts::Facts, rows::rows, samples::Sample},
        *,
    };

    fn drawn(samples: &[Sample], limit: usize, cells: usize) -> Vec<String> {
        let tree = Tree::new(samples.iter().map(|sample| Facts::of(&sample.released())).collect());
        let rows = rows(&tree, limit);
        bars(&tree, &rows, cells).iter().map(|bar| bar.iter().map(|cell| cell.glyph()).collect()).collect()
    }

    #[test]
    fn the_heavy_bar_moves_from_row_to_row() {
        let spans = [
            Sample::server(1, 0..100),
            Sample::client(2, 10..40).of("a", "GET a").under(1),
            Sample::client(3, 20..90).of("b", "GET b").under(1),
        ];
        assert_eq!(drawn(&spans, 9, 10), ["━━───────━", " ───      ", "  ━━━━━━━ "]);
    }

    #[test]
    fn what_is_not_shown_weighs_on_the_row_above() {
        let spans = [Sample::server(1, 0..100), Sample::client(2, 10..90).under(1)];
        assert_eq!(drawn(&spans, 1, 10), ["━━━━━━━━━━"]);
    }

    proptest! {
        #[test]
        fn no_column_has_two_heavy_cells(
            shapes in prop::collection::vec((0_u64..200, 0_u64..100, 0_u8..20), 1..20), limit in 1_usize..20
        ) {
            let samples: Vec<Sample> = (1..).zip(&shapes).map(|(id, &(start, length, parent))| {
                let span = Sample::client(id, start..start + length);
                if parent == 0 { span } else { span.under(parent) }
            }).collect();
            let bars = drawn(&samples, limit, 30);
            for column in 0..30 {
                let heavy = bars.iter().filter(|bar| bar.chars().nth(column) == Some('━')).count();
                prop_assert!(heavy <= 1);
            }
        }
    }
}
