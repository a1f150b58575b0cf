// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What runs in the guests of the matrix: the daemon that is released, and the kernel tests with the programs that they
//! start. In: a machine. Out: static executables, built for it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{guest::Job, initramfs::GuestFile, machine::Machine, shell};
use crate::{
    steps::{output_of, run as run_step, say},
    workspace::target,
};

pub struct Programs {
    pub onlooker: PathBuf,
    pub tests: PathBuf,
    /// Started by the tests, which know them by the paths that they have on this machine.
    beside: Vec<PathBuf>,
    shell: Vec<GuestFile>,
}

const ONLOOKER: &str = "/bin/onlooker";

impl Programs {
    pub fn build(machine: Machine) -> Result<Self> {
        say(format!("vm: building for {}", machine.target()));
        run_step(&mut machine.cargo([
            "build",
            "--quiet",
            "--release",
            "--package",
            "onlooker",
            "--bin",
            "onlooker",
        ])?)?;
        let mut tests = machine.cargo(["test", "--quiet", "--no-run", "--release", "--test", "kernel"])?;
        tests.args(["--package", "onlooker-tests", "--features", "kernel,vm", "--message-format", "json"]);
        let built = output_of(&mut tests)?;
        let folder = target().join(machine.target()).join("release");
        Ok(Self {
            onlooker: folder.join("onlooker"),
            tests: test_executable(&built).context("cargo names no executable of the kernel tests")?,
            beside: ["kernel-peer", "sample-server"].map(|name| folder.join(name)).into(),
            shell: shell::files(machine)?,
        })
    }

    /// The tests, or those whose names contain one of these, on one backend.
    pub fn job(&self, backend: &str, tests: &[&str]) -> Job {
        let own_path = |program: &Path| program.display().to_string();
        let mut files = self.shell.clone();
        files.push(GuestFile::program(ONLOOKER, &self.onlooker));
        files.extend(self.beside.iter().chain([&self.tests]).map(|file| GuestFile::program(own_path(file), file)));
        let mut command = vec![own_path(&self.tests), "--test-threads=1".to_owned()];
        command.extend(tests.iter().map(|&test| test.to_owned()));
        let environment = [("ONLOOKER_BINARY", ONLOOKER), ("ONLOOKER_BACKEND", backend)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Job { files, command, environment: environment.into() }
    }
}

/// The executable of a test, out of cargo's messages: a line of JSON each, read by the names of its fields.
fn test_executable(messages: &str) -> Option<PathBuf> {
    let of_tests = |line: &&str| line.contains(r#""kind":["test"]"#) && line.contains(r#""name":"kernel""#);
    // A warning is a message of the same target.
    let (_, rest) = messages.lines().filter(of_tests).find_map(|line| line.split_once(r#""executable":""#))?;
    Some(rest.split('"').next()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"kernel-peer"},"executable":"/t/peer"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"kernel"},"executable":"/t/deps/kernel-1"}"#,
        );
        assert_eq!(test_executable(messages), Some("/t/deps/kernel-1".into()));
    }
}
