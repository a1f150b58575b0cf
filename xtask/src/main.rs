// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask TASK`: one file per task.

#![expect(dead_code, reason = "the tasks that use the rest are not merged yet")]

use anyhow::{Result, bail};

mod build;
mod demo;
mod setup;
mod steps;
mod workspace;

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("demo") => demo::run(),
        other => bail!("there is no task {other:?}"),
    }
}
