// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask tidy`: the rules of the code that neither the compiler nor clippy knows.
//!
//! In: the tracked files. Out: the problems, each with its place. The numbers are those of the invariants in
//! `docs/ARCHITECTURE.md`. What clippy already guards (unwrap, unsafe without a reason) is not checked twice.

use anyhow::{Result, ensure};

use crate::steps::say;

mod architecture;
mod licences;
mod runtimes;
mod source;
mod text;

use source::Source;

/// What is wrong, and where: `path:line: sentence`.
#[derive(Debug, PartialEq, Eq)]
struct Problem(String);

impl Problem {
    /// `line` counts from zero.
    fn at(source: &Source, line: usize, sentence: impl std::fmt::Display) -> Self {
        Self(format!("{}:{}: {sentence}", source.path, line + 1))
    }
}

/// A rule that looks at one file at a time.
type Rule = fn(&Source) -> Vec<Problem>;

const RULES: &[Rule] = &[
    text::licence_and_purpose_come_first,
    text::files_stay_short,
    text::folders_name_things,
    text::nothing_is_left_over,
    text::lints_are_expected_not_allowed,
    text::paths_of_one_machine_stay_there,
    text::packages_take_the_lints_of_the_workspace,
    text::documents_name_what_is_there,
    architecture::parsers_are_pure,
    architecture::the_kernel_side_knows_no_protocol,
    architecture::aya_stays_in_capture,
    architecture::the_network_stays_at_the_edge,
    architecture::released_spans_are_sealed,
    architecture::queues_are_bounded,
];

/// More lines than this are worth a second look; far from an error.
const LONG_FILE: usize = 400;

pub fn run() -> Result<()> {
    let sources = source::read_all()?;
    let mut problems: Vec<Problem> =
        sources.iter().flat_map(|source| RULES.iter().flat_map(|rule| rule(source))).collect();
    problems.extend(architecture::losses_go_through_one_function(&sources));
    problems.extend(runtimes::are_described_whole(&sources));
    problems.extend(licences::check(&sources)?);
    for source in &sources {
        let lines = source.text.lines().count();
        if source.is_rust() && lines > LONG_FILE {
            say(format!("tidy: {} is long: {lines} lines", source.path));
        }
    }
    for Problem(problem) in &problems {
        eprintln!("{problem}");
    }
    ensure!(problems.is_empty(), "tidy found {} problems", problems.len());
    Ok(())
}
