// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the TLS of a process is read: each probe with its library, its place, the instruction there, and whether it is cheap.
//!
//! In: process ids. Out: what a run would probe. Nothing is attached.

use std::fmt::Write as _;

use serde::Serialize;

use crate::runtimes::{self, End, LibraryPlan, Returns};

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
                report.files.push(FileReport { file: found.name, libraries: found.libraries });
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
                let _ = writeln!(text, "  {} in {} {}", library.title, file.file, library.version);
                probes(library, &mut text);
            }
        }
        text
    }
}

fn probes(library: &LibraryPlan, text: &mut String) {
    let place = |probe: &runtimes::Probe| format!("{}+{:#x}", probe.symbol, probe.offset_in_function);
    let width = library.probes.iter().map(|probe| place(probe).len()).max().unwrap_or(0);
    let cost = |is_cheap| if is_cheap { "emulated" } else { "single-stepped: ten times dearer" };
    for probe in &library.probes {
        let (place, offset, instruction) = (place(probe), probe.offset, &probe.instruction);
        let returns = if probe.returns == Returns::Caught { " and return" } else { "" };
        let _ = writeln!(text, "    {place:width$}{returns}  {offset:#x}  {instruction}  {}", cost(probe.is_cheap));
        let Returns::At(ends) = &probe.returns else { continue };
        for End { offset, instruction, is_cheap, .. } in ends {
            let _ = writeln!(text, "    {:width$}  {offset:#x}  {instruction}  {}", "  its end", cost(*is_cheap));
        }
    }
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
