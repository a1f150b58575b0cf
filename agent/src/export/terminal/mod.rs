// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The waterfall of `--print tree`: released spans in, in any order; blocks of text out, one a trace.
//!
//! Does not look at a clock (time is a parameter) and does not write: the caller does, and counts what it is told of.
//! Text that came from the wire is made harmless first, so that no request can steer the terminal of who reads it.

mod bars;
mod columns;
mod critical_path;
mod draw;
mod facts;
mod held;
mod nothing_seen;
mod rows;
#[cfg(test)]
mod samples;
mod style;
#[cfg(test)]
mod tests;
mod tree;
mod units;
mod words;

use std::time::Duration;

use crate::policy::ReleasedSpan;

pub use nothing_seen::{Listener, NotWatched, Situation, nothing_seen};
pub use style::Style;

#[cfg(test)]
pub(super) fn sample() -> ReleasedSpan {
    samples::Sample::server(1, 0..10).released()
}

use draw::{Occasion, count, draw};
use facts::Facts;
use held::Held;
use tree::Tree;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long no span comes before a trace with all its parents is taken for complete. Longer: it is printed later.
    /// Shorter: its last spans are printed apart.
    pub quiet: Duration,
    /// How long no span comes before a trace without all its parents is given up waiting for. Longer: memory, and a
    /// trace that is never whole is seen late. Shorter: slow requests are printed apart from the calls they made.
    pub wait_for_parents: Duration,
    /// Spans held at once, about 300 bytes each. More: memory. Fewer: under load traces are let go before they are
    /// whole.
    pub held_spans: usize,
    /// Rows of one trace. More: it no longer fits a screen. Fewer: calls are missing from it.
    pub rows: usize,
    /// Traces in one second. More: nobody can read them. Fewer: a slow trickle is thinned.
    pub traces_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(300),
            wait_for_parents: Duration::from_secs(10),
            held_spans: 4096,
            rows: 40,
            traces_per_second: 20,
        }
    }
}

/// What is to be written, and which spans that settles.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Printout {
    pub text: String,
    /// Spans that have a row in some text, alone or folded.
    pub shown: u64,
    /// Spans past a limit of rows or traces; a line of the text says how many, now or when the second is over.
    pub left_out: u64,
}

pub struct Terminal {
    style: Style,
    limits: Limits,
    held: Held,
    second: Second,
    /// Settled without a text, to be told with the next one.
    left_out: u64,
}

/// What happened in the second that runs.
#[derive(Default)]
struct Second {
    number: u64,
    printed: u32,
    /// Past the limit.
    traces: usize,
    spans: usize,
    errors: usize,
}

impl Terminal {
    #[must_use]
    pub fn new(style: Style, limits: Limits) -> Self {
        Self { style, limits, held: Held::new(limits), second: Second::default(), left_out: 0 }
    }

    /// `now` counts from any fixed moment and never goes back.
    pub fn handle_span(&mut self, span: &ReleasedSpan, now: Duration) {
        if !self.held.handle_span(Facts::of(span), now) {
            self.second.spans += 1;
            self.left_out += 1;
        }
    }

    /// Nothing is held, so that there is nothing to poll for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.held.is_empty() && self.second.spans == 0
    }

    pub fn poll_text(&mut self, now: Duration) -> Option<Printout> {
        let mut printout = Printout::default();
        if self.second.number != now.as_secs() {
            printout.text = self.left_out_line();
            self.second = Second { number: now.as_secs(), ..Second::default() };
        }
        for (occasion, spans) in self.held.poll(now) {
            self.print(occasion, spans, &mut printout);
        }
        printout.left_out += std::mem::take(&mut self.left_out);
        (printout != Printout::default()).then_some(printout)
    }

    /// What is still held, whole or not.
    #[must_use]
    pub fn finish(mut self) -> Printout {
        let mut printout = Printout::default();
        for (occasion, spans) in self.held.finish() {
            self.print(occasion, spans, &mut printout);
        }
        printout.left_out += self.left_out;
        printout.text.push_str(&self.left_out_line());
        printout
    }

    fn print(&mut self, occasion: Occasion, spans: Vec<Facts>, printout: &mut Printout) {
        let Some(trace_id) = spans.first().map(|span| span.trace_id) else { return };
        let is_printed = self.second.printed < self.limits.traces_per_second;
        self.held.remember(trace_id, is_printed || occasion == Occasion::Late);
        let total = spans.len();
        let shown = if is_printed {
            self.second.printed += 1;
            let block = draw(&Tree::new(spans), occasion, self.limits.rows, &self.style);
            printout.text.push_str(&block.text);
            block.shown
        } else {
            self.second.traces += 1;
            self.second.spans += total;
            self.second.errors += spans.iter().filter(|span| span.is_error).count();
            0
        };
        printout.shown += shown as u64;
        printout.left_out += (total - shown) as u64;
    }

    fn left_out_line(&self) -> String {
        let Second { traces, spans, errors, .. } = self.second;
        if spans == 0 {
            return String::new();
        }
        let mut line = match traces {
            0 => format!("… and {} of traces that were not printed", count(spans, "span")),
            _ => format!("… and {} in that second, {}", count(traces, "more trace"), count(spans, "span")),
        };
        if errors > 0 {
            line.push_str(&format!(", {}", count(errors, "error")));
        }
        let mut painted = String::new();
        self.style.paint(&mut painted, style::Tone::Faint, &line);
        painted.push_str("\n\n");
        painted
    }
}
