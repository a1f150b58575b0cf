// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this kernel, these privileges and this machine allow, found by trying.
//!
//! In: the machine. Out: findings, each with yes or no, why, what is lost without it and how to get it.
//! Does not: change anything that outlives the process.

mod cluster;
mod findings;
mod privileges;
mod processes;

use std::fmt::Write as _;

use serde::Serialize;

pub use findings::examine;
pub use privileges::missing_for_capture;
pub use processes::ProcessReport;

/// The whole picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub kernel: String,
    pub architecture: &'static str,
    /// The backend that a run would use, if any.
    pub backend: Option<&'static str>,
    pub findings: Vec<Finding>,
    /// Of the processes that were asked about: how their TLS is read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessReport>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub group: &'static str,
    pub name: String,
    pub works: bool,
    /// What was seen: a value, or why not.
    pub detail: String,
    /// What is lost without it, and how to get it; empty where nothing is.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub remedy: &'static str,
}

impl Finding {
    fn yes(group: &'static str, name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { group, name: name.into(), works: true, detail: detail.into(), remedy: "" }
    }

    fn no(group: &'static str, name: impl Into<String>, detail: impl Into<String>, remedy: &'static str) -> Self {
        Self { group, name: name.into(), works: false, detail: detail.into(), remedy }
    }
}

impl Report {
    /// For a person: a line a finding, under its group.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let backend = self.backend.unwrap_or("none: nothing can be captured");
        let _ = writeln!(text, "onlooker {} on Linux {} ({})", self.version, self.kernel, self.architecture);
        let _ = writeln!(text, "backend: {backend}");
        let width = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
        let mut group = "";
        for finding in &self.findings {
            if finding.group != group {
                group = finding.group;
                let _ = writeln!(text, "\n{group}");
            }
            let mark = if finding.works { "yes" } else { "no " };
            let _ = writeln!(text, "  {mark}  {:width$}  {}", finding.name, finding.detail);
            if !finding.remedy.is_empty() {
                let _ = writeln!(text, "       {:width$}  -> {}", "", finding.remedy);
            }
        }
        for process in &self.processes {
            text.push_str(&process.text());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_that_fails_says_what_to_do() {
        let report = Report {
            version: "1",
            kernel: "6.1".to_owned(),
            architecture: "x86_64",
            backend: None,
            processes: Vec::new(),
            findings: vec![Finding::yes("kernel", "a", "there"), Finding::no("kernel", "b", "absent", "get it")],
        };
        let text = report.text();
        assert!(
            text.contains("yes  a  there") && text.contains("no   b  absent") && text.contains("-> get it"),
            "{text}"
        );
    }
}
