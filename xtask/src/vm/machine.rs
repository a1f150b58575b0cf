// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two machines that guests are: which emulator plays them, how they are built for, what Debian calls them.

use std::process::Command;

use anyhow::{Result, ensure};

use super::{archive::Archive, kernel::folder};
use crate::{
    setup::install_package,
    steps::{output_of, run as run_step, say},
    workspace::{TARGET, cargo, find_program, pinned_toolchain},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Arm64,
}

impl Machine {
    /// Debian's name of the architecture.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// What the static programs are built for.
    pub const fn target(self) -> &'static str {
        match self {
            Self::X86_64 => TARGET,
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The first serial port, by the kernel's name.
    pub const fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }

    /// The processor of a guest that counts instructions. A copy by `rep movsb` counts an instruction a byte, where real
    /// processors move a cache line at a time: without what advertises it, the kernel copies by words. Pointers are
    /// authenticated by a cipher that costs the emulator little: with the architecture's own, a guest takes four times as
    /// long.
    pub const fn counting_processor(self) -> &'static str {
        match self {
            Self::X86_64 => "max,-erms,-fsrm",
            Self::Arm64 => "max,pauth-impdef=on",
        }
    }

    /// The emulator, with what makes it this machine. Installed where it is missing.
    pub fn emulator(self) -> Result<Command> {
        let (program, package, kind) = match self {
            Self::X86_64 => ("qemu-system-x86_64", "qemu-system-x86", "q35"),
            Self::Arm64 => ("qemu-system-aarch64", "qemu-system-arm", "virt"),
        };
        if find_program(program).is_none() {
            install_package(package, "to boot other kernels")?;
        }
        let mut command = Command::new(program);
        command.args(["-machine", kind, "-cpu", "max"]);
        Ok(command)
    }

    /// Cargo, set up to build static programs for this machine.
    pub fn cargo<const N: usize>(self, arguments: [&str; N]) -> Result<Command> {
        let mut command = cargo(arguments);
        command.args(["--target", self.target()]);
        if self == Self::Arm64 {
            install_target(self.target())?;
            // The toolchain's own linker and start-up files: of a cross compiler for musl only the headers are missing.
            command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld");
            let (compiler, flags) = cross_compiler(self)?;
            command.env("CC_aarch64_unknown_linux_musl", compiler).env("CFLAGS_aarch64_unknown_linux_musl", flags);
        }
        Ok(command)
    }
}

/// Debian's cross compiler, which is made for glibc, with the headers of musl and of the kernel in place of its own: the
/// flags keep every other header from being found.
fn cross_compiler(machine: Machine) -> Result<(&'static str, String)> {
    const COMPILER: &str = "aarch64-linux-gnu-gcc";
    if find_program(COMPILER).is_none() {
        install_package("gcc-aarch64-linux-gnu", "to build for arm64")?;
    }
    let own = output_of(Command::new(COMPILER).arg("-print-file-name=include"))?;
    let folders = [("musl-dev", "usr/include/aarch64-linux-musl"), ("linux-libc-dev", "usr/include")];
    let mut flags = format!("-nostdinc -isystem {}", own.trim());
    for (package, folder_in_package) in folders {
        let place = folder().join(format!("{package}-{}", machine.debian()));
        if !place.is_dir() {
            Archive::open(machine)?.extract(package, folder_in_package, &place)?;
        }
        flags.push_str(&format!(" -isystem {}", place.display()));
    }
    // What differs between machines.
    flags.push_str(&format!(" -isystem {}", folder().join("linux-libc-dev-arm64/aarch64-linux-gnu").display()));
    Ok((COMPILER, flags))
}

fn install_target(target: &str) -> Result<()> {
    let installed = || -> Result<bool> {
        let folder = output_of(Command::new("rustc").args(["--print", "target-libdir", "--target", target]))?;
        Ok(std::fs::read_dir(folder.trim()).is_ok_and(|mut files| files.next().is_some()))
    };
    if !installed()? {
        let version = pinned_toolchain()?;
        say(format!("setup: installing the standard library for {target}"));
        run_step(Command::new("rustup").args(["target", "add", "--toolchain", &version, target]))?;
        ensure!(installed()?, "rustup has added {target}, and it is not there");
    }
    Ok(())
}
