// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What `deploy/` holds, tried: the image runs as the manifests ask a runtime to run it, and what renders is well formed.
//!
//! The cluster tests give the same manifests to a real API server. Each test says what the machine lacks for it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

mod chart;
mod container;
mod image;
mod memory;
mod package;
mod profiles;
#[path = "../tls/program.rs"]
#[expect(dead_code, reason = "the TLS tests start servers with it as well")]
mod program;
mod swap;
mod units;

/// A file of `deploy/`.
fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join(name)
}

/// What stands between the brackets behind this key, as names.
fn bracketed(file: &str, key: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(deployed(file))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim().strip_prefix('['));
    let list = line.and_then(|line| line.strip_suffix(']')).with_context(|| format!("{file} has no {key} […]"))?;
    Ok(list.split(',').map(|name| name.trim().to_owned()).collect())
}
