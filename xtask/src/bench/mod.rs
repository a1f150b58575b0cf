// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask bench WHAT`: the parsers alone, the daemon on a made-up recording, the whole against a real server, what it
//! costs to the instruction, and a large cluster.

use anyhow::{Result, ensure};

mod cost;

pub use cost::run as cost;

use crate::{
    build, setup,
    steps::{run as run_step, say},
    workspace::{cargo, find_program, is_root},
};

pub fn parse() -> Result<()> {
    run_step(&mut cargo(["bench", "--package", "agent-protocols", "--bench", "parse"]))
}

/// The measuring itself is `tests/bench/replay/`. It needs no root: nothing is watched.
pub fn replay() -> Result<()> {
    let onlooker = build::run()?;
    if find_program("valgrind").is_none() {
        setup::install_package("valgrind", "to count instructions")?;
    }
    say("bench: replay");
    run_step(
        cargo(["bench", "--quiet", "--package", "onlooker-tests", "--bench", "replay"])
            .env("ONLOOKER_BINARY", onlooker),
    )
}

/// The measuring itself is `tests/bench/cluster/`.
pub fn cluster() -> Result<()> {
    ensure!(is_root(), "bench cluster needs root, to load the kernel programs");
    let onlooker = build::run()?;
    let programs = crate::cluster::run()?;
    say("bench: cluster");
    run_step(
        cargo(["bench", "--quiet", "--package", "onlooker-tests", "--bench", "cluster", "--features", "cluster"])
            .env("ONLOOKER_BINARY", onlooker)
            .env("ONLOOKER_KUBERNETES_PROGRAMS", programs),
    )
}

/// The measuring itself is `tests/bench/uprobe/`. Programs that the machine lacks are left out.
pub fn uprobe() -> Result<()> {
    ensure!(is_root(), "bench uprobe needs root, to attach probes");
    say("bench: uprobe");
    run_step(&mut cargo(["bench", "--quiet", "--package", "onlooker-tests", "--bench", "uprobe"]))
}

/// The measuring itself is `tests/bench/load.rs`: it shares the load generator with the tests.
pub fn load(options: &[&str]) -> Result<()> {
    ensure!(is_root(), "bench load needs root, to load the kernel programs");
    let onlooker = build::run()?;
    if find_program("nginx").is_none() {
        setup::install_package("nginx-light", "as the server that is measured")?;
    }
    say("bench: load");
    run_step(
        cargo(["bench", "--quiet", "--package", "onlooker-tests", "--bench", "load", "--"])
            .args(options)
            .env("ONLOOKER_BINARY", onlooker),
    )
}
