// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tables of `docs/KERNELS.md`. In: what backends gave on kernels. Out: the part of the document between its two
//! markers, where what was run now replaces what it gave before. The text around it is a person's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
};

use anyhow::{Context as _, Result, ensure};

use super::matrix::{BACKENDS, Outcome, Ran};
use crate::{steps::say, workspace::root};

const DOCUMENT: &str = "docs/KERNELS.md";
const BEGIN: &str = "<!-- Written by `cargo xtask vm --update`. -->\n";
const END: &str = "<!-- The end of what is written. -->\n";

const NOT_RUN: &str = "not run";

/// Writes the tables.
pub fn update(outcomes: &[Outcome]) -> Result<()> {
    let path = root().join(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
    fs::write(&path, updated(&text, outcomes)?)?;
    say(format!("vm: {DOCUMENT} is written"));
    Ok(())
}

fn updated(text: &str, outcomes: &[Outcome]) -> Result<String> {
    let (before, rest) = text.split_once(BEGIN).context("the first marker is missing")?;
    let (between, after) = rest.split_once(END).context("the second marker is missing")?;
    ensure!(!after.contains(BEGIN), "there are two tables");
    let mut tables = Tables::read(between);
    outcomes.iter().for_each(|outcome| tables.take(outcome));
    Ok(format!("{before}{BEGIN}\n{tables}\n{END}{after}"))
}

#[derive(Debug, Default)]
struct Tables {
    /// What each backend gave, by kernel.
    results: BTreeMap<String, [String; BACKENDS.len()]>,
    /// Where a test was skipped, by its name and the reason.
    skips: BTreeMap<[String; 2], BTreeSet<String>>,
}

impl Tables {
    /// Those that were written before. Headings have other numbers of cells, or begin otherwise.
    fn read(text: &str) -> Self {
        let mut tables = Self::default();
        for line in text.lines() {
            let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
            match cells.as_slice() {
                [kernel, results @ ..] if kernel.ends_with('`') && results.len() == BACKENDS.len() => {
                    let results = results.to_vec().try_into().expect("so many");
                    tables.results.insert(kernel.clone(), results);
                }
                [test, reason, places] if test.starts_with('`') => {
                    let places = places.split(", ").map(str::to_owned).collect();
                    tables.skips.insert([test.clone(), reason.clone()], places);
                }
                _ => {}
            }
        }
        tables
    }

    /// One more result. Those of another release of the same kernel go.
    fn take(&mut self, outcome: &Outcome) {
        let kernel = format!("{}: `{}`", outcome.series, outcome.release);
        let is_other = |other: &String| other.starts_with(&format!("{}: ", outcome.series)) && *other != kernel;
        self.results.retain(|other, _| !is_other(other));
        let results = self.results.entry(kernel).or_insert_with(|| BACKENDS.map(|_| NOT_RUN.to_owned()));
        let column = BACKENDS.iter().position(|name| *name == outcome.backend).expect("one of the backends");
        results[column] = cell(&outcome.result);
        let place = format!("{} {}", outcome.series, outcome.backend);
        self.skips.values_mut().for_each(|places| {
            places.remove(&place);
        });
        if let Ran::Tests { skipped, .. } = &outcome.result {
            for (test, reason) in skipped {
                self.skips.entry([format!("`{test}`"), reason.clone()]).or_default().insert(place.clone());
            }
        }
        self.skips.retain(|_, places| !places.is_empty());
    }
}

impl fmt::Display for Tables {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "| kernel | {} |\n|---|{}", BACKENDS.join(" | "), "---|".repeat(BACKENDS.len()))?;
        for (kernel, results) in &self.results {
            writeln!(out, "| {kernel} | {} |", results.join(" | "))?;
        }
        if !self.skips.is_empty() {
            writeln!(out, "\n| skipped | why | where |\n|---|---|---|")?;
        }
        for ([test, reason], places) in &self.skips {
            let places: Vec<&str> = places.iter().map(String::as_str).collect();
            writeln!(out, "| {test} | {reason} | {} |", places.join(", "))?;
        }
        Ok(())
    }
}

fn cell(result: &Ran) -> String {
    match result {
        Ran::Absent(reason) => format!("not there: {reason}"),
        Ran::Tests { tally, .. } if tally.skipped == 0 && tally.failed == 0 => format!("{} passed", tally.passed),
        Ran::Tests { tally, .. } => tally.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{tally::Tally, vm::table::Table};

    fn outcome(backend: &'static str, result: Ran) -> Outcome {
        Outcome { series: "6.1", release: "6.1.0-9".to_owned(), backend, result }
    }

    fn ran(passed: u64, skipped: &[&str]) -> Ran {
        let tally = Tally { passed, failed: 0, skipped: skipped.len() as u64 };
        let skipped = skipped.iter().map(|&test| (test.to_owned(), "no nginx".to_owned())).collect();
        Ran::Tests { tally, took: Duration::ZERO, skipped, table: Table::default() }
    }

    #[test]
    fn what_was_not_run_stays() -> Result<()> {
        let empty = format!("before\n{BEGIN}{END}after\n");
        let first = updated(
            &empty,
            &[
                outcome("fentry", Ran::Absent("too old")),
                outcome("kprobe", ran(4, &["a::b"])),
                outcome("syscall", ran(4, &["a::b", "c::d"])),
            ],
        )?;
        let second = updated(&first, &[outcome("syscall", ran(6, &[]))])?;
        let expected = "| kernel | fentry | kprobe | syscall |\n|---|---|---|---|\n\
            | 6.1: `6.1.0-9` | not there: too old | 4 passed, 0 failed, 1 skipped | 6 passed |\n\n\
            | skipped | why | where |\n|---|---|---|\n| `a::b` | no nginx | 6.1 kprobe |\n";
        assert_eq!(second, format!("before\n{BEGIN}\n{expected}\n{END}after\n"));
        Ok(())
    }

    #[test]
    fn another_release_is_another_kernel() -> Result<()> {
        let first = updated(&format!("{BEGIN}{END}"), &[outcome("kprobe", ran(4, &[]))])?;
        let newer = Outcome { release: "6.1.0-10".to_owned(), ..outcome("syscall", ran(5, &[])) };
        let second = updated(&first, &[newer])?;
        assert!(second.contains("| 6.1: `6.1.0-10` | not run | not run | 5 passed |\n"), "{second}");
        assert!(!second.contains("6.1.0-9"), "{second}");
        Ok(())
    }
}
