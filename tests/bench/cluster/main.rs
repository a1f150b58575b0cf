// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask bench cluster`: what a large cluster costs one node's Onlooker, in memory and in time.
//!
//! A real API server tells of 1 000 pods on the node, and of 10 000 pods behind the Services of the cluster; then of
//! changes. Nobody runs the pods: what Onlooker asks for are objects. Of the pods on other nodes it asks
//! only for their endpoints, so that these are all that is made of them.

mod api;
mod objects;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use api::Api;
use objects::{ENDPOINTS, SERVICES};
use onlooker_tests::{Cluster, Onlooker, poll_until};

const NODE_PODS: usize = 1_000;

/// How many changes are made, of which every tenth is of a pod of this node, and how often a busy cluster has one.
const CHANGES: u32 = 2_000;
const OWN_SHARE: u32 = 10;
const CHANGES_PER_SECOND: u32 = 100;

/// How long rest is measured.
const RESTING: Duration = Duration::from_secs(20);

/// Lists are over when for so long less than this part of a processor has been used.
const QUIET: Duration = Duration::from_secs(4);
const IDLE: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut api = Api::start(&cluster)?;
    api.post("/api/v1/namespaces", &objects::namespace())?;
    println!("{:<44}{:>12}{:>12}", "", "resident", "at most");
    api.post(objects::PODS, &objects::pod(0))?;
    let alone = settled(&cluster, "node")?;
    report("one pod", &alone)?;
    end(alone, &[(1, "pods")])?;

    let began = Instant::now();
    for number in 1..NODE_PODS {
        api.post(objects::PODS, &objects::pod(number))?;
    }
    for number in 0..NODE_PODS {
        api.patch(&objects::status_path(number), &objects::status(number, 0))?;
    }
    for number in 0..SERVICES {
        api.post(objects::SERVICES_PATH, &objects::service(number))?;
        api.post(objects::SLICES_PATH, &objects::slice(number, 0))?;
    }
    let took = began.elapsed();
    let pods = settled(&cluster, "node")?;
    report(&format!("{NODE_PODS} pods on the node"), &pods)?;
    end(pods, &[(NODE_PODS, "pods")])?;
    let all = settled(&cluster, "cluster")?;
    let endpoints = SERVICES * ENDPOINTS;
    report(&format!("and {SERVICES} Services with {endpoints} endpoints"), &all)?;

    let rest = share(&all, || {
        thread::sleep(RESTING);
        Ok(())
    })?;
    let began = Instant::now();
    let busy = share(&all, || change(&mut api))?;
    // As fast as the server takes them: what one costs does not depend on how many there are in a second.
    let each = (busy - rest) * began.elapsed().as_secs_f64() / f64::from(CHANGES);
    println!(
        "\nof a processor: {:.2} % at rest; {:.0} us a change, and so {:.1} % at {CHANGES_PER_SECOND} a second",
        100.0 * rest,
        1e6 * each,
        100.0 * each * f64::from(CHANGES_PER_SECOND)
    );
    report("afterwards", &all)?;
    // The API has a Service of its own.
    end(all, &[(NODE_PODS, "pods"), (SERVICES + 1, "services"), (SERVICES, "endpointslices")])?;
    println!("(objects made in {:.0} s)", took.as_secs_f64());
    Ok(())
}

/// Onlooker, once it has been told everything.
fn settled(cluster: &Cluster, rights: &str) -> Result<Onlooker> {
    let kubeconfig = cluster.kubeconfig("admin");
    let environment = [
        ("KUBECONFIG", kubeconfig.to_str().context("plain")?),
        ("NODE_NAME", objects::NODE),
        ("ONLOOKER_KUBERNETES_RIGHTS", rights),
    ];
    // Of the machine nothing is watched: the cluster is what is measured.
    let onlooker = Onlooker::start(&["--open-port", "1"], &environment)?;
    let mut last = (onlooker.cpu_time()?, Instant::now());
    poll_until("the lists are over", PATIENCE, || {
        let now = onlooker.cpu_time().ok()?;
        if last.1.elapsed() < QUIET {
            return None;
        }
        let used = now - last.0;
        last = (now, Instant::now());
        (used < QUIET / IDLE).then_some(())
    })?;
    Ok(onlooker)
}

/// Ends it; what it was told of must be what there is.
fn end(onlooker: Onlooker, told: &[(usize, &str)]) -> Result<()> {
    let finished = onlooker.stop()?;
    for (count, names) in told {
        let line = format!(" {count} {names} are known");
        ensure!(finished.stderr.contains(&line), "not{line}:\n{}", finished.stderr);
    }
    for refused in ["onlooker_kubernetes_pods_refused_total", "onlooker_kubernetes_peers_refused_total"] {
        ensure!(finished.ledger.total(refused) == 0, "{refused}: {:#?}", finished.ledger);
    }
    Ok(())
}

fn report(what: &str, onlooker: &Onlooker) -> Result<()> {
    let mega = |key| Ok::<_, anyhow::Error>(onlooker.memory_bytes(key)? as f64 / 1e6);
    println!("{what:<44}{:>9.1} MB{:>9.1} MB", mega("VmRSS")?, mega("VmHWM")?);
    Ok(())
}

/// Its share of a processor meanwhile.
fn share(onlooker: &Onlooker, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (before, began) = (onlooker.cpu_time()?, Instant::now());
    work()?;
    Ok((onlooker.cpu_time()? - before).as_secs_f64() / began.elapsed().as_secs_f64())
}

/// Pods come and go: each change is one of a slice's endpoints, or of a pod's status.
fn change(api: &mut Api) -> Result<()> {
    for number in 0..CHANGES {
        let round = number as usize + 1;
        if number % OWN_SHARE == 0 {
            let pod = round % NODE_PODS;
            api.patch(&objects::status_path(pod), &objects::status(pod, round))?;
        } else {
            let slice = round % SERVICES;
            api.put(&objects::slice_path(slice), &objects::slice(slice, round))?;
        }
    }
    Ok(())
}
