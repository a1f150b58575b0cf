// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the TLS of a process is read: each probe with its library, its place, the instruction there, and whether it is cheap.
//!
//! In: process ids. Out: what a run would probe. Nothing is attached.

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::fd::AsRawFd as _,
};

use serde::Serialize;

use crate::runtimes::{self, LibraryPlan, Probe, Returns};

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessReport {
    pub pid: u32,
    pub files: Vec<FileReport>,
    /// Libraries that are known and cannot be read, with the reason and the way out.
    pub unreadable: Vec<String>,
}

/// A file that it has mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    pub file: String,
    pub libraries: Vec<LibraryPlan>,
}

impl ProcessReport {
    pub(super) fn of(pids: &[u32]) -> Vec<Self> {
        pids.iter().map(|pid| Self::new(*pid)).collect()
    }

    fn new(pid: u32) -> Self {
        let mut report = Self { pid, files: Vec::new(), unreadable: Vec::new() };
        for found in runtimes::look_into(pid) {
            if let Some(library) = found.unreadable {
                report.unreadable.push(format!("{}: {}; {}", library.title, library.reason, library.remedy));
            }
            if !found.libraries.is_empty() {
                let file = path(&found.file).unwrap_or(found.name);
                report.files.push(FileReport { file, libraries: found.libraries });
            }
        }
        report
    }

    /// For a person: a line a probe.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\nprocess {}\n", self.pid);
        if self.files.is_empty() && self.unreadable.is_empty() {
            text.push_str("  no library that speaks TLS is mapped, or it is none that is known\n");
        }
        for unreadable in &self.unreadable {
            let _ = writeln!(text, "  not readable: {unreadable}");
        }
        for file in &self.files {
            for library in &file.libraries {
                let version = if library.version.is_empty() { "" } else { ", " };
                let _ = writeln!(text, "  {} in {}{version}{}", library.title, file.file, library.version);
                probes(library, &mut text);
            }
        }
        text
    }
}

/// Where an open file lies, as the kernel has it.
fn path(file: &File) -> Option<String> {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    path.into_os_string().into_string().ok()
}

fn probes(library: &LibraryPlan, text: &mut String) {
    let place = |probe: &Probe| match (&probe.returns, probe.is_entered()) {
        (Returns::Caught, true) => format!("{}+{:#x} and return", probe.symbol, probe.offset_in_function),
        (Returns::Caught, false) => format!("{} return", probe.symbol),
        _ => format!("{}+{:#x}", probe.symbol, probe.offset_in_function),
    };
    let mut lines = Vec::new();
    for probe in &library.probes {
        if probe.is_entered() || probe.returns == Returns::Caught {
            lines.push((place(probe), probe.offset, &probe.instruction, cost(probe.is_cheap)));
        }
        let Returns::At(ends) = &probe.returns else { continue };
        for end in ends {
            let place = if probe.is_entered() { "  left at".to_owned() } else { format!("{} left at", probe.symbol) };
            let cost = if end.fails() { "dear, but only where it fails" } else { cost(end.is_cheap) };
            lines.push((place, end.offset, &end.instruction, cost));
        }
    }
    let place_width = lines.iter().map(|(place, ..)| place.len()).max().unwrap_or(0);
    let width = lines.iter().map(|(_, _, instruction, _)| instruction.len()).max().unwrap_or(0);
    for (place, offset, instruction, cost) in lines {
        let _ = writeln!(text, "    {place:place_width$}  {offset:#9x}  {instruction:width$}  {cost}");
    }
}

/// What a hit costs, as a person asks.
const fn cost(is_cheap: bool) -> &'static str {
    if is_cheap { "cheap: the kernel emulates it" } else { "dear: it is single-stepped" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_tls_says_so() {
        let report = ProcessReport { pid: 7, files: Vec::new(), unreadable: vec!["A: b; c".to_owned()] };
        assert_eq!(report.text(), "\nprocess 7\n  not readable: A: b; c\n");
        let gone = ProcessReport::new(u32::MAX);
        assert!(gone.text().contains("no library"), "{}", gone.text());
    }
}
