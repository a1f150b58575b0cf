// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Debian's package archive, as an architecture sees it that need not be this machine's.
//!
//! It is asked by apt's own client, which checks signatures, with lists and caches of its own: nothing of the machine's
//! package state is touched, and no root is needed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{kernel::folder, machine::Machine};
use crate::steps::{output_of, run as run_step};

pub struct Archive {
    machine: Machine,
    state: PathBuf,
}

impl Archive {
    pub fn open(machine: Machine) -> Result<Self> {
        let archive = Self { machine, state: folder().join(format!("apt-{}", machine.debian())) };
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(archive.state.join(part))?;
        }
        fs::write(archive.state.join("status"), "")?;
        // Every time: lists that have aged name versions that the archive no longer has.
        run_step(archive.apt("apt-get").args(["update", "-qq"]))?;
        Ok(archive)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let state = |part: &str| self.state.join(part).display().to_string();
        for option in [
            format!("Dir::State={}", state("state")),
            format!("Dir::State::status={}", state("status")),
            format!("Dir::Cache={}", state("cache")),
            format!("APT::Architecture={}", self.machine.debian()),
            format!("APT::Architectures={}", self.machine.debian()),
            // Else root hands the download to a user who may not write here.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// The package that a meta package stands for.
    pub fn dependency_of(&self, meta_package: &str, prefix: &str) -> Result<String> {
        let record = output_of(self.apt("apt-cache").args(["show", "--no-all-versions", meta_package]))?;
        let depends = record.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
        let mut names = depends.split(", ").filter_map(|dependency| dependency.split_whitespace().next());
        names
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .with_context(|| format!("{meta_package} depends on no {prefix}…: this archive is not that of Debian 12"))
    }

    /// Leaves one file or folder of a package at a place. It is there as a whole, or not at all.
    pub fn extract(&self, package: &str, file: &str, place: &Path) -> Result<()> {
        let work = self.state.join("work");
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work)?;
        run_step(self.apt("apt-get").args(["download", "-qq", package]).current_dir(&work))?;
        let files: Vec<PathBuf> = fs::read_dir(&work)?.flatten().map(|entry| entry.path()).collect();
        let [downloaded] = files.as_slice() else { bail!("apt-get download {package} has left {files:?}") };
        run_step(Command::new("dpkg-deb").arg("--extract").arg(downloaded).arg(&work))?;
        let unpacked = work.join(file);
        ensure!(unpacked.exists(), "the package {package} has no {file}");
        fs::create_dir_all(place.parent().expect("it lies in a folder"))?;
        fs::rename(unpacked, place)?;
        fs::remove_dir_all(&work)?;
        Ok(())
    }
}
