// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What passed, failed and was skipped; and the reading of these numbers out of a test run.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    ops::AddAssign,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result};

use crate::steps::shown;

/// What a test prints, with its reason behind it, when it finds that it cannot run here (`onlooker_tests::skip`).
pub const SKIPPED: &str = "skipped: ";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl Tally {
    /// Takes in one line of a test run.
    pub fn read(&mut self, line: &str) {
        if line.starts_with(SKIPPED) {
            // The harness will count it as passed.
            self.skipped += 1;
            self.passed = self.passed.wrapping_sub(1);
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(kind)) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            match kind {
                "passed" => self.passed = self.passed.wrapping_add(number),
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// Runs tests with their output shown, and counts. A run that breaks off before it has counted counts as one failure.
pub fn run_tests(command: &mut Command) -> Result<Tally> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let errors = child.stderr.take().expect("it is piped");
    let skipped = thread::spawn(move || {
        let mut tally = Tally::default();
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            eprintln!("{line}");
            tally.read(&line);
        }
        tally
    });
    let mut tally = Tally::default();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok) {
        println!("{line}");
        tally.read(&line);
    }
    let skipped = skipped.join().expect("the reader does not panic");
    tally.passed = tally.passed.wrapping_add(skipped.passed);
    tally.skipped += skipped.skipped;
    if !child.wait()?.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_binaries_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "skipped: nginx is not installed",
            "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.read(line);
        }
        assert_eq!(tally, Tally { passed: 6, failed: 1, skipped: 3 });
    }
}
