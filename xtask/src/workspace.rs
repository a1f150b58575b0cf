// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where things lie: the checkout, the target folder, the tools in it, and the programs of the machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// The one platform that the static binary is built for.
pub const TARGET: &str = "x86_64-unknown-linux-musl";

/// The folder of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// `CARGO_TARGET_DIR`, or `target` in the checkout.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// Programs that are built here for the build itself; agent/build.rs looks for them here too.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// Where `cargo xtask build` leaves the binary.
pub fn onlooker() -> PathBuf {
    target().join("release/onlooker")
}

/// The pinned cargo, started in the checkout.
pub fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// The first program of this name on the path.
pub fn find_program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

pub fn is_root() -> bool {
    process_status("Uid:").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}

/// Whether this process holds the capability of this number.
pub fn has_capability(number: u32) -> bool {
    process_status("CapEff:")
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << number) != 0)
}

fn process_status(key: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned)
}

/// The value of `key = "value"` in rust-toolchain.toml.
pub fn pinned_toolchain() -> Result<String> {
    let file = root().join("rust-toolchain.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    text.lines()
        .find_map(|line| Some(line.strip_prefix("channel")?.split('"').nth(1)?.to_owned()))
        .context("rust-toolchain.toml names no channel")
}
