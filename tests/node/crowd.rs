// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ten thousand pods on other nodes: what they cost an Onlooker that is not theirs, where it may look at its own alone, and
//! where it names what is called in the whole cluster.

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::skip;

use super::{
    cluster::{Cluster, Daemon},
    install::{deployed, install_manifests},
    shop,
};

/// The API server takes a few hundred a second.
const ARRIVAL: Duration = Duration::from_secs(600);

/// Resident bytes. Nothing was seen for pods that are not asked for, and six million for ten thousand endpoints; pods that
/// were kept would be tens of millions. A smaller limit fails on a busier machine.
const GROWTH: u64 = 16 << 20;

const PODS: usize = 10_000;

/// Endpoints that the controller puts into a slice.
const SLICE: usize = 100;

fn source(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node/workloads").join(name).display().to_string()
}

#[test]
fn ten_thousand_pods_elsewhere_cost_next_to_nothing() -> Result<()> {
    let Some(kwok) = env::var_os("ONLOOKER_KWOK") else {
        skip("kwok is not there: `cargo xtask cluster` builds it, once per machine");
        return Ok(());
    };
    let cluster = Cluster::start()?;
    let mut received = install_manifests(&cluster, "base")?;
    shop::open(&cluster)?;
    shop::visit(&cluster, &mut received, "/few")?;
    let pid = cluster.onlooker()?.context("it runs")?;
    let options = [
        ("kubeconfig", &*cluster.site.text("kubeconfig")),
        ("config", &*source("feigned.yaml")),
        ("manage-all-nodes", "false"),
        ("manage-nodes-with-annotation-selector", "kwok.x-k8s.io/node=feigned"),
        ("server-address", "127.0.0.1:10247"),
    ];
    let mut kwok = Daemon::start(&cluster.site, Path::new(&kwok), "kwok", &options)?;
    let (before, since) = (Usage::of(pid)?, Instant::now());
    cluster.apply(&fs::read_to_string(source("elsewhere.yaml"))?)?;
    kwok.wait_until("ten thousand pods run", ARRIVAL, || {
        let wait = ["wait", "replicaset/crowd", "--for=jsonpath={.status.readyReplicas}=10000", "--timeout=30s"];
        cluster.kubectl(&[&["-n", "shop"], &wait[..]].concat()).ok()
    })?;
    let (after, spent) = (Usage::of(pid)?, since.elapsed());
    println!(
        "10000 pods elsewhere, in {spent:.0?}: {} kB resident, {} kB before; {:.1} s of CPU meanwhile",
        after.resident >> 10,
        before.resident >> 10,
        (after.cpu - before.cpu).as_secs_f64(),
    );
    ensure!(after.resident < before.resident + GROWTH, "{after:?}, {before:?} before");
    shop::visit(&cluster, &mut received, "/many")?;

    cluster.apply(&fs::read_to_string(source("crowd.yaml"))?)?;
    let of_crowd = ["endpointslices", "-l", "kubernetes.io/service-name=crowd"];
    kwok.wait_until("ten thousand pods are endpoints", ARRIVAL, || {
        let endpoints = cluster.field("shop", &of_crowd, "{.items[*].endpoints[*].addresses[0]}").ok()?;
        (endpoints.split_whitespace().count() == PODS).then_some(())
    })?;
    cluster.kubectl(&["apply", "-k", &deployed("kubernetes/cluster")])?;
    cluster.wait_rollout("onlooker", "daemonset/onlooker")?;
    kwok.wait_until("Onlooker has been told of the endpoints", ARRIVAL, || {
        let words = cluster.kubectl(&["-n", "onlooker", "logs", "daemonset/onlooker"]).ok()?;
        let known =
            words.lines().find_map(|line| line.strip_suffix(" endpointslices are known to be in the cluster"))?;
        (known.rsplit(' ').next()?.parse::<usize>().ok()? >= PODS / SLICE).then_some(())
    })?;
    let all = Usage::of(cluster.onlooker()?.context("it runs")?)?;
    println!("told of all: {} kB resident", all.resident >> 10);
    ensure!(all.resident < before.resident + GROWTH, "{all:?}, {before:?} before");
    shop::visit(&cluster, &mut received, "/named")
}

#[derive(Debug)]
struct Usage {
    /// Bytes.
    resident: u64,
    cpu: Duration,
}

impl Usage {
    fn of(pid: i32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        // Nanoseconds on a processor, of all threads.
        let mut cpu = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let account = fs::read_to_string(thread?.path().join("schedstat"))?;
            cpu += Duration::from_nanos(account.split(' ').next().context("a time")?.parse()?);
        }
        Ok(Self { resident: kilobytes << 10, cpu })
    }
}
