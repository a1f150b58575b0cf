// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Python with packages, in a virtual environment that is made once per machine and kept in the user's cache.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::skip;

/// The interpreter that has the packages of this file, whose first line is a comment; nothing where they cannot be had,
/// which is said.
///
/// # Errors
///
/// The file cannot be read, or the cache cannot be written to.
pub fn python_with_packages(requirements: &Path) -> Result<Option<PathBuf>> {
    let name = fs::read_to_string(requirements)?.lines().skip(1).collect::<Vec<_>>().join("-").replace("==", "");
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let folder = cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("onlooker/peers").join(name);
    let python = folder.join("bin/python");
    if python.exists() {
        return Ok(Some(python));
    }
    let fresh = folder.with_extension("new");
    let ran = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let installed = ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&fresh))
        && ran(Command::new(fresh.join("bin/python"))
            .args(["-m", "pip", "install", "-q", "--only-binary", ":all:", "-r"])
            .arg(requirements));
    if !installed {
        skip("Python, or what it needs, cannot be installed here");
        return Ok(None);
    }
    fs::rename(&fresh, &folder)?;
    Ok(Some(python))
}
