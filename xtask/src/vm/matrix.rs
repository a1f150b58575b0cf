// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel tests on every kernel and backend: the same sources as `cargo xtask test` runs here, built static, with the
//! daemon that is released.
//!
//! In: kernels. Out: for each of them and each backend what passed, failed and was skipped, and why. A guest runs one
//! backend, so that what one leaves behind cannot help or hurt the next.

use std::{
    fmt,
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    guest::Guest,
    kernel::{Kernel, Series},
    machine::Machine,
    programs::Programs,
    table::Table,
};
use crate::{
    steps::say,
    tally::{SKIPPED, Tally},
};

pub const BACKENDS: [&str; 3] = ["fentry", "kprobe", "syscall"];

/// Where the clock counts instructions, processors take turns of a tenth of a second: a second one would spend its turns
/// waiting for the first to answer it. What happens at the very same time is tested on the machine that runs this.
const PROCESSORS: u32 = 1;

/// The programs lie in it, and tests fill buffers. Larger: guests that run beside other work swap. Smaller: the kernel
/// ends a test for want of memory.
const MEMORY_MIB: u32 = 2048;

/// Of one backend on one kernel: many times what it takes on an idle machine. Longer: a guest that hangs holds CI up.
/// Shorter: a busy machine fails it.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// Which part of the matrix is run, and which of the tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice<'a> {
    pub backend: Option<&'a str>,
    /// What the names of the tests contain, one or another; all where there are none.
    pub tests: Vec<&'a str>,
}

/// What one backend gave on one kernel.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub series: &'static str,
    pub release: String,
    pub backend: &'static str,
    pub result: Ran,
}

#[derive(Clone, Debug)]
pub enum Ran {
    /// The backend cannot be there, by what is known of the kernel.
    Absent(&'static str),
    Tests {
        tally: Tally,
        took: Duration,
        /// Tests that could not run there, with the reason of each.
        skipped: Vec<(String, String)>,
        /// What the verifier made of the programs.
        table: Table,
    },
}

/// Runs the tests on each of the kernels.
pub fn run(kernels: &[&'static Series], choice: &Choice<'_>) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for machine in [Machine::X86_64, Machine::Arm64] {
        let series: Vec<_> = kernels.iter().filter(|series| series.machine == machine).collect();
        if series.is_empty() {
            continue;
        }
        let programs = Programs::build(machine)?;
        for series in series {
            let kernel = series.fetch()?;
            for backend in BACKENDS.into_iter().filter(|&name| choice.backend.is_none_or(|wanted| wanted == name)) {
                let result = match series.lacks.iter().find(|(lacking, _)| *lacking == backend) {
                    Some((_, reason)) => Ran::Absent(reason),
                    None => test(&programs, &kernel, backend, &choice.tests),
                };
                outcomes.push(Outcome { series: kernel.name, release: kernel.release.clone(), backend, result });
            }
        }
    }
    Ok(outcomes)
}

fn test(programs: &Programs, kernel: &Kernel, backend: &str, tests: &[&str]) -> Ran {
    say(format!("vm: kernel tests on {} ({}), {backend}", kernel.name, kernel.release));
    let guest = Guest {
        kernel,
        processors: PROCESSORS,
        memory_mib: MEMORY_MIB,
        // A busy host makes the guest's seconds no shorter, and time that nothing happens in passes at once.
        counts_instructions: true,
        // They guard against a guest that nobody attacks, at a price that emulation multiplies.
        kernel_arguments: "mitigations=off",
    };
    let start = Instant::now();
    let (mut reading, mut table) = (Reading::default(), Table::default());
    let ended = guest.run(&programs.job(backend, tests), LIMIT, |line| {
        println!("{line}");
        reading.read(line);
        table.read(kernel.name, line);
    });
    let Reading { mut tally, skipped, .. } = reading;
    match ended {
        Ok(report) if report.status == 0 && tally != Tally::default() => {}
        // It broke off before it had counted.
        Ok(_) => tally.failed = tally.failed.max(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            tally = Tally { failed: 1, ..Tally::default() };
        }
    }
    Ran::Tests { tally, took: start.elapsed(), skipped, table }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:<12}{:<9}", self.series, self.backend)?;
        match &self.result {
            Ran::Absent(reason) => write!(out, "not there: {reason}"),
            Ran::Tests { tally, took, .. } => write!(out, "{:>6.0} s  {tally}", took.as_secs_f64()),
        }
    }
}

/// A line for each outcome; then each reason with the tests that it kept from running.
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let _ = writeln!(text, "{outcome}");
    }
    for Skip { test, reason, places } in skips(outcomes) {
        let _ = writeln!(text, "skipped: {test}: {reason} ({})", places.join(", "));
    }
    text
}

/// A test that could not run, and where.
pub struct Skip<'a> {
    pub test: &'a str,
    pub reason: &'a str,
    /// Kernel and backend.
    pub places: Vec<String>,
}

/// What was skipped, each test and reason once.
pub fn skips(outcomes: &[Outcome]) -> Vec<Skip<'_>> {
    let mut skips: Vec<Skip<'_>> = Vec::new();
    for outcome in outcomes {
        let Ran::Tests { skipped, .. } = &outcome.result else { continue };
        for (test, reason) in skipped {
            let place = format!("{} {}", outcome.series, outcome.backend);
            match skips.iter_mut().find(|skip| skip.test == test && skip.reason == reason) {
                Some(skip) => skip.places.push(place),
                None => skips.push(Skip { test, reason, places: vec![place] }),
            }
        }
    }
    skips
}

/// The sum of all.
pub fn total(outcomes: &[Outcome]) -> Tally {
    let mut total = Tally::default();
    for outcome in outcomes {
        if let Ran::Tests { tally, .. } = outcome.result {
            total += tally;
        }
    }
    total
}

/// The programs of all.
pub fn table(outcomes: &[Outcome]) -> Table {
    let tables = outcomes.iter().filter_map(|outcome| match &outcome.result {
        Ran::Tests { table, .. } => Some(table.clone()),
        Ran::Absent(_) => None,
    });
    tables.collect()
}

/// What a test run says, line by line.
#[derive(Debug, Default)]
struct Reading {
    tally: Tally,
    reason: Option<String>,
    skipped: Vec<(String, String)>,
}

impl Reading {
    fn read(&mut self, line: &str) {
        self.tally.read(line);
        if let Some(reason) = line.strip_prefix(SKIPPED) {
            self.reason = Some(reason.to_owned());
        }
        // The reason comes first: the name's line is whole only when the test has ended.
        let name = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")).map(|(name, _)| name);
        if let (Some(name), Some(reason)) = (name, self.reason.take_if(|_| name.is_some())) {
            self.skipped.push((name.to_owned(), reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_find_their_tests() {
        let mut reading = Reading::default();
        for line in [
            "test a::plain ... ok",
            "skipped: no nginx",
            "test b::skips ... ok",
            "test c::fails ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            reading.read(line);
        }
        assert_eq!(reading.skipped, [("b::skips".to_owned(), "no nginx".to_owned())]);
        assert_eq!(reading.tally, Tally { passed: 1, failed: 1, skipped: 1 });
    }
}
