// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Uninstalled, it leaves nothing: neither in the cluster nor in the kernel.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{PATIENCE, poll_until};

use super::{
    cluster::{Cluster, ROLLOUT},
    install::{deployed, install_manifests},
    shop,
};

#[test]
fn removed_it_leaves_nothing() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut received = install_manifests(&cluster, "base")?;
    shop::open(&cluster)?;
    shop::visit(&cluster, &mut received, "/watched")?;
    let pid = cluster.onlooker()?.context("it runs")?;
    let held = Objects::of(pid)?;
    println!("{} programs, {} maps, {} links", held.programs.len(), held.maps.len(), held.links.len());
    ensure!(!held.programs.is_empty() && !held.maps.is_empty() && !held.links.is_empty(), "{held:?}");
    ensure!(held.still_there()? == held, "what it holds is there");

    // The collector is not Onlooker's, but for the namespace.
    let limit = format!("--timeout={}s", ROLLOUT.as_secs());
    cluster.kubectl(&["delete", "-k", &deployed("kubernetes/base"), &limit])?;
    for kinds in ["clusterroles,clusterrolebindings,namespaces", "daemonsets,pods,serviceaccounts"] {
        let left = cluster.kubectl(&["get", kinds, "--all-namespaces", "-o", "name"])?;
        ensure!(!left.contains("onlooker"), "{left}");
    }
    ensure!(cluster.onlooker()?.is_none(), "a process is left");
    // Pinned, they would stay; the kernel takes the others away a moment after the process.
    poll_until("programs, maps and links are gone", PATIENCE, || {
        held.still_there().ok().filter(|left| *left == Objects::default())
    })
    .with_context(|| format!("{:?}", held.still_there()))?;
    // Whom it watched goes on.
    cluster.ask(&shop::address(&cluster, "store")?, "/unwatched").map(drop)
}

/// Ids of what a process has in the kernel.
#[derive(Debug, Default, PartialEq)]
struct Objects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Objects {
    /// As its descriptors say.
    fn of(pid: i32) -> Result<Self> {
        let mut objects = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            let id = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u32>().ok());
            // A link names its program too.
            match (id("link_id:"), id("prog_id:"), id("map_id:")) {
                (Some(link), ..) => objects.links.insert(link),
                (_, Some(program), _) => objects.programs.insert(program),
                (.., Some(map)) => objects.maps.insert(map),
                _ => false,
            };
        }
        Ok(objects)
    }

    /// Those that the kernel still has, whoever holds them.
    fn still_there(&self) -> Result<Self> {
        let programs = aya::programs::loaded_programs().map(|program| Ok(program?.id()));
        let maps = aya::maps::loaded_maps().map(|map| Ok(map?.id()));
        let links = aya::programs::loaded_links().map(|link| Ok(link?.id()));
        let programs = programs.collect::<Result<BTreeSet<_>>>()?;
        let maps = maps.collect::<Result<BTreeSet<_>>>()?;
        let links = links.collect::<Result<BTreeSet<_>>>()?;
        Ok(Self { programs: &self.programs & &programs, maps: &self.maps & &maps, links: &self.links & &links })
    }
}
