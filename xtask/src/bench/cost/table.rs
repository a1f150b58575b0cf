// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Figures in, a table that a person reads out: Markdown, whose columns line up in a terminal too.

use std::fmt::Write as _;

use super::{
    aims::{Aim, aim},
    figures::{Figures, STATES, nothing_of},
};

const HEAD: [&str; 9] = [
    "state",
    "instructions",
    "over nothing",
    "application",
    "agent",
    "over floor",
    "× nothing",
    "× floor",
    "must / aim",
];

/// The table of one place, under a line that says which, and what was measured beside it.
pub fn text(figures: &Figures) -> String {
    let place = figures.place;
    let mut text = format!(
        "Linux {}, {}, response {} ({} B), {} requests\n\n",
        figures.release, place.backend, place.response.name, place.response.bytes, figures.requests
    );
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(STATES.into_iter().filter_map(|state| row(figures, state)));
    text += &aligned(&rows);
    text.push('\n');
    for (name, what, unit) in [
        ("start_cpu", "instructions of Onlooker until it was ready", 1),
        ("hooks", "hooks", 1),
        ("maps", "KiB of kernel maps", 1024),
        ("memory_at_start", "KiB of memory at rest", 1024),
        ("memory_peak", "KiB at most", 1024),
    ] {
        if let Some(value) = figures.single.get(name) {
            let _ = writeln!(text, "- {} {what}", grouped((value / unit) as f64));
        }
    }
    text + &programs(figures) + &functions(figures)
}

fn programs(figures: &Figures) -> String {
    if figures.programs.is_empty() {
        return String::new();
    }
    let head = ["state", "kernel program", "runs a request", "instructions a run", "a request"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(figures.programs.iter().map(|program| {
        [
            program.state.clone(),
            program.name.clone(),
            format!("{:.2}", program.runs_a_request),
            grouped(program.instructions_a_run),
            grouped(program.runs_a_request * program.instructions_a_run),
        ]
    }));
    format!("\n{}", aligned(&rows))
}

fn functions(figures: &Figures) -> String {
    let mut text = String::new();
    for function in &figures.functions {
        if function.name == "all" {
            let _ = write!(text, "\n{}, {}: ", function.during, function.process);
        }
        let _ = writeln!(text, "{:>14} {}", grouped(function.instructions as f64), function.name);
    }
    text
}

/// What the application pays is all that did not run in Onlooker's own threads.
fn row(figures: &Figures, state: &str) -> Option<[String; 9]> {
    let cost = figures.costs.get(state)?;
    let nothing = nothing_of(state);
    let over = |base| figures.over(state, base).map_or(String::new(), signed);
    let ratio = |base| figures.costs.get(base).map_or(String::new(), |base| format!("{:.3}", cost.total / base.total));
    let is_base = state == nothing;
    let application = figures.over_nothing(state).map_or(String::new(), |over| signed(over - cost.agent));
    let unless_base = |text: String| if is_base { String::new() } else { text };
    let is_with_onlooker = !is_base && state != "floor";
    // The floor was not measured with HTTP/2.
    let over_floor = |text: String| if is_with_onlooker && nothing == "nothing" { text } else { String::new() };
    Some([
        state.to_owned(),
        grouped(cost.total),
        unless_base(over(nothing)),
        unless_base(application),
        if is_with_onlooker { signed(cost.agent) } else { String::new() },
        over_floor(over("floor")),
        unless_base(ratio(nothing)),
        over_floor(ratio("floor")),
        unless_base(limits(figures, state)),
    ])
}

fn limits(figures: &Figures, state: &str) -> String {
    match aim(figures, state) {
        Some(Aim { must, aim: Some(aim) }) => format!("{} / {}", grouped(must), grouped(aim)),
        Some(Aim { must, aim: None }) => grouped(must),
        None => String::new(),
    }
}

fn signed(value: f64) -> String {
    format!("{}{}", if value < 0.0 { "−" } else { "+" }, grouped(value.abs()))
}

/// A whole number, its digits in groups of three.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value <= -0.5 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A Markdown table. The first column is words, the others are numbers.
pub fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            let _ = if column == 0 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
        }
        text += "|\n";
        if number == 0 {
            for column in 0..N {
                let line = "-".repeat(width(column));
                let _ = write!(
                    text,
                    "|{}{line}{}",
                    if column == 0 { ":" } else { "-" },
                    if column == 0 { "-" } else { ":" }
                );
            }
            text += "|\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            ["0", "999", "1 000", "−28 357"],
            [0.4, 999.0, 999.6, -28_357.2].map(grouped).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "bb"], ["ccc", "1"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "| a   | bb |\n|:----|---:|\n| ccc |  1 |\n");
    }
}
