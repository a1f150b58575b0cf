// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fuzz targets beside the parsers: every kept input, then a few seconds of new ones.
//!
//! Built with the pinned compiler and the flags that cargo-fuzz would give, so that no further tool is needed. To search
//! for longer, run the program that is printed.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    steps::{run as run_step, say},
    workspace::{cargo, root, target},
};

const HOST: &str = "x86_64-unknown-linux-gnu";

/// Longer finds more and holds up everybody who waits for CI; shorter does little more than read the corpus again.
const SECONDS_PER_TARGET: u32 = 10;

/// Coverage counters for libFuzzer. Overflow and debug assertions stay on: a wrong sum is a finding.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

/// The folder of the fuzz targets.
pub fn folder() -> PathBuf {
    root().join("agent-protocols/fuzz")
}

pub fn run() -> Result<()> {
    let built = target().join("fuzz");
    run_step(
        cargo(["build", "--quiet", "--release", "--bins", "--target", HOST, "--manifest-path"])
            .arg(folder().join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&built)
            .env("RUSTFLAGS", FLAGS),
    )?;
    for entry in fs::read_dir(folder().join("fuzz_targets")).context("the fuzz targets lie in fuzz_targets/")? {
        let name = entry?.path().file_stem().context("a fuzz target has a name")?.to_owned();
        let program = built.join(HOST).join("release").join(&name);
        let corpus = folder().join("corpus").join(&name);
        say(format!("fuzz: {} for {SECONDS_PER_TARGET} s", program.display()));
        // What is found goes to the first folder: the kept corpus is read and never written.
        let found = built.join("found").join(&name);
        fs::create_dir_all(&found)?;
        let mut fuzz = Command::new(&program);
        fuzz.arg(&found).args(corpus.is_dir().then_some(&corpus));
        let dictionary = folder().join("dictionary.txt");
        fuzz.args(dictionary.is_file().then(|| format!("-dict={}", dictionary.display())));
        fuzz.arg(format!("-max_total_time={SECONDS_PER_TARGET}")).args(["-verbosity=0", "-timeout=5"]);
        run_step(fuzz.current_dir(&built)).context("the input that did it lies in target/fuzz")?;
    }
    Ok(())
}
