// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is to be known of a process before it can be judged, from `/proc`.

use std::{fs, path::PathBuf};

use procfs::{
    net::TcpState,
    process::{FDTarget, Process},
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::enrich::{container_id, pod_uid};

/// A process that may be watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    pub tgid: u32,
    /// The name that the kernel gives it: at most fifteen bytes.
    pub name: String,
    /// Absent for kernel threads, and for processes that are gone.
    pub executable: Option<PathBuf>,
    pub arguments: Vec<String>,
    pub listens_on: Vec<u16>,
    /// It lives in another pid namespace than this machine's first process.
    pub in_container: bool,
    pub residence: Residence,
}

/// What a process's control groups say of where it lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residence {
    pub pod_uid: Option<String>,
    pub container_id: Option<String>,
}

impl Residence {
    /// Nowhere, where the process is gone.
    #[must_use]
    pub fn read(tgid: u32) -> Self {
        let groups = fs::read_to_string(format!("/proc/{tgid}/cgroup")).unwrap_or_default();
        Self { pod_uid: pod_uid(&groups), container_id: container_id(&groups).map(str::to_owned) }
    }
}

impl Candidate {
    /// What `/proc` says; of a process that is gone only the name is left.
    #[must_use]
    pub fn read(tgid: u32, name: &str) -> Self {
        let gone = Self { tgid, name: name.to_owned(), ..Self::default() };
        let Some(process) = open(tgid) else { return gone };
        Self {
            executable: process.exe().ok(),
            arguments: process.cmdline().unwrap_or_default(),
            in_container: in_container(&process).unwrap_or(false),
            ..gone
        }
    }

    /// The last part of the executable's path; of a process that is gone its name. A file that was replaced while it ran
    /// keeps its name.
    #[must_use]
    pub fn executable_name(&self) -> &str {
        let path = self.executable.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
        path.map_or(self.name.as_str(), |name| name.strip_suffix(" (deleted)").unwrap_or(name))
    }
}

fn open(tgid: u32) -> Option<Process> {
    Process::new(i32::try_from(tgid).ok()?).ok()
}

fn in_container(process: &Process) -> Option<bool> {
    let namespace = |process: &Process| Some(process.namespaces().ok()?.0.get(std::ffi::OsStr::new("pid"))?.identifier);
    Some(namespace(process)? != namespace(&open(1)?)?)
}

/// The ids of the processes that run now.
pub fn ids() -> Vec<u32> {
    let Ok(processes) = procfs::process::all_processes() else { return Vec::new() };
    processes.flatten().filter_map(|process| u32::try_from(process.pid()).ok()).collect()
}

/// Every process that runs now, with what it listens on where `with_ports`.
#[must_use]
pub fn running(with_ports: bool) -> Vec<Candidate> {
    let Ok(processes) = procfs::process::all_processes() else { return Vec::new() };
    let mut listeners = Listeners::default();
    processes
        .flatten()
        .filter_map(|process| {
            let tgid = u32::try_from(process.pid()).ok()?;
            let name = process.stat().ok()?.comm;
            let mut candidate = Candidate::read(tgid, &name);
            if with_ports && candidate.executable.is_some() {
                candidate.listens_on = listeners.ports(&process);
            }
            Some(candidate)
        })
        .collect()
}

/// The ports that one process listens on, for a program that may have inherited its sockets.
#[must_use]
pub fn listening_ports(tgid: u32) -> Vec<u16> {
    open(tgid).map(|process| Listeners::default().ports(&process)).unwrap_or_default()
}

/// Listening sockets of each network namespace, read once.
#[derive(Default)]
struct Listeners {
    by_namespace: FxHashMap<u64, FxHashMap<u64, u16>>,
}

impl Listeners {
    fn ports(&mut self, process: &Process) -> Vec<u16> {
        let Some(namespace) = process
            .namespaces()
            .ok()
            .and_then(|all| all.0.get(std::ffi::OsStr::new("net")).map(|namespace| namespace.identifier))
        else {
            return Vec::new();
        };
        let port_by_inode = self.by_namespace.entry(namespace).or_insert_with(|| {
            let entries = process.tcp().unwrap_or_default().into_iter().chain(process.tcp6().unwrap_or_default());
            entries
                .filter(|entry| entry.state == TcpState::Listen)
                .map(|entry| (entry.inode, entry.local_address.port()))
                .collect()
        });
        let Ok(descriptors) = process.fd() else { return Vec::new() };
        let ports: FxHashSet<u16> = descriptors
            .flatten()
            .filter_map(|descriptor| match descriptor.target {
                FDTarget::Socket(inode) => port_by_inode.get(&inode).copied(),
                _ => None,
            })
            .collect();
        let mut ports: Vec<u16> = ports.into_iter().collect();
        ports.sort_unstable();
        ports
    }
}
