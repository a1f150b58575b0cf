// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What runs in the guests of the matrix: the daemon that is released, the kernel tests, and those of the TLS tests that need
//! nothing of the machine, with the programs that they start. In: a machine. Out: static executables, built for it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{guest::Job, initramfs::GuestFile, machine::Machine, shell, tls_programs};
use crate::{
    steps::{output_of, run as run_step, say},
    workspace::target,
};

pub struct Programs {
    pub onlooker: PathBuf,
    kernel_tests: PathBuf,
    tls_tests: PathBuf,
    /// Started by the tests, which know them by the paths that they have on this machine.
    beside: Vec<PathBuf>,
    others: Vec<GuestFile>,
}

const ONLOOKER: &str = "/bin/onlooker";

/// Those of the TLS tests that guests can run.
const TLS_TESTS: &str = "kernels::";

/// Both test programs, whatever the first gave: names of tests for each, with a word between them.
const RUN_BOTH: &str = r#"
names=; while [ "$1" != -- ]; do names="$names $1"; shift; done; shift
"$KERNEL_TESTS" --test-threads=1 $names; status=$?
"$TLS_TESTS" --test-threads=1 "$@" || status=$?
exit $status"#;

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
        let mut tests =
            machine.cargo(["test", "--quiet", "--no-run", "--release", "--test", "kernel", "--test", "tls"])?;
        tests.args(["--package", "onlooker-tests", "--features", "kernel,tls,vm", "--message-format", "json"]);
        let built = output_of(&mut tests)?;
        let folder = target().join(machine.target()).join("release");
        let tests = |name| {
            test_executable(&built, name).with_context(|| format!("cargo names no executable of the {name} tests"))
        };
        Ok(Self {
            onlooker: folder.join("onlooker"),
            kernel_tests: tests("kernel")?,
            tls_tests: tests("tls")?,
            beside: ["kernel-peer", "sample-server", "tls-rustls"].map(|name| folder.join(name)).into(),
            others: [shell::files(machine)?, tls_programs::files(machine)?].concat(),
        })
    }

    /// The tests, or those whose names contain one of these, on one backend.
    pub fn job(&self, backend: &str, tests: &[&str]) -> Job {
        let own_path = |program: &Path| program.display().to_string();
        let mut files = self.others.clone();
        files.push(GuestFile::program(ONLOOKER, &self.onlooker));
        let own = self.beside.iter().chain([&self.kernel_tests, &self.tls_tests]);
        files.extend(own.map(|file| GuestFile::program(own_path(file), file)));
        let of_tls = if tests.is_empty() { &[TLS_TESTS] } else { tests };
        let words = ["/bin/sh", "-c", RUN_BOTH, "sh"].iter().chain(tests).chain(&["--"]).chain(of_tls);
        let (kernel_tests, tls_tests) = (own_path(&self.kernel_tests), own_path(&self.tls_tests));
        let environment = [
            ("ONLOOKER_BINARY", ONLOOKER),
            ("ONLOOKER_BACKEND", backend),
            ("ONLOOKER_TLS_PROGRAMS", tls_programs::FOLDER),
            ("KERNEL_TESTS", &kernel_tests),
            ("TLS_TESTS", &tls_tests),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Job { files, command: words.map(|&word| word.to_owned()).collect(), environment: environment.into() }
    }
}

/// The executable of a test, out of cargo's messages: a line of JSON each, read by the names of its fields.
fn test_executable(messages: &str, name: &str) -> Option<PathBuf> {
    let name = format!(r#""name":"{name}""#);
    let of_tests = |line: &&str| line.contains(r#""kind":["test"]"#) && line.contains(&name);
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
        assert_eq!(test_executable(messages, "kernel"), Some("/t/deps/kernel-1".into()));
        assert_eq!(test_executable(messages, "tls"), None);
    }
}
