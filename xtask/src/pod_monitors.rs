// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a PodMonitor is, in the words of the Prometheus operator: the definition that its users give their API server.
//!
//! Fetched as a Go module, whose hash is known here, and kept beside the programs of the cluster tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{collector::cache, steps::output_of};

const MODULE: &str = "github.com/prometheus-operator/prometheus-operator@v0.85.0";
const SUM: &str = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=";
const FILE: &str = "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml";

pub fn find() -> Option<PathBuf> {
    place().ok().filter(|place| place.exists())
}

pub fn fetch() -> Result<PathBuf> {
    let place = place()?;
    if !place.exists() {
        // Outside the checkout's modules, none of which needs it.
        let told = output_of(Command::new("go").args(["mod", "download", "-json", MODULE]).current_dir(cache()?))?;
        ensure!(told.contains(&format!("\"{SUM}\"")), "{MODULE} is not what it was: {told}");
        let folder = told.lines().find_map(|line| line.trim().strip_prefix(r#""Dir": ""#)?.strip_suffix("\","));
        fs::write(&place, fs::read(Path::new(folder.context("go names no folder")?).join(FILE))?)?;
    }
    Ok(place)
}

fn place() -> Result<PathBuf> {
    let version = MODULE.rsplit('@').next().unwrap_or_default();
    Ok(cache()?.join(format!("podmonitors-{version}.yaml")))
}
