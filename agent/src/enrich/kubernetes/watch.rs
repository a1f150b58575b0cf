// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Follows the objects of one kind: a list, then a watch from where the list ended, for ever.
//!
//! In: the API server. Out: [`News`], in order. A watch that breaks off is taken up where it was; a list is taken again only
//! where the API server no longer knows that place. Whatever goes wrong is told once (`trouble.rs`), and tried again.

use std::{convert::Infallible, marker::PhantomData, time::Duration};

use http::StatusCode;
use log::info;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    access::Access,
    client::{Client, ClusterError, Status},
    lines::Lines,
    node::Node,
    object::{Change, News, Object, Written as _},
    trouble::{Told, Trouble},
};
use crate::ledger::Ledger;

/// How long one watch lasts. Larger: what is wrong with it without being noticed lasts longer. Smaller: more requests.
/// Spread, so that the agents of a cluster do not come all at once.
const WATCH_SECONDS: std::ops::Range<u64> = 300..600;

/// Past the time that the API server was told to end the watch at.
const OVERTIME: Duration = Duration::from_secs(30);

/// A watch that ends sooner is a failure: something between ends it, and would do so again.
const SHORT_WATCH: Duration = Duration::from_secs(2);

pub struct Watch<O> {
    access: Access,
    /// Whose objects; those of the whole cluster where it is absent.
    node: Option<Node>,
    news: mpsc::Sender<News>,
    /// Where the next watch begins.
    version: Option<String>,
    trouble: Trouble,
    kind: PhantomData<fn() -> O>,
}

/// Nobody takes the news any more.
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

/// Objects as they are written, in one answer.
#[derive(Deserialize)]
pub(super) struct List<W> {
    metadata: ListMetadata,
    #[serde(default = "Vec::new")]
    pub items: Vec<W>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    #[serde(rename = "continue", default)]
    next: String,
}

/// One line of a watch.
#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
enum Event<W> {
    Added(W),
    Modified(W),
    Deleted(W),
    Bookmark(W),
    Error(Status),
}

impl<O: Object> Watch<O> {
    pub fn new(access: &Access, node: Option<Node>, news: mpsc::Sender<News>, told: &Told, ledger: &Ledger) -> Self {
        let trouble = Trouble::new(O::NAMES, told.clone(), ledger);
        Self { access: access.clone(), node, news, version: None, trouble, kind: PhantomData }
    }

    /// Ends when the other end is dropped.
    pub async fn run(mut self) {
        loop {
            match self.follow().await {
                End::Deaf => return,
                End::Failed(error) => {
                    self.trouble.handle_failure(&self.access.server, &error);
                    if error.is_expired() || self.trouble.is_lasting() {
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

    async fn try_to_follow(&mut self) -> Result<Infallible, End> {
        let client = Client::new(&self.access)?;
        let (selection, place) = match &mut self.node {
            Some(node) => {
                let name = node.name(&client, &self.access).await?;
                let selection =
                    format!("fieldSelector=spec.nodeName%3D{}&", utf8_percent_encode(name, NON_ALPHANUMERIC));
                (selection, format!("on node {name}"))
            }
            None => (String::new(), "in the cluster".to_owned()),
        };
        loop {
            let version = match self.version.take() {
                Some(version) => version,
                None => self.list(&client, &selection, &place).await?,
            };
            self.watch(&client, &selection, version).await?;
        }
    }

    async fn list(&mut self, client: &Client, selection: &str, place: &str) -> Result<String, End> {
        let (mut next, mut count) = (String::new(), 0);
        self.give(Change::ListBegins).await?;
        let version = loop {
            let page = format!("{}?{selection}limit={}&continue={next}", O::PATH, O::PAGE);
            let List { metadata, items } = client.get::<List<O::Written>>(&page).await?;
            count += items.len();
            for written in items {
                self.give(Change::Seen(Box::new(written.into()))).await?;
            }
            if metadata.next.is_empty() {
                break metadata.resource_version;
            }
            next = utf8_percent_encode(&metadata.next, NON_ALPHANUMERIC).to_string();
        };
        self.give(Change::ListEnds).await?;
        self.trouble.handle_success();
        info!("Kubernetes: {count} {} are known to be {place}", O::NAMES);
        Ok(version)
    }

    /// Until the API server ends it. The place that was reached is kept, whatever the end.
    async fn watch(&mut self, client: &Client, selection: &str, version: String) -> Result<(), End> {
        let (began, seconds) = (Instant::now(), fastrand::u64(WATCH_SECONDS));
        let path = format!(
            "{}?{selection}watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={version}",
            O::PATH
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

    async fn handle_event(&mut self, event: Event<O::Written>) -> Result<(), End> {
        let (written, change) = match event {
            Event::Added(written) | Event::Modified(written) => (written, Change::Seen as fn(Box<O>) -> Change<O>),
            Event::Deleted(written) => (written, Change::Gone as fn(Box<O>) -> Change<O>),
            Event::Bookmark(written) => {
                self.version = Some(written.version().to_owned());
                return Ok(());
            }
            Event::Error(Status { message, code }) => {
                let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Err(ClusterError::Refused { status, message }.into());
            }
        };
        self.version = Some(written.version().to_owned());
        Ok(self.give(change(Box::new(written.into()))).await?)
    }

    /// Waits while the pipeline is busy: the API server keeps what comes meanwhile.
    async fn give(&self, change: Change<O>) -> Result<(), Deaf> {
        self.news.send(O::news(change)).await.map_err(|_| Deaf)
    }
}

#[cfg(test)]
mod tests;
