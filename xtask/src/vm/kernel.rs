// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernels to boot: Debian's cloud kernels, kept in `kernels/` of the target folder.
//!
//! In: a series, such as 6.1. Out: its newest kernel in the archive, or the one that is here: it is not asked for again
//! until its folder is removed. Does not: unpack modules, which are 100 MB, for what the tests need is built in.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{archive::Archive, machine::Machine};
use crate::{steps::say, workspace::target};

/// A kernel by the name that `cargo xtask vm` knows.
#[derive(Debug)]
pub struct Series {
    pub name: &'static str,
    pub machine: Machine,
    /// Depends on the newest package of the series.
    meta_package: &'static str,
    /// What the releases of the series begin with.
    version: &'static str,
    /// Backends that it cannot have, and why. A backend that is not named here and does not work is a failure.
    pub lacks: &'static [(&'static str, &'static str)],
}

/// Debian 12's own kernel and the one of its backports' line, which it carries as a security-supported second.
pub const ALL: &[Series] = &[
    Series {
        name: "6.1",
        machine: Machine::X86_64,
        meta_package: "linux-image-cloud-amd64",
        version: "6.1.",
        lacks: &[],
    },
    Series {
        name: "6.12",
        machine: Machine::X86_64,
        meta_package: "linux-image-6.12-cloud-amd64",
        version: "6.12.",
        lacks: &[],
    },
    Series {
        name: "arm64-6.1",
        machine: Machine::Arm64,
        meta_package: "linux-image-cloud-arm64",
        version: "6.1.",
        lacks: &[("fentry", "arm64 has ftrace's direct calls, which trampolines need, from Linux 6.4 on")],
    },
];

/// A kernel that is here.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Of its series.
    pub name: &'static str,
    /// As `uname -r` will say it.
    pub release: String,
    pub machine: Machine,
    pub image: PathBuf,
}

/// The series of this name.
pub fn series(name: &str) -> Result<&'static Series> {
    let known = || ALL.iter().map(|series| series.name).collect::<Vec<_>>().join(", ");
    ALL.iter().find(|series| series.name == name).with_context(|| format!("no kernel `{name}`; there are {}", known()))
}

impl Series {
    /// The kernel, fetched where it is not here yet.
    pub fn fetch(&'static self) -> Result<Kernel> {
        if let Some(kernel) = self.cached()? {
            return Ok(kernel);
        }
        say(format!("vm: fetching Debian's kernel {}", self.name));
        let archive = Archive::open(self.machine)?;
        let package = archive.dependency_of(self.meta_package, &format!("linux-image-{}", self.version))?;
        let release = package.trim_start_matches("linux-image-");
        archive.extract(&package, &format!("boot/vmlinuz-{release}"), &folder().join(release).join(IMAGE))?;
        self.cached()?.with_context(|| format!("the package {package} is not what its name says"))
    }

    fn cached(&self) -> Result<Option<Kernel>> {
        fs::create_dir_all(folder())?;
        let releases = fs::read_dir(folder())?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let ending = format!("-cloud-{}", self.machine.debian());
        let release = releases
            .filter(|release| release.starts_with(self.version) && release.ends_with(&ending))
            .find(|release| folder().join(release).join(IMAGE).is_file());
        Ok(release.map(|release| {
            let image = folder().join(&release).join(IMAGE);
            Kernel { name: self.name, release, machine: self.machine, image }
        }))
    }
}

const IMAGE: &str = "vmlinuz";

/// Where kernels, what else comes from the archive, and initial file systems lie.
pub fn folder() -> PathBuf {
    target().join("kernels")
}
