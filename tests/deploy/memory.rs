// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A memory control group as a kubelet makes one for a limit: version 2 where the machine has the controller there, else 1.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, Result};

/// Dropped after its processes have ended, it is taken away.
pub struct MemoryGroup {
    folder: PathBuf,
    peak: &'static str,
}

impl MemoryGroup {
    /// Nothing where this machine lets nobody make one.
    pub fn create(limit: u64) -> Result<Option<Self>> {
        let Some((root, [maximum, peak])) = hierarchy() else { return Ok(None) };
        let folder = root.join(format!("onlooker-{}", process::id()));
        if fs::create_dir(&folder).is_err() {
            return Ok(None);
        }
        let group = Self { folder, peak };
        fs::write(group.folder.join(maximum), limit.to_string()).context("the limit is refused")?;
        Ok(Some(group))
    }

    pub fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// The most that was charged to it: the kernel's maps and the page cache of its files as well.
    pub fn peak(&self) -> Result<u64> {
        Ok(fs::read_to_string(self.folder.join(self.peak))?.trim().parse()?)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Where groups are made, and what their limit and their peak are called.
fn hierarchy() -> Option<(PathBuf, [&'static str; 2])> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let of_kind = |kind: &str, option: &str| {
        let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let is_it = |fields: &Vec<&str>| fields[2] == kind && fields[3].split(',').any(|has| has == option);
        fields.find(is_it).map(|fields| Path::new(fields[1]).to_owned())
    };
    if let Some(root) = of_kind("cgroup2", "rw") {
        let for_children = fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
        if for_children.split_whitespace().any(|controller| controller == "memory") {
            return Some((root, ["memory.max", "memory.peak"]));
        }
    }
    of_kind("cgroup", "memory").map(|root| (root, ["memory.limit_in_bytes", "memory.max_usage_in_bytes"]))
}
