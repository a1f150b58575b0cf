// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds the kernel programs and puts them beside the daemon's own build, to be included in the binary.
//!
//! The kernel target needs `build-std`, which the stable compiler grants under `RUSTC_BOOTSTRAP`; bpf-linker is found on
//! the path or in `target/tools/bin`, where `cargo xtask setup` puts it.

use std::{env, path::Path};

use anyhow::{Context as _, Result, ensure};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in the workspace")?;
    let tools = root.join("target/tools/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(env::split_paths(&path).chain([tools]))?;
    ensure!(
        env::split_paths(&path).any(|folder| folder.join("bpf-linker").is_file()),
        "bpf-linker was not found: run `cargo xtask setup` once"
    );
    // SAFETY: a build script has one thread here.
    unsafe {
        env::set_var("PATH", path);
        env::set_var("RUSTC_BOOTSTRAP", "1");
    }
    println!("cargo::rerun-if-changed=../agent-common/src");
    let programs = root.join("agent-ebpf");
    aya_build::build_ebpf(
        [aya_build::Package {
            name: "agent-ebpf",
            root_dir: programs.to_str().context("the path of the workspace is UTF-8")?,
            ..Default::default()
        }],
        aya_build::Toolchain::Custom("1.99.1"),
    )
}
