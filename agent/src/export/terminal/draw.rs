// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A tree of spans in; its block of lines out: a head, an axis, a row for each call, and what did not fit.

use std::fmt::Write as _;

use crate::{moment::WallTime, spans::TraceId};

use super::{
    bars::{Cell, bars},
    columns::Columns,
    rows::{Row, rows},
    style::{Style, Tone},
    tree::Tree,
    units::{duration, ticks},
    words::{cut, padding, width},
};

/// Why a block is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The trace is there, as far as is known.
    Whole,
    /// Its trace was printed before these spans came.
    Late,
}

pub struct Block {
    pub text: String,
    /// Spans that have a row, alone or folded; the others are in the last line's count.
    pub shown: usize,
}

/// Head lines of narrower terminals are cut; of wider ones the trace id stays whole, to be copied.
const HEAD_IS_CUT_BELOW: usize = 100;

/// Columns of a name in the head line. Larger: the trace id leaves the screen. Smaller: names are cut twice.
const LONGEST_HEADING: usize = 40;
/// The fewest of it. Larger: narrow terminals name nothing. Smaller: stubs of two letters.
const SHORTEST_HEADING: usize = 6;

pub fn draw(tree: &Tree, occasion: Occasion, row_limit: usize, style: &Style) -> Block {
    let rows = rows(tree, row_limit);
    let texts = row_texts(tree, &rows);
    let columns = Columns::fit(&texts, usize::from(style.width));
    let mut text = head(tree, occasion, &rows, style);
    let drawn = match columns.bars {
        0 => vec![Vec::new(); rows.len()],
        cells => {
            text.push_str(&axis(tree, &columns, style));
            bars(tree, &rows, cells)
        }
    };
    for ((row, row_text), bar) in rows.iter().zip(&texts).zip(&drawn) {
        push_row(&mut text, row, row_text, bar, &columns, style);
    }
    let shown = rows.iter().map(|row| row.spans().count()).sum();
    let rest = tree.spans.len() - shown;
    if rest > 0 {
        style.paint(&mut text, Tone::Faint, &format!("… and {}", count(rest, "more span")));
        text.push('\n');
    }
    text.push('\n');
    Block { text, shown }
}

/// The columns of one row, as text.
pub struct RowText {
    /// The lines of the tree that lead to the service.
    pub branch: String,
    pub service: String,
    /// ` ×6`, or nothing.
    pub times: String,
    pub name: String,
    pub status: String,
    pub duration: String,
}

fn row_texts(tree: &Tree, rows: &[Row]) -> Vec<RowText> {
    let mut lines: Vec<&str> = Vec::new();
    rows.iter()
        .map(|row| {
            let mut branch = String::new();
            if let Some(above) = row.depth.checked_sub(1) {
                lines.truncate(above);
                branch = lines.concat();
                branch.push_str(if row.is_last_sibling { "└ " } else { "├ " });
                lines.push(if row.is_last_sibling { "  " } else { "│ " });
            }
            let mark = if row.label.is_error { "✗" } else { "" };
            let status = cut(&row.label.status, LONGEST_STATUS);
            RowText {
                branch,
                service: row.label.service.clone(),
                times: if row.calls.len() > 1 { format!(" ×{}", row.calls.len()) } else { String::new() },
                name: row.label.name.clone(),
                status: [status.as_str(), mark].join(if status.is_empty() || mark.is_empty() { "" } else { " " }),
                duration: duration(row.duration(tree)),
            }
        })
        .collect()
}

/// Columns of a status. Larger: a spelt-out kind of error takes the bars' place. Smaller: `connection_reset` is cut.
const LONGEST_STATUS: usize = 18;

fn push_row(text: &mut String, row: &Row, words: &RowText, bar: &[Cell], columns: &Columns, style: &Style) {
    let mut line = String::new();
    let tone = if row.label.is_error { Tone::Failed } else { Tone::Plain };
    if columns.service > 0 {
        let fixed = width(&words.branch) + width(&words.times);
        let branch = cut(&words.branch, columns.service.saturating_sub(1 + width(&words.times)));
        let service = cut(&words.service, columns.service.saturating_sub(fixed).max(1));
        let used = width(&branch) + width(&service) + width(&words.times);
        style.paint(&mut line, Tone::Faint, &branch);
        style.paint(&mut line, Tone::of_service(&words.service), &service);
        style.paint(&mut line, Tone::Strong, &words.times);
        line.extend(padding(used, columns.service + 1));
    }
    let times = if columns.service > 0 { "" } else { &words.times };
    let name = cut(&words.name, columns.name.saturating_sub(width(times))) + times;
    line.push_str(&name);
    line.extend(padding(width(&name), columns.name + 2));
    if columns.status > 0 {
        style.paint(&mut line, tone, &words.status);
        line.extend(padding(width(&words.status), columns.status + 2));
    }
    line.extend(padding(width(&words.duration), columns.duration));
    line.push_str(&words.duration);
    if !bar.is_empty() {
        line.push_str("  ");
        push_bar(&mut line, bar, row.label.is_error, style);
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

fn push_bar(line: &mut String, bar: &[Cell], has_failed: bool, style: &Style) {
    let inked = bar.iter().rposition(|cell| *cell != Cell::Empty).map_or(0, |last| last + 1);
    for run in bar[..inked].chunk_by(|left, right| left == right) {
        let tone = match (run[0], has_failed) {
            (Cell::Empty, _) => Tone::Plain,
            (Cell::Light, false) => Tone::Faint,
            (Cell::Light, true) => Tone::Failed,
            (Cell::Heavy, false) => Tone::Strong,
            (Cell::Heavy, true) => Tone::FailedStrong,
        };
        style.paint(line, tone, &run.iter().map(|cell| cell.glyph()).collect::<String>());
    }
}

/// `14:02:11.482  POST /api/orders/{id}  201  184.2 ms  12 spans  1 error  trace 4bf9…`
fn head(tree: &Tree, occasion: Occasion, rows: &[Row], style: &Style) -> String {
    let (start, end) = tree.extent();
    let trace_id = tree.spans.first().map(|span| span.trace_id).unwrap_or_default();
    let mut parts = vec![(Tone::Faint, style.clock(WallTime(start.0)))];
    match (occasion, rows.first()) {
        (Occasion::Whole, Some(root)) => {
            parts.push((Tone::Strong, cut(&root.label.name, LONGEST_HEADING)));
            let tone = if root.label.is_error { Tone::Failed } else { Tone::Plain };
            parts.push((tone, cut(&root.label.status, LONGEST_STATUS)));
            parts.push((Tone::Strong, duration(end.0 - start.0)));
        }
        _ => parts.push((Tone::Strong, "late, after their trace was printed:".to_owned())),
    }
    parts.push((Tone::Plain, count(tree.spans.len(), "span")));
    if tree.errors() > 0 {
        parts.push((Tone::Failed, count(tree.errors(), "error")));
    }
    if occasion == Occasion::Whole && tree.missing_parents > 0 {
        parts.push((Tone::Failed, format!("{} never seen", count(tree.missing_parents, "parent"))));
    }
    parts.push((Tone::Faint, format!("trace {}", hex(trace_id))));
    parts.retain(|(_, part)| !part.is_empty());
    let mut line = String::new();
    let mut left = if usize::from(style.width) < HEAD_IS_CUT_BELOW { usize::from(style.width) } else { usize::MAX };
    for (index, (tone, part)) in parts.iter().enumerate() {
        let gap = if index == 0 { "" } else { "  " };
        let room = left.saturating_sub(gap.len());
        // Of a name the beginning tells something, of a number or an id it does not.
        let is_name = *tone == Tone::Strong && index == 1;
        if width(part) > room && !(is_name && room >= SHORTEST_HEADING) {
            break;
        }
        let part = cut(part, room);
        left = room - width(&part);
        line.push_str(gap);
        style.paint(&mut line, *tone, &part);
    }
    line.push('\n');
    line
}

fn axis(tree: &Tree, columns: &Columns, style: &Style) -> String {
    let (start, end) = tree.extent();
    let labels = ticks(end.0 - start.0);
    let last = columns.bars.saturating_sub(width(&labels[3]));
    let mut line: String = padding(0, columns.before_bars()).collect();
    let mut used = 0;
    for (third, label) in labels.iter().enumerate() {
        let place = if third == 3 { last } else { columns.bars * third / 3 };
        let has_room = third == 3 || place + width(label) < last;
        if place >= used && has_room {
            line.extend(padding(used, place));
            line.push_str(label);
            used = place + width(label) + 1;
            line.push(' ');
        }
    }
    line.truncate(line.trim_end().len());
    let mut painted = String::new();
    style.paint(&mut painted, Tone::Faint, &line);
    painted.push('\n');
    painted
}

fn hex(trace_id: TraceId) -> String {
    trace_id.0.iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// `1 span`, `12 spans`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
