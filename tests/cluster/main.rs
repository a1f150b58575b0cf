// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Against a real Kubernetes API: what it says of a pod is on the spans of the pod's processes, however late it says it.
//!
//! The pods are described to a real API server, and their processes run in control groups as a kubelet names them; only
//! the kubelet and the containers themselves are missing.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result};
use onlooker_tests::{Cluster, Onlooker, PATIENCE, ServerProcess, Span, cluster::ContainerGroup};

mod doctor;
mod manifests;
mod peers;
mod selection;

/// Waits of Onlooker between two attempts add up.
const RECOVERY: Duration = Duration::from_secs(60);

/// Ids as runtimes make them.
fn container_id(number: u32) -> String {
    format!("{number:064x}")
}

/// A pod on node n1 with two containers, so that only the kubelet's report says which one a process is in.
fn pod(name: &str, metadata: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: shop
{metadata}
spec:
  nodeName: n1
  containers:
  - {{name: web, image: 'registry.test:5000/shop/web:1.2'}}
  - {{name: proxy, image: envoy}}
"
    )
}

const OF_DEPLOYMENT: &str = "  labels: {app: web, pod-template-hash: 6d4cf56db6}
  annotations: {resource.opentelemetry.io/team: blue}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-6d4cf56db6, uid: r1, controller: true}]";

/// The kubelet's report that a container of a pod runs.
fn report(cluster: &Cluster, name: &str, container: &str, container_id: &str) -> Result<()> {
    let status = format!(
        r#"{{"status": {{"containerStatuses": [{{"name": "{container}", "containerID": "containerd://{container_id}",
            "image": "x", "imageID": "x", "ready": true, "restartCount": 0}}]}}}}"#
    );
    cluster
        .kubectl(&["-n", "shop", "patch", "pod", name, "--subresource=status", "--type=merge", "-p", &status], "")
        .map(drop)
}

/// A server in the control group of a pod.
struct Container {
    server: ServerProcess,
    _group: ContainerGroup,
}

impl Container {
    fn start(pod_uid: &str, container_id: &str) -> Result<Self> {
        let group = ContainerGroup::create(pod_uid, container_id)?;
        let server = ServerProcess::start()?;
        group.take(server.pid())?;
        Ok(Self { server, _group: group })
    }

    fn ask(&self, path: &str) -> Result<()> {
        let mut stream = TcpStream::connect(self.server.address())?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

fn watch(cluster: &Cluster, user: &str, containers: &[&Container]) -> Result<Onlooker> {
    let pids: Vec<String> = containers.iter().map(|container| container.server.pid().to_string()).collect();
    let kubeconfig = cluster.kubeconfig(user);
    let environment =
        [("KUBECONFIG", kubeconfig.to_str().context("plain")?), ("NODE_NAME", "n1"), ("ONLOOKER_CLUSTER_NAME", "test")];
    Onlooker::start(&["--pid", &pids.join(",")], &environment)
}

fn span_of<'a>(spans: &'a [Span], path: &str) -> Option<&'a Span> {
    spans.iter().find(|span| span.kind == "SERVER" && span.text("url.path") == Some(path))
}

fn resource<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    span.resource.get(key).and_then(|value| value.as_str())
}

fn wait_span(onlooker: &mut Onlooker, path: &str) -> Result<Span> {
    let spans = onlooker.wait_spans(|spans| span_of(spans, path).is_some(), PATIENCE)?;
    Ok(span_of(spans, path).context("it was awaited")?.clone())
}

fn start_cluster() -> Result<Cluster> {
    let cluster = Cluster::start()?;
    cluster.kubectl(&["create", "namespace", "shop"], "")?;
    Ok(cluster)
}

#[test]
fn spans_are_told_of_their_pod_also_late_and_also_after_the_api_server_was_away() -> Result<()> {
    let mut cluster = start_cluster()?;
    let (first, second) = (container_id(1), container_id(2));
    let uid = cluster.create(&pod("web-6d4cf56db6-a", OF_DEPLOYMENT))?;
    let container = Container::start(&uid, &first)?;
    let mut onlooker = watch(&cluster, "admin", &[&container])?;

    // Which container it is, is not known yet: the span is held, and told of it.
    container.ask("/first")?;
    report(&cluster, "web-6d4cf56db6-a", "web", &first)?;
    let span = wait_span(&mut onlooker, "/first")?;
    for (key, value) in [
        ("service.name", "web"),
        ("service.namespace", "shop"),
        ("service.version", "1.2"),
        ("service.instance.id", "shop.web-6d4cf56db6-a.web"),
        ("k8s.cluster.name", "test"),
        ("k8s.namespace.name", "shop"),
        ("k8s.node.name", "n1"),
        ("k8s.pod.name", "web-6d4cf56db6-a"),
        ("k8s.pod.uid", uid.as_str()),
        ("k8s.container.name", "web"),
        ("k8s.deployment.name", "web"),
        ("k8s.replicaset.name", "web-6d4cf56db6"),
        ("container.id", first.as_str()),
        ("container.image.name", "registry.test:5000/shop/web"),
        ("team", "blue"),
    ] {
        assert_eq!(resource(&span, key), Some(value), "{key}: {:#?}", span.resource);
    }

    // The API server goes; what is known stays known. It comes back; what was made meanwhile is learnt.
    cluster.kill_api()?;
    container.ask("/without")?;
    assert_eq!(resource(&wait_span(&mut onlooker, "/without")?, "k8s.pod.name"), Some("web-6d4cf56db6-a"));
    cluster.start_api()?;
    let metadata = "  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: s1, controller: true}]";
    let uid = cluster.create(&pod("db-0", metadata))?;
    report(&cluster, "db-0", "web", &second)?;
    let group = ContainerGroup::create(&uid, &second)?;
    // Asked until it answers with its pod: how long the watch takes to come back is for Onlooker to say.
    let late = Container { server: ServerProcess::start()?, _group: group };
    late._group.take(late.server.pid())?;
    let mut other = watch(&cluster, "admin", &[&late])?;
    late.ask("/stateful")?;
    let span = wait_span(&mut other, "/stateful")?;
    assert_eq!((span.service(), resource(&span, "k8s.statefulset.name")), (Some("db"), Some("db")));

    // The first one's watch was taken up as well.
    cluster.kubectl(
        &["-n", "shop", "annotate", "pod", "web-6d4cf56db6-a", "resource.opentelemetry.io/team=red", "--overwrite"],
        "",
    )?;
    let mut asked = 0;
    onlooker_tests::poll_until("the watch goes on", RECOVERY, || {
        asked += 1;
        let path = format!("/again/{asked}");
        container.ask(&path).ok()?;
        let span = wait_span(&mut onlooker, &path).ok()?;
        (resource(&span, "team") == Some("red")).then_some(())
    })?;
    for onlooker in [onlooker, other] {
        let finished = onlooker.stop()?;
        finished.ledger.assert_conserved("stdout");
        assert_eq!(finished.ledger.total("onlooker_spans_without_pod_total"), 0, "{}", finished.stderr);
    }
    Ok(())
}

#[test]
fn without_rights_spans_go_on_and_with_them_again_pods_are_known() -> Result<()> {
    let cluster = start_cluster()?;
    let id = container_id(3);
    let uid = cluster.create(&pod("web", ""))?;
    report(&cluster, "web", "web", &id)?;
    let container = Container::start(&uid, &id)?;
    let mut onlooker = watch(&cluster, "agent", &[&container])?;
    container.ask("/forbidden")?;
    let span = wait_span(&mut onlooker, "/forbidden")?;
    assert_eq!((resource(&span, "k8s.pod.name"), resource(&span, "container.id")), (None, Some(id.as_str())));

    // The rights that the manifests give.
    cluster.kubectl(&["apply", "-f", "-"], &manifests::built(&cluster, "base")?)?;
    cluster.kubectl(&["create", "clusterrolebinding", "agent", "--clusterrole=onlooker", "--user=agent"], "")?;
    let mut asked = 0;
    onlooker_tests::poll_until("the pod is known", RECOVERY, || {
        asked += 1;
        let path = format!("/allowed/{asked}");
        container.ask(&path).ok()?;
        let span = wait_span(&mut onlooker, &path).ok()?;
        // A pod that nobody made is its own service.
        (resource(&span, "k8s.pod.name") == Some("web") && span.service() == Some("web")).then_some(())
    })?;
    let finished = onlooker.stop()?;
    finished.ledger.assert_conserved("stdout");
    assert!(finished.ledger.total("onlooker_spans_without_pod_total") >= 1, "{:#?}", finished.ledger);
    assert!(finished.ledger.total_of("onlooker_kubernetes_failures_total", &[("reason", "forbidden")]) >= 1);
    assert_eq!(finished.stderr.matches("is forbidden").count(), 1, "told once: {}", finished.stderr);
    assert!(finished.stderr.contains("give its service account the right"), "{}", finished.stderr);
    Ok(())
}

#[test]
fn a_thousand_pods_cost_little() -> Result<()> {
    const PODS: usize = 1000;
    let cluster = start_cluster()?;
    let resident = |onlooker: &Onlooker| -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", onlooker.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    };
    let id = container_id(4);
    let uid = cluster.create(&pod("one", ""))?;
    report(&cluster, "one", "web", &id)?;
    let container = Container::start(&uid, &id)?;
    let onlooker = watch(&cluster, "admin", &[&container])?;
    let before = resident(&onlooker)?;
    let all: Vec<String> = (0..PODS).map(|number| pod(&format!("p{number}"), OF_DEPLOYMENT)).collect();
    cluster.create(&all.join("---\n"))?;
    drop(onlooker.stop()?);

    let mut onlooker = watch(&cluster, "admin", &[&container])?;
    container.ask("/many")?;
    wait_span(&mut onlooker, "/many")?;
    let after = resident(&onlooker)?;
    println!("{PODS} pods: {after} kB resident, {before} kB with one");
    assert!(after < before + 12_000, "{after} kB resident with {PODS} pods, {before} kB with one");
    onlooker.stop()?;
    Ok(())
}
