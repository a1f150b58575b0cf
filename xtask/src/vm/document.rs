// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tables of `docs/KERNELS.md`. In: what the whole matrix gave. Out: the part of the document between its two
//! markers, written anew. The text around it is a person's.

use std::{fmt::Write as _, fs};

use anyhow::{Context as _, Result, ensure};

use super::matrix::{BACKENDS, Outcome, Ran, skips};
use crate::{steps::say, workspace::root};

const DOCUMENT: &str = "docs/KERNELS.md";
const BEGIN: &str = "<!-- Written by `cargo xtask vm --update`. -->\n";
const END: &str = "<!-- The end of what is written. -->\n";

/// Writes the tables.
pub fn update(outcomes: &[Outcome]) -> Result<()> {
    let path = root().join(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
    fs::write(&path, replaced(&text, &tables(outcomes))?)?;
    say(format!("vm: {DOCUMENT} is written"));
    Ok(())
}

/// The text with what lies between the markers exchanged.
fn replaced(text: &str, between: &str) -> Result<String> {
    let (before, rest) = text.split_once(BEGIN).context("the first marker is missing")?;
    let (_, after) = rest.split_once(END).context("the second marker is missing")?;
    ensure!(!after.contains(BEGIN), "there are two tables");
    Ok(format!("{before}{BEGIN}\n{between}\n{END}{after}"))
}

fn tables(outcomes: &[Outcome]) -> String {
    let mut text = format!("| kernel | {} |\n|---|{}\n", BACKENDS.join(" | "), "---|".repeat(BACKENDS.len()));
    let mut kernels: Vec<(&str, &str)> = outcomes.iter().map(|outcome| (outcome.series, &*outcome.release)).collect();
    kernels.dedup();
    for (series, release) in kernels {
        let _ = write!(text, "| {series}: `{release}` |");
        for backend in BACKENDS {
            let outcome = outcomes.iter().find(|outcome| outcome.series == series && outcome.backend == backend);
            let _ = write!(text, " {} |", outcome.map_or("not run".into(), |outcome| cell(&outcome.result)));
        }
        text.push('\n');
    }
    let skips = skips(outcomes);
    if !skips.is_empty() {
        text.push_str("\n| skipped | why | where |\n|---|---|---|\n");
    }
    for skip in skips {
        let _ = writeln!(text, "| `{}` | {} | {} |", skip.test, skip.reason, skip.places.join(", "));
    }
    text
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

    #[test]
    fn the_text_around_the_tables_stays() -> Result<()> {
        let skipped = vec![("a::b".to_owned(), "no nginx".to_owned())];
        let tally = Tally { passed: 4, failed: 0, skipped: 1 };
        let outcome = |backend, result| Outcome { series: "6.1", release: "6.1.0-9".to_owned(), backend, result };
        let outcomes = [
            outcome("fentry", Ran::Absent("too old")),
            outcome("syscall", Ran::Tests { tally, took: Duration::ZERO, skipped, table: Table::default() }),
        ];
        let text = replaced(&format!("before\n{BEGIN}old\n{END}after\n"), &tables(&outcomes))?;
        let expected = "| kernel | fentry | kprobe | syscall |\n|---|---|---|---|\n\
            | 6.1: `6.1.0-9` | not there: too old | not run | 4 passed, 0 failed, 1 skipped |\n\n\
            | skipped | why | where |\n|---|---|---|\n| `a::b` | no nginx | 6.1 syscall |\n";
        assert_eq!(text, format!("before\n{BEGIN}\n{expected}\n{END}after\n"));
        Ok(())
    }
}
