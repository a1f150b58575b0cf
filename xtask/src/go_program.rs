// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs that the tests need and that are built from Go modules, once per machine.
//!
//! In: a folder with a go.mod, whose go.sum pins every source by hash. Out: the program, kept outside the target folder, so
//! that `cargo clean` does not cost its minutes, under a name that changes with what it is built from.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    collector::cache,
    steps::{run as run_step, say},
    workspace::{find_program, root},
};

pub struct GoProgram {
    pub name: &'static str,
    /// In the checkout.
    pub folder: &'static str,
    /// The files of the folder that it is built from.
    pub sources: &'static [&'static str],
    pub package: &'static str,
    /// What building it takes.
    pub cost: &'static str,
}

impl GoProgram {
    /// Where it is, or will be.
    pub fn place(&self) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        for file in self.sources {
            let source = root().join(self.folder).join(file);
            fs::read(source).with_context(|| format!("cannot read {file} of {}", self.name))?.hash(&mut hasher);
        }
        Ok(cache()?.join(format!("{}-{:016x}", self.name, hasher.finish())))
    }

    /// Only if it was built before.
    pub fn find(&self) -> Option<PathBuf> {
        self.place().ok().filter(|place| place.exists())
    }

    /// Builds it where it was not.
    pub fn build(&self) -> Result<PathBuf> {
        let place = self.place()?;
        if place.exists() {
            return Ok(place);
        }
        ensure!(find_program("go").is_some(), "Go is not installed, which {} is built with", self.name);
        say(format!("{}: building it ({}, once per machine)", self.name, self.cost));
        let fresh = place.with_extension("new");
        // Two at a time: the linker alone takes a gigabyte.
        run_step(
            Command::new("go")
                .args(["build", "-mod=readonly", "-buildvcs=false", "-p=2", "-trimpath", "-ldflags=-s -w", "-o"])
                .arg(&fresh)
                .arg(self.package)
                .env("CGO_ENABLED", "0")
                .current_dir(root().join(self.folder)),
        )
        .with_context(|| format!("{} could not be built", self.name))?;
        fs::rename(&fresh, &place)?;
        Ok(place)
    }
}
