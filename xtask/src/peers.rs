// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The programs that tests watch, as far as Debian has them and they are small.
//!
//! Does not: install Go, Node or Java, which are hundreds of megabytes and of versions of their own: tests that need one that is
//! missing are skipped, and say so.

use crate::{
    setup::install_package,
    steps::say,
    workspace::{find_program, is_root},
};

/// By the program, its package.
const PROGRAMS: [(&str, &str); 7] = [
    ("nginx", "nginx-light"),
    ("curl", "curl"),
    ("wget", "wget"),
    ("python3", "python3-venv"),
    ("puma", "puma"),
    ("bpftrace", "bpftrace"),
    ("bpftool", "bpftool"),
];

/// Installs what is missing. Where that fails, the tests that need it are skipped.
pub fn install() {
    if !is_root() || find_program("apt-get").is_none() {
        return;
    }
    for (_, package) in PROGRAMS.iter().filter(|(program, _)| find_program(program).is_none()) {
        if let Err(error) = install_package(package, "for the tests") {
            say(format!("test: {error:#}"));
        }
    }
}
