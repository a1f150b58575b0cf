// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control groups of the cluster's pods: below one of its own in every hierarchy, by which all that runs in containers
//! is found and ended. Other tests have pods too, and other kubelets would end what they do not know.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use onlooker_tests::poll_until;

const PREFIX: &str = "onlooker-node-";

pub struct Groups {
    name: String,
}

impl Groups {
    /// Named by the process that has it.
    pub fn create(owner: &str) -> Result<Self> {
        let groups = Self { name: format!("{PREFIX}{owner}") };
        for root in groups.folders() {
            fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        }
        Ok(groups)
    }

    /// As a kubelet is told it.
    pub fn root(&self) -> String {
        format!("/{}", self.name)
    }

    /// Ends what a test has left that was killed.
    pub fn sweep(limit: Duration) {
        for hierarchy in hierarchies() {
            for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let Some(owner) = name.strip_prefix(PREFIX) else { continue };
                if !Path::new("/proc").join(owner).exists() {
                    drop(Self { name }.end(limit));
                }
            }
        }
    }

    /// Kills every process, and takes the groups away.
    pub fn end(&self, limit: Duration) -> Result<()> {
        poll_until("the cluster's control groups are empty and gone", limit, || {
            let mut is_gone = true;
            for process in self.processes() {
                // SAFETY: takes no pointers. Whoever is in one of these groups was started by the cluster.
                unsafe { libc::kill(process, libc::SIGKILL) };
            }
            for root in self.folders() {
                is_gone &= remove(&root).is_ok();
            }
            is_gone.then_some(())
        })
    }

    /// All that are in them, each once.
    pub fn processes(&self) -> BTreeSet<i32> {
        self.folders().iter().flat_map(|root| processes(root)).collect()
    }

    /// One in each hierarchy.
    fn folders(&self) -> Vec<PathBuf> {
        hierarchies().into_iter().map(|hierarchy| hierarchy.join(&self.name)).collect()
    }
}

/// Where versions 1 and 2 are mounted.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| matches!(fields.get(2), Some(&("cgroup" | "cgroup2"))))
        .map(|fields| PathBuf::from(fields[1]))
        .collect()
}

/// In a group and those below it.
fn processes(group: &Path) -> Vec<i32> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = own.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>();
    below(group).into_iter().flat_map(|group| processes(&group)).chain(own).collect()
}

/// From the innermost outwards.
fn remove(group: &Path) -> io::Result<()> {
    for inner in below(group) {
        remove(&inner)?;
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn below(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
