// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask ci`: the one list of checks. What CI runs is what a person runs.
//!
//! A check that fails does not hide the ones behind it: all run, and the end says what each gave.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::{
    bench, demo, fuzz, image, setup,
    steps::{run as run_step, say},
    tally::{Tally, run_tests},
    test, tidy, vm,
    workspace::{cargo, find_program, target},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tests {
    Run,
    /// `cargo xtask test` was called before, as `.ci/run` does.
    AlreadyRun,
}

enum Outcome {
    Passed,
    Skipped(String),
    Tests(Tally),
}

/// A check by name. Its doc comment says what it keeps true.
struct Check {
    name: &'static str,
    run: fn() -> Result<Outcome>,
}

const CHECKS: &[Check] = &[
    Check { name: "format", run: format },
    Check { name: "tidy", run: || passed(tidy::run()) },
    Check { name: "clippy", run: clippy },
    Check { name: "clippy, kernel programs", run: clippy_kernel },
    Check { name: "documentation", run: documentation },
    Check { name: "licences, advisories", run: deny },
    Check { name: "fuzz", run: fuzz_targets },
    Check { name: "bench parse", run: || passed(bench::parse()) },
    Check { name: "demo", run: show },
    Check { name: "other kernels", run: other_kernels },
    Check { name: "image for both machines", run: image_for_both },
    Check { name: "bench cost", run: cost },
];

pub fn run(tests: Tests) -> Result<()> {
    let mut lines = Vec::new();
    let mut total = Tally::default();
    let with_tests = Check { name: "tests", run: || Ok(Outcome::Tests(test::run_all()?)) };
    let tests = (tests == Tests::Run).then_some(&with_tests);
    // Needed by the lints too: what they read must build.
    setup::run()?;
    for check in CHECKS.iter().chain(tests) {
        say(format!("ci: {}", check.name));
        let start = Instant::now();
        let (tally, word) = match (check.run)() {
            Ok(Outcome::Passed) => (Tally { passed: 1, ..Tally::default() }, "passed".to_owned()),
            Ok(Outcome::Skipped(reason)) => (Tally { skipped: 1, ..Tally::default() }, format!("skipped: {reason}")),
            Ok(Outcome::Tests(tally)) => (tally, tally.to_string()),
            Err(error) => {
                eprintln!("error: {error:#}");
                (Tally { failed: 1, ..Tally::default() }, "FAILED".to_owned())
            }
        };
        total += tally;
        lines.push(format!("{:<26}{:>6.1} s  {word}", check.name, start.elapsed().as_secs_f64()));
    }
    println!("\n{}\n{total}", lines.join("\n"));
    ensure!(total.failed == 0, "there are failed checks");
    Ok(())
}

fn passed(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Passed)
}

fn format() -> Result<Outcome> {
    passed(run_step(&mut cargo(["fmt", "--all", "--", "--check"])))
}

/// With every feature, so that the tests which need root are read too.
fn clippy() -> Result<Outcome> {
    passed(run_step(
        cargo(["clippy", "--quiet", "--workspace", "--exclude", "agent-ebpf", "--all-targets", "--all-features"])
            .args(["--", "-D", "warnings"]),
    ))
}

fn clippy_kernel() -> Result<Outcome> {
    passed(run_step(
        cargo(["clippy", "--quiet", "--package", "agent-ebpf", "--release", "--target", "bpfel-unknown-none"])
            .args(["-Z", "build-std=core", "--target-dir"])
            // Apart: the bootstrap variable would make the other folder's builds stale.
            .arg(target().join("kernel-clippy"))
            .args(["--", "-D", "warnings"])
            .env("RUSTC_BOOTSTRAP", "1")
            // As agent/build.rs says it: which registers the arguments of a call are in.
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS", "--cfg=bpf_target_arch=\"x86_64\""),
    ))
}

fn documentation() -> Result<Outcome> {
    passed(run_step(
        cargo(["doc", "--quiet", "--workspace", "--exclude", "agent-ebpf", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    ))
}

/// `tidy` checks the licences from deny.toml on every machine; what else cargo-deny knows is checked where it is installed.
fn deny() -> Result<Outcome> {
    if find_program("cargo-deny").is_none() {
        return Ok(Outcome::Skipped("cargo-deny is not installed; tidy has checked the licences".into()));
    }
    passed(run_step(&mut cargo(["deny", "check", "bans", "licenses", "sources"])))
}

/// Every backend on every kernel of the list, with the tests that go through each part of the kernel programs.
fn other_kernels() -> Result<Outcome> {
    match vm::obstacle() {
        Some(obstacle) => Ok(Outcome::Skipped(obstacle)),
        None => Ok(Outcome::Tests(vm::run_core()?)),
    }
}

/// Each machine finds its own binary in it. That for arm64 is the one that the guests before had: nothing is built twice.
fn image_for_both() -> Result<Outcome> {
    if let Some(obstacle) = vm::obstacle() {
        return Ok(Outcome::Skipped(obstacle));
    }
    let archive = image::run_for_both()?;
    let mut test = cargo(["test", "--package", "onlooker-tests", "--test", "deploy", "--features", "deploy"]);
    test.args(["--", "image::each_machine_finds_its_own_program", "--exact"]);
    test.env("ONLOOKER_IMAGE", archive).env("ONLOOKER_IMAGE_MACHINES", "amd64,arm64");
    Ok(Outcome::Tests(run_tests(&mut test)?))
}

/// Small requests on every backend, against what is committed: the figures are exact, so that growth is no accident.
fn cost() -> Result<Outcome> {
    match vm::obstacle() {
        Some(obstacle) => Ok(Outcome::Skipped(obstacle)),
        None => passed(bench::cost(&["--check"])),
    }
}

/// The README's first command: it ends by itself, and shows traces.
fn show() -> Result<Outcome> {
    if let Some(obstacle) = test::kernel_obstacle() {
        return Ok(Outcome::Skipped(obstacle));
    }
    passed(demo::run())
}

fn fuzz_targets() -> Result<Outcome> {
    if !fuzz::folder().join("Cargo.toml").exists() {
        return Ok(Outcome::Skipped("there are no fuzz targets".into()));
    }
    if find_program("c++").is_none() {
        return Ok(Outcome::Skipped("there is no C++ compiler, which libFuzzer is built with".into()));
    }
    passed(fuzz::run())
}
