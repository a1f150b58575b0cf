// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Follows the pods of one node: a list, then a watch from where the list ended, for ever.
//!
//! In: the API server. Out: [`PodChange`]s, in order. A watch that breaks off is taken up where it was; a list is taken
//! again only where the API server no longer knows that place. Whatever goes wrong is told once, in one line, and tried
//! again; when it works again that is told as well.

use std::{mem::discriminant, time::Duration};

use http::StatusCode;
use log::{info, warn};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    CHANGES,
    access::{Access, AccessError},
    client::{Client, ClusterError, Status},
    lines::Lines,
    pod::{Pod, Written},
};
use crate::{
    config::KubernetesConfig,
    ledger::{Family, Ledger},
};

/// Pods in one answer. Larger: more memory while a list is taken. Smaller: more requests after a restart.
const PAGE: usize = 50;

/// How long one watch lasts. Larger: what is wrong with it without being noticed lasts longer. Smaller: more requests.
/// Spread, so that the agents of a cluster do not come all at once.
const WATCH_SECONDS: std::ops::Range<u64> = 300..600;

/// Past the time that the API server was told to end the watch at.
const OVERTIME: Duration = Duration::from_secs(30);

/// A watch that ends sooner is a failure: something between ends it, and would do so again.
const SHORT_WATCH: Duration = Duration::from_secs(2);

/// Between attempts. Larger: pods that start meanwhile wait longer for their names. Smaller: every node of a cluster asks
/// often while its API server is in trouble.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// After so many failures in a row the place where the watch ended is given up: an API server that was restored from a
/// backup has never come that far. Larger: such a cluster is without names for longer. Smaller: lists are taken again for
/// nothing.
const FAILURES_BEFORE_LIST: u32 = 5;

/// What became of a pod, or of the list that all of them are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodChange {
    /// What is not seen until the list ends is gone.
    ListBegins,
    Seen(Box<Pod>),
    Gone(Box<Pod>),
    ListEnds,
}

pub struct PodWatch {
    access: Access,
    node: Option<String>,
    machine: String,
    changes: mpsc::Sender<PodChange>,
    /// Where the next watch begins.
    version: Option<String>,
    trouble: Trouble,
}

/// Nobody takes the changes any more.
struct Deaf;

enum End {
    Deaf,
    Failed(ClusterError),
}

impl<E: Into<ClusterError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Deaf> for End {
    fn from(_: Deaf) -> Self {
        Self::Deaf
    }
}

#[derive(Deserialize)]
struct List {
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    #[serde(rename = "continue", default)]
    next: String,
}

type Change = fn(Box<Pod>) -> PodChange;

/// One line of a watch.
#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
enum Event {
    Added(Written),
    Modified(Written),
    Deleted(Written),
    Bookmark(Written),
    Error(Status),
}

impl PodWatch {
    /// The watch, to be run where the network is, and the end at which its changes arrive. Nothing where no cluster is
    /// there to be asked. `machine` is what this machine, or Onlooker's pod, is called.
    ///
    /// # Errors
    /// Where the cluster is to be asked and what for it is not there.
    pub fn new(
        config: &KubernetesConfig,
        machine: &str,
        ledger: &Ledger,
    ) -> Result<Option<(Self, mpsc::Receiver<PodChange>)>, AccessError> {
        let Some(access) = Access::find(config)? else { return Ok(None) };
        let (changes, taken) = mpsc::channel(CHANGES);
        let watch = Self {
            access,
            node: config.node_name.clone(),
            machine: machine.to_owned(),
            changes,
            version: None,
            trouble: Trouble::new(ledger),
        };
        Ok(Some((watch, taken)))
    }

    /// Ends when the other end is dropped.
    pub async fn run(mut self) {
        loop {
            match self.follow().await {
                End::Deaf => return,
                End::Failed(error) => {
                    self.trouble.handle_failure(&self.access.server, &error);
                    if error.is_expired() || self.trouble.failures >= FAILURES_BEFORE_LIST {
                        self.version = None;
                    }
                    sleep(self.trouble.wait(fastrand::f64())).await;
                }
            }
        }
    }

    /// Until something goes wrong.
    async fn follow(&mut self) -> End {
        match self.try_to_follow().await {
            Err(end) => end,
            Ok(never) => match never {},
        }
    }

    async fn try_to_follow(&mut self) -> Result<std::convert::Infallible, End> {
        let client = Client::new(&self.access)?;
        let node = match &self.node {
            Some(node) => node.clone(),
            None => self.node_of_own_pod(&client).await?,
        };
        let selection = format!("fieldSelector=spec.nodeName%3D{}", utf8_percent_encode(&node, NON_ALPHANUMERIC));
        loop {
            let version = match self.version.take() {
                Some(version) => version,
                None => self.list(&client, &selection, &node).await?,
            };
            self.watch(&client, &selection, version).await?;
        }
    }

    /// Where nobody says which node this is: that of the pod which bears this machine's name, or else the machine itself is
    /// the node, as it is on the host's network.
    async fn node_of_own_pod(&mut self, client: &Client) -> Result<String, ClusterError> {
        let mut node = self.machine.clone();
        if let Some(namespace) = &self.access.namespace {
            let name = utf8_percent_encode(&self.machine, NON_ALPHANUMERIC);
            let path = format!("/api/v1/namespaces/{namespace}/pods?fieldSelector=metadata.name%3D{name}");
            let own = client.get::<List>(&path).await?.items.into_iter().next().map(Pod::from);
            node = own.map(|pod| pod.node).filter(|node| !node.is_empty()).unwrap_or(node);
        }
        self.node = Some(node.clone());
        Ok(node)
    }

    async fn list(&mut self, client: &Client, selection: &str, node: &str) -> Result<String, End> {
        let (mut next, mut pods) = (String::new(), 0);
        self.give(PodChange::ListBegins).await?;
        let version = loop {
            let page = format!("/api/v1/pods?{selection}&limit={PAGE}&continue={next}");
            let List { metadata, items } = client.get(&page).await?;
            pods += items.len();
            for written in items {
                self.give(PodChange::Seen(Box::new(written.into()))).await?;
            }
            if metadata.next.is_empty() {
                break metadata.resource_version;
            }
            next = utf8_percent_encode(&metadata.next, NON_ALPHANUMERIC).to_string();
        };
        self.give(PodChange::ListEnds).await?;
        self.trouble.handle_success();
        info!("Kubernetes: {pods} pods are known to be on node {node}");
        Ok(version)
    }

    /// Until the API server ends it. The place that was reached is kept, whatever the end.
    async fn watch(&mut self, client: &Client, selection: &str, version: String) -> Result<(), End> {
        let (began, seconds) = (Instant::now(), fastrand::u64(WATCH_SECONDS));
        let path = format!(
            "/api/v1/pods?{selection}&watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={version}"
        );
        self.version = Some(version);
        let mut lines = Lines::new(client.open(&path).await?);
        self.trouble.handle_success();
        let deadline = began + Duration::from_secs(seconds) + OVERTIME;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = timeout(left, lines.next()).await.map_err(|_| ClusterError::Silent)??;
            let Some(line) = line else { break };
            self.handle_event(serde_json::from_slice(&line).map_err(ClusterError::NotJson)?).await?;
        }
        if began.elapsed() < SHORT_WATCH { Err(ClusterError::Ended.into()) } else { Ok(()) }
    }

    async fn handle_event(&mut self, event: Event) -> Result<(), End> {
        let (written, change) = match event {
            Event::Added(written) | Event::Modified(written) => (written, PodChange::Seen as Change),
            Event::Deleted(written) => (written, PodChange::Gone as Change),
            Event::Bookmark(written) => {
                self.version = Some(written.metadata.resource_version);
                return Ok(());
            }
            Event::Error(Status { message, code }) => {
                let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Err(ClusterError::Refused { status, message }.into());
            }
        };
        self.version = Some(written.metadata.resource_version.clone());
        Ok(self.give(change(Box::new(written.into()))).await?)
    }

    /// Waits while the pipeline is busy: the API server keeps what comes meanwhile.
    async fn give(&self, change: PodChange) -> Result<(), Deaf> {
        self.changes.send(change).await.map_err(|_| Deaf)
    }
}

/// What has been said of failures, and how long to wait after them.
struct Trouble {
    failures: u32,
    told: Option<(std::mem::Discriminant<ClusterError>, bool)>,
    counters: [crate::ledger::Counter; 2],
}

impl Trouble {
    fn new(ledger: &Ledger) -> Self {
        let counter = |reason| ledger.counter(Family::ClusterFailures, &[("reason", reason)]);
        Self { failures: 0, told: None, counters: [counter("unreachable"), counter("forbidden")] }
    }

    fn handle_success(&mut self) {
        self.failures = 0;
        if self.told.take().is_some() {
            info!("Kubernetes: the API server answers again");
        }
    }

    /// Says it once for each kind of failure in a row; that a watch broke off, only when it cannot be taken up again.
    fn handle_failure(&mut self, server: &str, error: &ClusterError) {
        self.failures = self.failures.saturating_add(1);
        self.counters[usize::from(error.is_forbidden())].increment();
        let kind = (discriminant(error), error.is_forbidden());
        if error.is_expired()
            || matches!(error, ClusterError::Body { .. } | ClusterError::Ended)
            || self.told == Some(kind)
        {
            return;
        }
        self.told = Some(kind);
        let remedy =
            if error.is_forbidden() { "; give its service account the right to list and watch pods" } else { "" };
        warn!(
            "Kubernetes: the API server {server} {error}{remedy}; spans go on without what it would tell, and it is asked again"
        );
    }

    /// `random` lies in 0..1.
    fn wait(&self, random: f64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT).mul_f64(0.5 + random / 2.0)
    }
}

#[cfg(test)]
mod tests;
