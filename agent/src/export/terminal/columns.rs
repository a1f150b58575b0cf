// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The texts of a block's rows and the terminal's width in; the width of each column out.
//!
//! What gives way as the terminal narrows: long names, long services, the bars, names again, the status, the service.
//! The name and the duration are always there.

use super::{draw::RowText, words::width};

/// The widest that a name and a service are where there are bars to be drawn beside them.
const WIDE_NAME: usize = 32;
const WIDE_SERVICE: usize = 24;
/// The narrowest that they are before something else gives way.
const NARROW_NAME: usize = 16;
const NARROW_SERVICE: usize = 12;
/// Cells below which a bar says nothing.
const FEWEST_CELLS: usize = 20;
/// Cells above which a bar says nothing more.
const MOST_CELLS: usize = 80;

/// A column of no width is left out. The service has one space after it, the others two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    pub service: usize,
    pub name: usize,
    pub status: usize,
    pub duration: usize,
    pub bars: usize,
}

impl Columns {
    pub fn fit(rows: &[RowText], terminal: usize) -> Self {
        let widest = |text: &dyn Fn(&RowText) -> usize| rows.iter().map(text).max().unwrap_or(0);
        let natural = Self {
            service: widest(&|row| width(&row.branch) + width(&row.service) + width(&row.times)),
            name: widest(&|row| width(&row.name)).max(1),
            status: widest(&|row| width(&row.status)),
            duration: widest(&|row| width(&row.duration)),
            bars: 0,
        };
        let mut columns =
            Self { service: natural.service.min(WIDE_SERVICE), name: natural.name.min(WIDE_NAME), ..natural };
        columns.narrow(terminal.saturating_sub(2 + FEWEST_CELLS));
        if columns.before_bars() + FEWEST_CELLS <= terminal {
            columns.bars = (terminal - columns.before_bars()).min(MOST_CELLS);
            return columns;
        }
        columns = natural;
        columns.narrow(terminal);
        for leave_out in [|columns: &mut Self| columns.status = 0, |columns: &mut Self| columns.service = 0] {
            if columns.text() > terminal {
                leave_out(&mut columns);
            }
        }
        columns.name = columns.name.saturating_sub(columns.text().saturating_sub(terminal)).max(1);
        columns
    }

    /// Columns before the first cell of a bar.
    pub fn before_bars(&self) -> usize {
        self.text() + 2
    }

    fn text(&self) -> usize {
        let with_gap = |column: usize, gap: usize| if column > 0 { column + gap } else { 0 };
        with_gap(self.service, 1) + with_gap(self.name, 2) + with_gap(self.status, 2) + self.duration
    }

    /// Takes from the name, then from the service, what is too much.
    fn narrow(&mut self, terminal: usize) {
        let narrowed =
            |column: usize, too_much: usize, least: usize| column.saturating_sub(too_much).max(least.min(column));
        self.name = narrowed(self.name, self.text().saturating_sub(terminal), NARROW_NAME);
        self.service = narrowed(self.service, self.text().saturating_sub(terminal), NARROW_SERVICE);
    }
}
