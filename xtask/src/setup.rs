// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask setup`: everything that building and testing need on a Debian 12 machine with rustup, git and cc.
//!
//! Each part is looked for first and touched only where it is missing, so that a second run costs a glance.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    steps::{output_of, run as run_step, say},
    workspace::{TARGET, cargo, find_program, is_root, pinned_toolchain, tools},
};

/// Links the kernel programs; it must use the very LLVM of the compiler whose bitcode it reads.
const BPF_LINKER: &str = "0.13.0";

pub fn run() -> Result<()> {
    let sysroot = toolchain()?;
    musl()?;
    bpf_linker(&sysroot)?;
    tracefs();
    Ok(())
}

/// The parts of the toolchain that rust-toolchain.toml names. Cargo itself would fetch them, unless
/// `RUSTUP_AUTO_INSTALL=0` forbids it.
fn toolchain() -> Result<PathBuf> {
    let sysroot = PathBuf::from(output_of(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
    let parts = ["lib/rustlib/src/rust/library", "bin/rustfmt", "bin/cargo-clippy", &format!("lib/rustlib/{TARGET}")];
    if parts.iter().any(|part| !sysroot.join(part).exists()) {
        let version = pinned_toolchain()?;
        say(format!("setup: installing the parts of Rust {version} that are missing"));
        run_step(
            Command::new("rustup")
                .args(["toolchain", "install", &version, "--profile", "minimal", "--target", TARGET])
                .args(["--component", "rust-src", "--component", "rustfmt", "--component", "clippy"]),
        )?;
    }
    Ok(sysroot)
}

/// The C compiler for the static binary: the allocator and the cryptography contain C.
fn musl() -> Result<()> {
    if find_program("musl-gcc").is_none() {
        install_package("musl-tools", "to build the static binary")?;
    }
    Ok(())
}

/// Installs a Debian package, or says what is missing where that is not allowed here.
pub fn install_package(package: &str, purpose: &str) -> Result<()> {
    ensure!(
        is_root() && find_program("apt-get").is_some(),
        "the package {package} is needed {purpose}: install it, or run this as root on Debian"
    );
    say(format!("setup: installing {package} {purpose}"));
    let have_lists = fs::read_dir("/var/lib/apt/lists")
        .is_ok_and(|files| files.flatten().any(|file| file.file_name().to_string_lossy().contains("_Packages")));
    if !have_lists {
        run_step(Command::new("apt-get").args(["update", "-qq"]))?;
    }
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["install", "-qq", "--yes", "--no-install-recommends", package]);
        run_step(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // Lists that have aged name versions that the archive no longer has.
    install().or_else(|_| run_step(Command::new("apt-get").args(["update", "-qq"])).and_then(|()| install()))
}

fn bpf_linker(sysroot: &Path) -> Result<()> {
    let program = tools().join("bin/bpf-linker");
    // Run rather than looked at: after a change of toolchain it starts no more, for want of its LLVM.
    let version = output_of(Command::new(&program).arg("--version")).unwrap_or_default();
    if version.trim() == format!("bpf-linker {BPF_LINKER}") {
        return Ok(());
    }
    say(format!("setup: building bpf-linker {BPF_LINKER} against the toolchain's own LLVM (a few minutes, once)"));
    let libraries = sysroot.join("lib");
    run_step(
        cargo(["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--force", "--quiet", "--root"])
            .arg(tools())
            .env("LLVM_PREFIX", llvm_prefix(&libraries)?)
            .env("RUSTFLAGS", format!("-C link-arg=-Wl,-rpath,{}", libraries.display()))
            .env_remove("CARGO_TARGET_DIR"),
    )?;
    output_of(Command::new(&program).arg("--version")).context("bpf-linker was built and does not start")?;
    Ok(())
}

/// A folder shaped like an installed LLVM, which holds nothing but the toolchain's library under the names that a linker
/// looks for: `libLLVM.so` and `libLLVM-23.so`.
fn llvm_prefix(libraries: &Path) -> Result<PathBuf> {
    let library = fs::read_dir(libraries)
        .with_context(|| format!("cannot read {}", libraries.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| file_name(path).starts_with("libLLVM.so."))
        .context("the toolchain brings no libLLVM.so of its own")?;
    let major = file_name(&library)
        .strip_prefix("libLLVM.so.")
        .and_then(|version| version.split('.').next())
        .context("libLLVM.so has no version")?
        .to_owned();
    let prefix = tools().join("llvm");
    let folder = prefix.join("lib");
    fs::create_dir_all(&folder)?;
    for name in ["libLLVM.so".to_owned(), format!("libLLVM-{major}.so")] {
        let link = folder.join(name);
        match fs::remove_file(&link) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => symlink(&library, &link)?,
        }
    }
    Ok(prefix)
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Only the tests and the demo need it: where it cannot be mounted, they say so themselves.
fn tracefs() {
    const TRACEFS: &str = "/sys/kernel/tracing";
    if Path::new(TRACEFS).join("events").exists() {
        return;
    }
    say(format!("setup: mounting tracefs at {TRACEFS}"));
    if let Err(error) = run_step(Command::new("mount").args(["-t", "tracefs", "none", TRACEFS])) {
        say(format!("setup: tracefs is not mounted, kernel tests will be skipped: {error:#}"));
    }
}
