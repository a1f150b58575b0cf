// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask demo`: sample services that call each other, watched for a few seconds, their traces as waterfalls.
//!
//! Builds what is missing, starts the services on free ports of the loopback, starts Onlooker for exactly those, sends
//! a bounded amount of traffic, and ends by itself with the ledger. Nothing is left running: see `demo/services.rs`.

mod services;
mod traffic;
mod watcher;

use anyhow::{Result, ensure};

use crate::{
    build,
    steps::{run as run_step, say},
    workspace::{cargo, is_root, target},
};

use services::Shop;
use watcher::Watcher;

pub fn run() -> Result<()> {
    let onlooker = build::run()?;
    run_step(&mut cargo(["build", "--quiet", "--package", "onlooker-demo"]))?;
    if !is_root() {
        say("demo: without root the kernel will refuse; try `sudo -E cargo xtask demo`");
    }

    let shop = Shop::start(&target().join("debug/onlooker-demo"))?;
    say(format!("demo: a shop of {} services: {}", shop.services.len(), shop.summary()));
    for reason in &shop.left_out {
        say(format!("demo: left out, Rust stands in: {reason}"));
    }

    let watcher = Watcher::start(&onlooker, &shop.ports())?;
    say(format!("demo: {} requests to the gateway, watched from outside\n", traffic::REQUESTS));
    let answers = traffic::send(shop.gateway())?;
    let ledger = watcher.finish()?;
    println!("{ledger}");
    // A counter is printed where it is not zero.
    ensure!(ledger.contains("onlooker_spans_exported_total"), "no trace was shown");
    say(format!("demo: {answers}"));
    say(format!(
        "demo: now watch your own: `{} --pid PID`, or `--open-port 8080`; `--endpoint http://localhost:4317` sends the \
         traces to a collector, `onlooker doctor` says what this machine allows",
        onlooker.display()
    ));
    Ok(())
}
