// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask collector`: the OpenTelemetry collector that the end-to-end tests talk to.
//!
//! Built once per machine from `tests/e2e/collector`, whose go.sum pins every source by hash, and kept outside the target
//! folder so that `cargo clean` does not cost two minutes: `$XDG_CACHE_HOME/onlooker/`, or `~/.cache/onlooker/`.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    steps::{run as run_step, say},
    workspace::{find_program, root},
};

/// Gives the path of the collector; fails with a reason where it can neither be found nor built.
pub fn run() -> Result<PathBuf> {
    let sources = root().join("tests/e2e/collector");
    let mut hasher = DefaultHasher::new();
    for file in ["main.go", "go.mod", "go.sum"] {
        fs::read(sources.join(file)).with_context(|| format!("cannot read {file} of the collector"))?.hash(&mut hasher);
    }
    let program = cache()?.join(format!("otelcol-{:016x}", hasher.finish()));
    if !program.exists() {
        ensure!(find_program("go").is_some(), "Go is not installed, which the collector is built with");
        say("collector: building it (two minutes of CPU, once per machine)");
        let fresh = program.with_extension("new");
        // Two at a time: the linker alone takes a gigabyte.
        run_step(
            Command::new("go")
                .args(["build", "-mod=readonly", "-buildvcs=false", "-p=2", "-trimpath", "-ldflags=-s -w", "-o"])
                .arg(&fresh)
                .arg(".")
                .env("CGO_ENABLED", "0")
                .current_dir(&sources),
        )
        .context("the collector could not be built")?;
        fs::rename(&fresh, &program)?;
    }
    Ok(program)
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
