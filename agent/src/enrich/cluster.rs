// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of the cluster, and how it is learnt.
//!
//! In: the news that the network's thread hands over. Out: where a process runs, and names for what it calls.

use tokio::sync::mpsc::Receiver;

use super::{
    ProcessFacts,
    kubernetes::{Change, News, Peers, Place, Pods},
    naming::Naming,
};
use crate::spans::Span;

pub struct Cluster {
    pub pods: Pods,
    pub name: Option<String>,
    peers: Peers,
    news: Receiver<News>,
    naming: Naming,
}

impl Cluster {
    pub fn new(pods: Pods, peers: Peers, news: Receiver<News>, name: Option<String>) -> Self {
        Self { pods, name, peers, news, naming: Naming::default() }
    }

    pub fn place(&self, facts: &ProcessFacts) -> Option<Place> {
        place(&self.pods, facts)
    }

    /// Takes what the API server has told meanwhile, up to a pod of this node of which it says anything new, and gives that.
    pub fn poll_changed(&mut self) -> Option<String> {
        while let Ok(news) = self.news.try_recv() {
            if let Some(pod) = self.handle(news) {
                return Some(pod);
            }
        }
        None
    }

    fn handle(&mut self, news: News) -> Option<String> {
        let mut pod = None;
        let names_may_have_changed = match news {
            News::Pod(change) => {
                let may_take_away = matches!(change, Change::Gone(_) | Change::ListEnds);
                pod = self.pods.handle_change(change);
                may_take_away || pod.is_some()
            }
            News::Service(change) => self.peers.handle_service(change),
            News::Slice(change) => self.peers.handle_slice(change),
        };
        if names_may_have_changed {
            self.naming.handle_news();
        }
        pod
    }

    /// `resource` is the number of the caller's: what a short name means hangs on the pod that calls.
    pub fn name_server(&mut self, span: &mut Span, resource: u64, caller: Option<&ProcessFacts>) {
        let Self { pods, peers, naming, .. } = self;
        naming.name(span, resource, |server| {
            let place = caller.and_then(|facts| place(pods, facts));
            server.find(peers, pods, place.as_ref().map(|place| place.pod.namespace.as_str()))
        });
    }
}

fn place(pods: &Pods, facts: &ProcessFacts) -> Option<Place> {
    pods.find(facts.pod_uid.as_deref(), facts.container_id.as_deref())
}
