// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Workloads of each kind, asked; and what a real collector in the cluster has received of it.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Span, poll_until, spans};

use super::cluster::Cluster;

/// A CronJob comes every minute.
const TURN: Duration = Duration::from_secs(150);

/// Of spans, at the collector: seconds, where the collector was not known yet and is asked again.
pub const ARRIVAL: Duration = Duration::from_secs(60);

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node/workloads").join(name)
}

/// Starts the collector in the namespace that Onlooker is installed into.
pub fn start_collector(cluster: &Cluster) -> Result<Received> {
    let folder = cluster.folder("received")?;
    let text = fs::read_to_string(source("collector.yaml"))?;
    cluster.apply(&text.replace("RECEIVED", folder.to_str().context("a plain path")?))?;
    cluster.wait_rollout("onlooker", "deployment/otel-collector")?;
    Ok(Received { file: folder.join("received.jsonl"), read: 0, spans: Vec::new() })
}

/// Starts the workloads, and waits for the servers.
pub fn open(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["create", "namespace", "shop"])?;
    let mut create = vec!["-n".to_owned(), "shop".into(), "create".into(), "configmap".into(), "programs".into()];
    for name in ["store.py", "errand.py", "lone.js", "errand.js", "front.conf"] {
        create.push(format!("--from-file={}", source(name).display()));
    }
    cluster.kubectl(&create.iter().map(String::as_str).collect::<Vec<_>>())?;
    cluster.apply(&fs::read_to_string(source("shop.yaml"))?)?;
    cluster.wait_rollout("shop", "statefulset/store")?;
    cluster.wait_rollout("shop", "deployment/front")?;
    cluster.wait_rollout("shop", "daemonset/counter")?;
    cluster.kubectl(&["-n", "shop", "wait", "--for=condition=Ready", "pod/lone", "--timeout=60s"]).map(drop)
}

/// The address of a server's pod.
pub fn address(cluster: &Cluster, app: &str) -> Result<String> {
    let ip = cluster.field("shop", &["pods", "-l", &format!("app={app}")], "{.items[0].status.podIP}")?;
    ensure!(!ip.is_empty(), "{app} has no address");
    Ok(format!("{ip}:8080"))
}

/// The file that the collector writes, read as it grows. Spans without a path are let go: they are not the shop's.
pub struct Received {
    file: PathBuf,
    read: u64,
    pub spans: Vec<Span>,
}

impl Received {
    /// Takes in what is new.
    pub fn look(&mut self) -> Result<&[Span]> {
        let Ok(mut file) = fs::File::open(&self.file) else { return Ok(&self.spans) };
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may still be on its way.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            self.read += line.len() as u64;
            self.spans.extend(spans::parse_line(line)?.into_iter().filter(|span| span.path().is_some()));
        }
        Ok(&self.spans)
    }

    /// Waits for a span of this path from this container, which is the one that tells the pods apart through which a
    /// request goes.
    pub fn wait(&mut self, path: &str, container: &str, limit: Duration) -> Result<Span> {
        let is_it = |span: &&Span| span.path() == Some(path) && text(span, "k8s.container.name") == container;
        let found = poll_until(&format!("a span of {path} from {container}"), limit, || match self.look() {
            Ok(spans) => spans.iter().find(is_it).cloned().map(Ok),
            Err(error) => Some(Err(error)),
        });
        found.and_then(|span| span).with_context(|| {
            let last: Vec<_> = self.spans.iter().rev().take(20).map(|span| (span.kind, span.path())).collect();
            format!("{} spans, the last {last:?}", self.spans.len())
        })
    }
}

/// A server of the shop.
struct Server {
    /// Which pods: its label `app`.
    app: &'static str,
    container: &'static str,
    /// What its spans must call it, by the label, the annotation, the owner or the pod.
    service: &'static str,
    /// In the attributes `k8s.….name` and `….uid`.
    owner: Option<&'static str>,
}

const SERVERS: [Server; 4] = [
    Server { app: "store", container: "python", service: "store", owner: Some("statefulset") },
    Server { app: "front", container: "nginx", service: "storefront", owner: Some("replicaset") },
    Server { app: "counter", container: "go", service: "tally", owner: Some("daemonset") },
    Server { app: "lone", container: "node", service: "lone", owner: None },
];

/// Asks each server for a path of its own below this one, and holds each span against what the API server says of its pod.
pub fn visit(cluster: &Cluster, received: &mut Received, below: &str) -> Result<()> {
    for Server { app, container, service, owner } in SERVERS {
        let path = format!("{below}/{app}");
        cluster.ask(&address(cluster, app)?, &path)?;
        let span = received.wait(&path, container, ARRIVAL).with_context(|| cluster.words())?;
        let of_pod = |place: &str| {
            cluster.field("shop", &["pods", "-l", &format!("app={app}")], &format!("{{.items[0].{place}}}"))
        };
        let id = of_pod("status.containerStatuses[0].containerID")?;
        let mut expected = vec![
            ("service.name".to_owned(), service.to_owned()),
            ("service.namespace".to_owned(), "shop".to_owned()),
            ("k8s.namespace.name".to_owned(), "shop".to_owned()),
            ("k8s.node.name".to_owned(), "n1".to_owned()),
            ("k8s.pod.name".to_owned(), of_pod("metadata.name")?),
            ("k8s.pod.uid".to_owned(), of_pod("metadata.uid")?),
            ("container.id".to_owned(), id.trim_start_matches("containerd://").to_owned()),
        ];
        if let Some(kind) = owner {
            for part in ["name", "uid"] {
                let value = of_pod(&format!("metadata.ownerReferences[0].{part}"))?;
                expected.push((format!("k8s.{kind}.{part}"), value));
            }
        }
        ensure!(span.kind == "SERVER", "{app}: {span:#?}");
        for (key, value) in expected {
            ensure!(text(&span, &key) == value, "{app}: {key} is not {value}: {:#?}", span.resource);
        }
    }
    Ok(())
}

/// The pods that ask once and are gone.
pub fn visit_errands(received: &mut Received) -> Result<()> {
    let once = received.wait("/by/job", "errand", TURN)?;
    let (job, service) = (text(&once, "k8s.job.name"), text(&once, "service.name"));
    ensure!((once.kind, job, service) == ("CLIENT", "once", "once"), "{once:#?}");
    let often = received.wait("/by/cronjob", "errand", TURN)?;
    let (cronjob, job) = (text(&often, "k8s.cronjob.name"), text(&often, "k8s.job.name"));
    ensure!((often.kind, cronjob, text(&often, "service.name")) == ("CLIENT", "often", "often"), "{often:#?}");
    ensure!(job.starts_with("often-"), "{often:#?}");
    Ok(())
}

/// Of the resource; empty where it is not said.
pub fn text<'a>(span: &'a Span, key: &str) -> &'a str {
    span.resource.get(key).and_then(|value| value.as_str()).unwrap_or_default()
}
