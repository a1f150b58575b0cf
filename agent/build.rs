// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds the kernel programs and leaves them as `onlooker.bpf.o` in `OUT_DIR`, to be included in the binary.
//!
//! The kernel target has no prebuilt `core`, so `build-std` is needed, which the stable compiler grants under
//! `RUSTC_BOOTSTRAP`. bpf-linker is taken from `tools/bin` of the target folder, where `cargo xtask setup` puts it, else
//! from the path. Nothing is printed unless the programs have warnings or do not build.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

const TARGET: &str = "bpfel-unknown-none";

fn main() -> Result<()> {
    for input in ["../agent-ebpf", "../agent-common", "../Cargo.lock", "build.rs"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    // Asked for now, not when this was compiled: a checkout may have been moved.
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?);
    let root = package.parent().context("the package lies in the workspace")?;
    // Apart from the outer build's folder, which the outer cargo holds locked.
    let target_folder = out.join("kernel");
    let output = Command::new(env::var_os("CARGO").context("cargo sets CARGO")?)
        .args(["build", "--quiet", "--package", "agent-ebpf", "--release", "--target", TARGET, "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(&target_folder)
        .current_dir(root)
        .env("PATH", path_with_linker(&out, root)?)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", kernel_flags()?)
        // The outer build's own: clippy, sanitizers and coverage do not know this target.
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()
        .context("could not start the build of the kernel programs")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the kernel programs do not build\n{said}");
    for line in said.lines() {
        println!("cargo::warning={line}");
    }
    let object = target_folder.join(TARGET).join("release/onlooker-ebpf");
    fs::copy(&object, out.join("onlooker.bpf.o")).with_context(|| format!("{} was not built", object.display()))?;
    Ok(())
}

/// The flags of the kernel programs; the outer build's (`crt-static`, a linker, `-C instrument-coverage`) are not theirs.
fn kernel_flags() -> Result<String> {
    // Registers of the traced calls differ by machine: aya-ebpf asks by this name.
    let machine = env::var("CARGO_CFG_TARGET_ARCH").context("cargo sets CARGO_CFG_TARGET_ARCH")?;
    Ok([&format!("--cfg=bpf_target_arch=\"{machine}\""), "-Cdebuginfo=2", "-Clink-arg=--btf"].join("\x1f"))
}

fn path_with_linker(out: &Path, root: &Path) -> Result<OsString> {
    let tools = out.ancestors().map(|folder| folder.join("tools/bin")).chain([root.join("target/tools/bin")]);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = tools.filter(|folder| folder.is_dir()).chain(env::split_paths(&path)).collect();
    ensure!(
        folders.iter().any(|folder| folder.join("bpf-linker").is_file()),
        "bpf-linker was not found: run `cargo xtask setup` once"
    );
    Ok(env::join_paths(folders)?)
}
