// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The API server and the rights come and go, and pods do so within a second: spans go on, and say what can be known.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Span, poll_until};

use super::{
    cluster::{Cluster, ROLLOUT},
    install::install_manifests,
    shop::{self, ARRIVAL, Received, text},
};

/// Waits between two attempts add up, and a watch that broke off is noticed late.
const RECOVERY: Duration = Duration::from_secs(120);

#[test]
fn the_api_server_and_the_rights_come_and_go() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut received = install_manifests(&cluster, "base")?;
    shop::open(&cluster)?;
    shop::visit(&cluster, &mut received, "/before")?;

    let store = shop::address(&cluster, "store")?;
    cluster.kill_api();
    cluster.ask(&store, "/without-api")?;
    let span = received.wait("/without-api", "python", ARRIVAL)?;
    ensure!(text(&span, "k8s.pod.name") == "store-0", "what was known is known: {:#?}", span.resource);
    cluster.start_api()?;
    let second = another_store(&cluster, 2)?;
    let span = ask_until(&cluster, &mut received, &second, "/after", |span| text(span, "k8s.pod.name") == "store-1")?;
    ensure!(text(&span, "service.name") == "store", "{:#?}", span.resource);

    // A watch that runs is not judged again: it has to be asked for anew.
    let before = told(&cluster)?;
    cluster.kubectl(&["delete", "clusterrolebinding", "onlooker"])?;
    cluster.kill_api();
    cluster.start_api()?;
    poll_until("Onlooker says that it is forbidden", RECOVERY, || (told(&cluster).ok()? > before).then_some(()))
        .with_context(|| cluster.words())?;
    let third = another_store(&cluster, 3)?;
    let of_stranger = |span: &Span| text(span, "k8s.pod.name").is_empty();
    let span = ask_until(&cluster, &mut received, &third, "/forbidden", of_stranger)?;
    ensure!(!text(&span, "container.id").is_empty(), "what needs no API is said: {:#?}", span.resource);
    let span = ask_until(&cluster, &mut received, &store, "/known", |_| true)?;
    ensure!(text(&span, "k8s.pod.name") == "store-0", "what was known is known: {:#?}", span.resource);

    cluster.kubectl(&["create", "clusterrolebinding", "onlooker", "--clusterrole=onlooker", ACCOUNT])?;
    ask_until(&cluster, &mut received, &third, "/allowed", |span| text(span, "k8s.pod.name") == "store-2")?;
    let told = told(&cluster)? - before;
    ensure!(told == 1, "told {told} times: {}", cluster.words());
    Ok(())
}

const ACCOUNT: &str = "--serviceaccount=onlooker:onlooker";

/// How often Onlooker has said that it is forbidden. An API server that has just started forbids for a moment what it
/// will allow.
fn told(cluster: &Cluster) -> Result<usize> {
    let words = cluster.kubectl(&["-n", "onlooker", "logs", "daemonset/onlooker"])?;
    Ok(words.matches("is forbidden").count())
}

/// Makes the store this large, and gives the address of its last pod.
fn another_store(cluster: &Cluster, size: u32) -> Result<String> {
    cluster.kubectl(&["-n", "shop", "scale", "statefulset/store", &format!("--replicas={size}")])?;
    cluster.wait_rollout("shop", "statefulset/store")?;
    let ip = cluster.field("shop", &["pod", &format!("store-{}", size - 1)], "{.status.podIP}")?;
    Ok(format!("{ip}:8080"))
}

/// Asks for one path after the other until the span of one is as it should be.
fn ask_until(
    cluster: &Cluster,
    received: &mut Received,
    address: &str,
    below: &str,
    is_right: impl Fn(&Span) -> bool,
) -> Result<Span> {
    let mut asked = 0;
    poll_until(&format!("the right span of {address}{below}"), RECOVERY, || {
        asked += 1;
        let path = format!("{below}/{asked}");
        cluster.ask(address, &path).ok()?;
        let of_path =
            |spans: &[Span]| spans.iter().find(|span| span.kind == "SERVER" && span.path() == Some(&path)).cloned();
        let span = poll_until("its span", ARRIVAL, || of_path(received.look().ok()?)).ok()?;
        is_right(&span).then_some(span)
    })
    .with_context(|| cluster.words())
}

/// Each has been there for less than a second when it ends.
#[test]
fn pods_that_live_for_a_second_are_named() -> Result<()> {
    const PODS: usize = 8;
    let cluster = Cluster::start()?;
    let mut received = install_manifests(&cluster, "base")?;
    shop::open(&cluster)?;
    shop::visit(&cluster, &mut received, "/before")?;
    let job = cluster.field("shop", &["job", "once"], "{.spec.template.spec}")?;
    let job = job.replace("/by/job", "/brief");
    cluster.apply(&format!(
        r#"{{"apiVersion": "batch/v1", "kind": "Job", "metadata": {{"name": "brief", "namespace": "shop"}},
            "spec": {{"completions": {PODS}, "parallelism": 2, "template": {{"spec": {job}}}}}}}"#
    ))?;
    let limit = format!("--timeout={}s", ROLLOUT.as_secs());
    cluster.kubectl(&["-n", "shop", "wait", "--for=condition=Complete", "job/brief", &limit])?;
    let is_brief = |span: &&Span| span.kind == "CLIENT" && span.path() == Some("/brief");
    let names = poll_until("a span of each pod", ARRIVAL, || {
        let of_brief = received.look().ok()?.iter().filter(is_brief);
        let names: Vec<_> = of_brief.map(|span| text(span, "k8s.pod.name").to_owned()).collect();
        (names.len() == PODS).then_some(names)
    })
    .with_context(|| cluster.words())?;
    let pods = cluster.field("shop", &["pods", "-l", "job-name=brief"], "{.items[*].metadata.name}")?;
    let mut expected: Vec<_> = pods.split(' ').map(str::to_owned).collect();
    let mut names = names;
    expected.sort();
    names.sort();
    ensure!(names == expected, "{names:?} instead of {expected:?}");
    Ok(())
}
