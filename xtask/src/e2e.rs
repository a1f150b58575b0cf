// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask e2e cluster [TEST]`: Onlooker in a real cluster of one node. Builds and installs what that takes, makes the
//! image and runs `tests/node`, whose cluster has a network, mounts and control groups of its own.

use anyhow::{Result, bail, ensure};

use crate::{cluster, collector, image, tally::run_tests, test, workspace::cargo};

/// `filter`: only tests whose names have it in them.
pub fn run(filter: &[&str]) -> Result<()> {
    if let Some(obstacle) = test::kernel_obstacle() {
        bail!("a cluster cannot be started here: {obstacle}");
    }
    let kubernetes = cluster::run()?;
    let image = image::run()?;
    let collector = collector::run()?;
    let mut test = cargo(["test", "--package", "onlooker-tests", "--test", "node", "--features", "node", "--"]);
    test.args(["--test-threads=1", "--nocapture"]).args(filter);
    test.env("ONLOOKER_KUBERNETES_PROGRAMS", kubernetes)
        .env("ONLOOKER_IMAGE", image)
        .env("ONLOOKER_COLLECTOR", collector)
        .env("ONLOOKER_HELM", cluster::HELM.build()?)
        .env("ONLOOKER_COUNTER", cluster::COUNTER.build()?)
        .env("ONLOOKER_KWOK", cluster::KWOK.build()?);
    let tally = run_tests(&mut test)?;
    println!("{tally}");
    ensure!(tally.failed == 0, "there are failed tests");
    Ok(())
}
