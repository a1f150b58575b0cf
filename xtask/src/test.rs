// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask test`: all tests that this machine allows, and a line for each suite that it does not.

use std::{
    path::{Path, PathBuf},
    slice::from_ref,
};

use anyhow::{Result, ensure};

use crate::{
    build, cluster, collector, deb, image, peers, pod_monitors,
    steps::{output_of, say},
    tally::{Tally, run_tests},
    workspace::{cargo, has_capability, is_root, onlooker},
};

const CAP_SYS_ADMIN: u32 = 21;

/// A suite in `tests/` that is a feature of its package, because it needs more than `cargo test` may ask for.
struct Suite {
    name: &'static str,
    /// What the machine lacks.
    obstacle: Option<String>,
    /// Variables that say where other programs are.
    programs: Vec<(&'static str, PathBuf)>,
}

pub fn run() -> Result<()> {
    let tally = run_all()?;
    println!("{tally}");
    ensure!(tally.failed == 0, "there are failed tests");
    Ok(())
}

/// Runs every suite, whatever the ones before it gave.
pub fn run_all() -> Result<Tally> {
    let mut summary = Vec::new();
    build::run()?;
    peers::install();

    say("test: unit, property and replay tests");
    summary.push(("cargo test", run_tests(&mut cargo(["test", "--no-fail-fast"]))?, None));

    let kernel = kernel_obstacle();
    let (collector, missing) = made("ONLOOKER_COLLECTOR", collector::run());
    let (kubernetes, absent) = made("ONLOOKER_KUBERNETES_PROGRAMS", cluster::find().map_err(anyhow::Error::msg));
    let (image, unmade) = made("ONLOOKER_IMAGE", image::run());
    let (package, unpacked) = made("ONLOOKER_DEB", deb::run());
    if let Some(reason) = unpacked {
        say(format!("test: there is no Debian package: {reason}"));
    }
    let helm = cluster::HELM.find().map(|program| ("ONLOOKER_HELM", program));
    let compose = cluster::COMPOSE.find().map(|program| ("ONLOOKER_COMPOSE", program));
    let counter = cluster::COUNTER.find().map(|program| ("ONLOOKER_COUNTER", program));
    let kwok = cluster::KWOK.find().map(|program| ("ONLOOKER_KWOK", program));
    let monitors = pod_monitors::find().map(|file| ("ONLOOKER_POD_MONITORS", file));
    // Its tests run the image in containers of their own making.
    let confined = (!has_capability(CAP_SYS_ADMIN)).then(|| "they need CAP_SYS_ADMIN, to mount".to_owned());
    let suite = |name, obstacle, programs: &[Option<(&'static str, PathBuf)>]| Suite {
        name,
        obstacle,
        programs: programs.iter().flatten().cloned().collect(),
    };
    let suites = [
        suite("kernel", kernel.clone(), &[]),
        suite("tls", kernel.clone(), &[]),
        suite("e2e", kernel.clone().or(missing.clone()), from_ref(&collector)),
        suite(
            "deploy",
            kernel.clone().or(unmade.clone()).or(confined.clone()),
            &[image.clone(), package, helm.clone(), compose, collector.clone()],
        ),
        suite("cluster", kernel.clone().or(absent), &[kubernetes.clone(), helm.clone(), monitors]),
        suite(
            "node",
            kernel.or_else(cluster::node_obstacle).or(missing).or(unmade).or(confined),
            &[kubernetes, helm, collector, image, counter, kwok],
        ),
    ];
    for suite in suites {
        summary.push((suite.name, suite.run()?, suite.obstacle));
    }

    let mut total = Tally::default();
    println!();
    for (name, tally, obstacle) in summary {
        let reason = obstacle.map(|obstacle| format!(": {obstacle}")).unwrap_or_default();
        println!("{name:<12}{tally}{reason}");
        total += tally;
    }
    Ok(total)
}

impl Suite {
    fn run(&self) -> Result<Tally> {
        let test = || cargo(["test", "--package", "onlooker-tests", "--test", self.name, "--features", self.name]);
        if let Some(obstacle) = &self.obstacle {
            say(format!("test: {} tests are skipped: {obstacle}", self.name));
            let list = output_of(test().args(["--quiet", "--", "--list"]))?;
            let skipped = list.lines().filter(|line| line.ends_with(": test")).count();
            return Ok(Tally { skipped: skipped as u64, ..Tally::default() });
        }
        say(format!("test: {} tests", self.name));
        // One at a time: the tests watch, and some of them flood, the machine that the others run on.
        let mut test = test();
        test.args(["--", "--test-threads=1"]).env("ONLOOKER_BINARY", onlooker());
        run_tests(test.envs(self.programs.iter().map(|(variable, place)| (variable, place))))
    }
}

/// What tests are told through this variable, or why it is not there.
fn made(variable: &'static str, made: Result<PathBuf>) -> (Option<(&'static str, PathBuf)>, Option<String>) {
    match made {
        Ok(place) => (Some((variable, place)), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    }
}

/// Why this machine does not let the kernel programs in.
pub fn kernel_obstacle() -> Option<String> {
    const CAP_BPF: u32 = 39;
    if !is_root() {
        Some("they need root".into())
    } else if !has_capability(CAP_BPF) && !has_capability(CAP_SYS_ADMIN) {
        Some("they need CAP_BPF".into())
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        Some("this kernel has no BTF".into())
    } else if !Path::new("/sys/kernel/tracing/events").exists() {
        Some("tracefs is not mounted".into())
    } else {
        None
    }
}
