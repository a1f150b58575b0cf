// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of a process and of the machine, and where it comes from.
//!
//! In: a process id. Out: [`ProcessFacts`], read from `/proc` once, or from a recording.
//! Does not: keep them, nor turn them into attributes.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use procfs::process::{Process, Stat};
use serde::{Deserialize, Serialize};

use super::{
    container::{container_id, pod_uid},
    language::{Language, of_executable, of_mapped_file, of_program_name},
};

/// Bytes of a command line that are read. Larger: memory for every process. Smaller: the name of a Java program behind
/// a long class path is not found.
const COMMAND_LINE_BYTES: u64 = 64 * 1024;

/// Bytes of an environment that are looked through for `OTEL_*`. Larger: start-up time. Smaller: variables behind big
/// ones are not seen.
const ENVIRONMENT_BYTES: u64 = 256 * 1024;

/// Lines of `/proc/PID/maps` that are looked through for a runtime's library. Larger: processes with many mappings cost
/// milliseconds. Smaller: a runtime that is mapped late is not seen.
const MAPPINGS: usize = 2048;

/// Arguments that are kept: enough to name the program behind an interpreter and its options.
const ARGUMENTS: usize = 64;

/// A process, as it was when it was first seen. Part of recordings: fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessFacts {
    pub tgid: u32,
    /// In the process's own pid namespace.
    pub pid_inside: u32,
    /// Clock ticks since boot: tells apart two processes with one id.
    pub start_ticks: u64,
    /// What the kernel calls it: at most 15 bytes.
    pub name: String,
    pub executable: Option<PathBuf>,
    pub command_line: Vec<String>,
    /// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, where set.
    pub service_name: Option<String>,
    pub resource_attributes: Option<String>,
    pub container_id: Option<String>,
    /// As its control groups show it.
    pub pod_uid: Option<String>,
    pub language: Option<Language>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    pub name: String,
    /// `/etc/machine-id`, where there is one.
    pub id: Option<String>,
}

/// Where facts come from.
pub trait FactSource {
    fn host(&mut self) -> HostFacts;

    /// Absent where the process is gone or cannot be looked at.
    fn process(&mut self, tgid: u32) -> Option<ProcessFacts>;
}

/// `/proc` of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveFacts;

impl FactSource for LiveFacts {
    fn host(&mut self) -> HostFacts {
        let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        HostFacts {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            id: read("/etc/machine-id").filter(|id| !id.is_empty()),
        }
    }

    fn process(&mut self, tgid: u32) -> Option<ProcessFacts> {
        let process = Process::new(i32::try_from(tgid).ok()?).ok()?;
        let Stat { comm, starttime, .. } = process.stat().ok()?;
        let folder = PathBuf::from(format!("/proc/{tgid}"));
        let executable = process.exe().ok();
        let command_line = strings(&folder.join("cmdline"), COMMAND_LINE_BYTES);
        let environment = strings(&folder.join("environ"), ENVIRONMENT_BYTES);
        let variable = |name: &str| {
            let value = environment.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let cgroups = std::fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
        Some(ProcessFacts {
            tgid,
            pid_inside: pid_inside(&folder).unwrap_or(tgid),
            start_ticks: starttime,
            language: language(&folder, executable.as_deref()),
            name: comm,
            executable,
            service_name: variable("OTEL_SERVICE_NAME"),
            resource_attributes: variable("OTEL_RESOURCE_ATTRIBUTES"),
            container_id: container_id(&cgroups).map(str::to_owned),
            pod_uid: pod_uid(&cgroups),
            command_line: command_line.into_iter().take(ARGUMENTS).collect(),
        })
    }
}

/// Strings that end in a zero byte, from the first `limit` bytes of a file.
fn strings(path: &Path, limit: u64) -> Vec<String> {
    let mut bytes = Vec::new();
    // What cannot be read is empty, and what was read before a failure counts.
    let _ = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    let text = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// The last id of the `NSpid` line; procfs reads the whole file into a map for it.
fn pid_inside(folder: &Path) -> Option<u32> {
    let status = std::fs::read_to_string(folder.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().last()?.parse().ok()
}

/// By the executable's name, by what it says of its build, by the libraries that it has mapped; the first that is
/// certain.
fn language(folder: &Path, executable: Option<&Path>) -> Option<Language> {
    let name = executable.and_then(Path::file_name).map(|name| name.to_string_lossy());
    name.and_then(|name| of_program_name(&name))
        // Through `/proc`, because the path may lie in another mount namespace.
        .or_else(|| of_executable(&File::open(folder.join("exe")).ok()?))
        .or_else(|| {
            let maps = BufReader::new(File::open(folder.join("maps")).ok()?);
            maps.lines().take(MAPPINGS).map_while(Result::ok).find_map(|line| of_mapped_file(line.rsplit('/').next()?))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let facts = LiveFacts.process(std::process::id()).expect("it runs");
        assert_eq!(facts.executable, std::env::current_exe().ok());
        assert_eq!(facts.command_line.first(), std::env::args().next().as_ref());
        assert_eq!(facts.language, Some(Language::Rust));
        assert!(facts.start_ticks > 0 && !facts.name.is_empty());
        assert!(!LiveFacts.host().name.is_empty());
    }

    #[test]
    fn a_process_that_is_gone_has_no_facts() {
        assert_eq!(LiveFacts.process(u32::MAX), None);
    }

    #[test]
    fn variables_of_another_process_are_read() {
        let mut child = std::process::Command::new("cat")
            .env("OTEL_SERVICE_NAME", "shop")
            .env("OTEL_RESOURCE_ATTRIBUTES", "a=b")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("cat is everywhere");
        // Once it answers it runs: before, its environment may not be in place.
        std::io::Write::write_all(child.stdin.as_mut().expect("piped"), b"!").expect("it reads");
        child.stdout.as_mut().expect("piped").read_exact(&mut [0]).expect("it answers");
        let facts = LiveFacts.process(child.id()).expect("it waits for its input");
        drop(child.stdin.take());
        child.wait().expect("it ends with its input");
        assert_eq!(facts.service_name.as_deref(), Some("shop"));
        assert_eq!(facts.resource_attributes.as_deref(), Some("a=b"));
    }

    #[test]
    fn recordings_keep_facts() {
        let facts = ProcessFacts { tgid: 7, language: Some(Language::Go), ..ProcessFacts::default() };
        let text = serde_json::to_string(&facts).expect("plain data");
        assert_eq!(serde_json::from_str::<ProcessFacts>(&text).expect("its own text"), facts);
        assert_eq!(serde_json::from_str::<ProcessFacts>("{}").expect("older recordings"), ProcessFacts::default());
    }
}
