// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask collector`: the OpenTelemetry collector that the end-to-end tests talk to.
//!
//! What is built once per machine is kept in `$XDG_CACHE_HOME/onlooker/`, or `~/.cache/onlooker/`.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::go_program::GoProgram;

const COLLECTOR: GoProgram = GoProgram {
    name: "otelcol",
    folder: "tests/e2e/collector",
    sources: &["main.go", "go.mod", "go.sum"],
    package: ".",
    cost: "two minutes of CPU",
};

/// Gives the path of the collector; fails with a reason where it can neither be found nor built.
pub fn run() -> Result<PathBuf> {
    COLLECTOR.build()
}

/// What is built once per machine.
pub fn cache() -> Result<PathBuf> {
    let folder = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME says where the collector is kept")?
        .join("onlooker");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
