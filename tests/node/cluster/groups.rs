// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control groups of the cluster: one of its own in every hierarchy, with its pods below it and, in one hierarchy, its
//! programs, by which all that it runs is found and ended, by a later test where this one is killed. Other tests have pods
//! too, and other kubelets would end what they do not know.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use onlooker_tests::poll_until;

const PREFIX: &str = "onlooker-node-";

pub struct Groups {
    name: String,
}

/// A group for what the cluster itself consists of, beside that of the pods. Who starts a program enters it, and so the
/// children of programs are in it, whoever their parents are by then.
const PROGRAMS: &str = "programs";

impl Groups {
    /// Named by the process that has it.
    pub fn create(owner: &str) -> Result<Self> {
        let groups = Self::of(owner);
        for root in groups.folders() {
            fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        }
        fs::create_dir(groups.programs()?)?;
        Ok(groups)
    }

    /// Those of another test.
    pub fn of(owner: &str) -> Self {
        Self { name: format!("{PREFIX}{owner}") }
    }

    /// The file that takes a program in when a zero is written to it.
    pub fn entrance(&self) -> Result<fs::File> {
        let path = self.programs()?.join("cgroup.procs");
        fs::File::options().write(true).open(&path).with_context(|| format!("cannot open {}", path.display()))
    }

    /// Every process is in one group of each hierarchy: one will do.
    fn programs(&self) -> Result<PathBuf> {
        let hierarchy = hierarchies().into_iter().find(|hierarchy| takes_processes(hierarchy));
        Ok(hierarchy.context("there is no control group to be in")?.join(&self.name).join(PROGRAMS))
    }

    /// What a folder of the cluster that this process has is called, at its beginning.
    pub fn folder_prefix(owner: &str) -> String {
        format!("{PREFIX}{owner}-")
    }

    /// As a kubelet is told it.
    pub fn root(&self) -> String {
        format!("/{}", self.name)
    }

    /// Ends what a test has left that was killed, and takes its files away.
    pub fn sweep(limit: Duration) {
        for hierarchy in hierarchies() {
            for (name, owner) in left_in(&hierarchy) {
                if !Path::new("/proc").join(owner).exists() {
                    drop(Self { name }.end(limit));
                }
            }
        }
        let folders = env::temp_dir();
        for (name, rest) in left_in(&folders) {
            let owner = rest.split('-').next().unwrap_or_default();
            if !Path::new("/proc").join(owner).exists() {
                let _ = fs::remove_dir_all(folders.join(name));
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

/// What is in the folder of clusters, by name, and what follows the prefix.
fn left_in(folder: &Path) -> Vec<(String, String)> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let of_cluster = |name: String| name.strip_prefix(PREFIX).map(str::to_owned).map(|rest| (name, rest));
    names.filter_map(|name| of_cluster(name.into_string().ok()?)).collect()
}

/// Sets of processors of version 1 take nobody in before they are told which processors they are.
fn takes_processes(hierarchy: &Path) -> bool {
    !hierarchy.join("cpuset.cpus").exists()
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
