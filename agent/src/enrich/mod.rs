// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Enrich: spans in, the same spans with the resource of their process out.
//!
//! In: processes as they are seen, replaced and gone; facts about them from a [`FactSource`], and about their pods from
//! `kubernetes/`. Out: one shared [`Resource`] for each service instance.
//! Does not: ask a container runtime. Spans of a process's earlier program that are still held back when it execs get the
//! resource of the new one.

mod attributes;
mod cluster;
mod container;
mod facts;
mod held;
pub mod kubernetes;
mod language;
mod naming;
mod resource;
mod service_name;

use std::{collections::VecDeque, fmt, sync::Arc};

use attributes::Names;
use cluster::Cluster;
pub use container::{container_id, pod_uid};
pub use facts::{FactSource, HostFacts, LiveFacts, ProcessFacts};
pub use held::Held;
use kubernetes::{News, Peers, Placed, Pods};
pub use language::Language;
pub use resource::Resource;
use resource::{Chosen, Writer};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::mpsc::Receiver;

use crate::{
    config::Config,
    moment::KernelTime,
    spans::{Kind, Span},
};

/// Processes whose resource is kept. Larger: memory, 2 KiB each. Smaller: facts are read again and again, and a process
/// that has ended is no longer known when its last spans come.
const PROCESSES: usize = 4096;

/// How long a process that has ended is remembered: longer than any span is held back. Larger: memory. Smaller: the last
/// spans of a process have no resource.
const REMEMBER_NS: u64 = 15_000_000_000;

/// Ends that are remembered; past it the first are forgotten at once. Larger: memory, 16 bytes each. Smaller: where
/// thousands of processes end in a second, the last spans of some have no resource.
const ENDED: usize = 4 * PROCESSES;

/// The stage.
pub struct Enrich {
    source: Box<dyn FactSource>,
    host: HostFacts,
    chosen: Chosen,
    names: Names,
    processes: FxHashMap<u32, Known>,
    /// Processes that have ended, by their end; those that came back under the same id are still in it.
    ended: VecDeque<(KernelTime, u32)>,
    next_id: u64,
    uses: u64,
    /// Whose resource was asked for last, while it is known.
    latest: Option<u32>,
    cluster: Option<Cluster>,
}

/// A process with its resource.
struct Known {
    resource: Arc<Resource>,
    ended: Option<KernelTime>,
    last_use: u64,
    /// Where it is in a pod, of which more may be learnt.
    inhabitant: Option<Box<Inhabitant>>,
    /// Its spans may leave: it is selected, and that does not hang on a pod that is not known yet.
    is_wanted: bool,
}

/// What a process's resource is written from, to write it again.
struct Inhabitant {
    facts: ProcessFacts,
    name: Option<String>,
    namespace: Option<String>,
    standing: Standing,
}

/// What is known of a process's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All there is to know; also where it is in no pod.
    Settled,
    /// The API server is expected to tell.
    Awaited,
    /// It has not told in time; it may still.
    GivenUp,
}

impl fmt::Debug for Enrich {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Enrich").field("processes", &self.processes.len()).finish_non_exhaustive()
    }
}

impl Enrich {
    #[must_use]
    pub fn new(config: &Config, mut source: impl FactSource + 'static) -> Self {
        let mut names = Names::default();
        Self {
            host: source.host(),
            source: Box::new(source),
            chosen: Chosen::new(config, &mut names),
            names,
            processes: FxHashMap::default(),
            ended: VecDeque::new(),
            next_id: 1,
            uses: 0,
            latest: None,
            cluster: None,
        }
    }

    /// From now on processes are told of their pods.
    pub fn join_cluster(&mut self, pods: Pods, peers: Peers, news: Receiver<News>, name: Option<String>) {
        self.cluster = Some(Cluster::new(pods, peers, news, name));
    }

    #[must_use]
    pub const fn is_in_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// A process is watched from now on, or runs another program: its facts are read at once, before it can end.
    pub fn handle_process_seen(&mut self, tgid: u32) {
        self.handle_process_named(tgid, None, None);
    }

    /// The same, with the names that the selector which chose it gives.
    pub fn handle_process_named(&mut self, tgid: u32, name: Option<&str>, namespace: Option<&str>) {
        let facts = self.source.process(tgid);
        let is_in_pod = |facts: &ProcessFacts| facts.pod_uid.is_some() || facts.container_id.is_some();
        let inhabitant = facts.as_ref().filter(|facts| self.cluster.is_some() && is_in_pod(facts));
        let (name, namespace) = (name.map(str::to_owned), namespace.map(str::to_owned));
        let mut inhabitant = inhabitant.map(|facts| {
            let standing = Standing::GivenUp;
            Box::new(Inhabitant { facts: facts.clone(), name: name.clone(), namespace: namespace.clone(), standing })
        });
        let resource = match &mut inhabitant {
            Some(inhabitant) => {
                let resource = self.resource_in_pod(tgid, inhabitant);
                if inhabitant.standing != Standing::Settled && inhabitant.facts.pod_uid.is_some() {
                    inhabitant.standing = Standing::Awaited;
                }
                resource
            }
            None => {
                let mut writer = Writer { host: &self.host, chosen: &self.chosen, names: &mut self.names };
                writer.resource(self.next_id, tgid, facts.as_ref(), name.as_deref(), namespace.as_deref(), None)
            }
        };
        self.next_id += 1;
        self.uses += 1;
        if self.processes.len() >= PROCESSES && !self.processes.contains_key(&tgid) {
            self.evict();
        }
        let known =
            Known { resource: Arc::new(resource), ended: None, last_use: self.uses, inhabitant, is_wanted: true };
        self.processes.insert(tgid, known);
    }

    /// With what is known of its pod now; where that is all there is to know, it is settled.
    fn resource_in_pod(&mut self, tgid: u32, inhabitant: &mut Inhabitant) -> Resource {
        let Inhabitant { facts, name, namespace, standing } = inhabitant;
        let cluster = self.cluster.as_ref();
        let place = cluster.and_then(|cluster| cluster.place(facts));
        if place.as_ref().is_some_and(|place| place.container.is_some()) {
            *standing = Standing::Settled;
        }
        let cluster = cluster.and_then(|cluster| cluster.name.as_deref());
        let placed = place.as_ref().map(|place| Placed { place, cluster });
        let mut writer = Writer { host: &self.host, chosen: &self.chosen, names: &mut self.names };
        writer.resource(self.next_id, tgid, Some(facts), name.as_deref(), namespace.as_deref(), placed.as_ref())
    }

    /// The pods of this node, as far as they are known; absent outside a cluster.
    #[must_use]
    pub fn pods(&self) -> Option<&Pods> {
        self.cluster.as_ref().map(|cluster| &cluster.pods)
    }

    /// Whether spans of a process may leave; they may until something else is said.
    pub fn handle_process_judged(&mut self, tgid: u32, is_wanted: bool) {
        if let Some(known) = self.processes.get_mut(&tgid) {
            known.is_wanted = is_wanted;
        }
    }

    #[must_use]
    pub fn is_wanted(&self, tgid: u32) -> bool {
        self.processes.get(&tgid).is_none_or(|known| known.is_wanted)
    }

    /// Takes what the API server has told meanwhile. Answers with the pods that it was about, by the uid that processes
    /// show, and whether any known process is concerned.
    pub fn handle_pods(&mut self) -> (FxHashSet<String>, bool) {
        let mut changed = FxHashSet::default();
        let Some(cluster) = &mut self.cluster else { return (changed, false) };
        while let Some(pod) = cluster.poll_changed() {
            changed.insert(pod);
        }
        if changed.is_empty() {
            return (changed, false);
        }
        let is_concerned = |known: &Known| {
            known.inhabitant.as_deref().is_some_and(|Inhabitant { facts, .. }| {
                let place = || cluster.pods.find(None, facts.container_id.as_deref());
                facts.pod_uid.as_ref().is_some_and(|uid| changed.contains(uid))
                    || (facts.pod_uid.is_none()
                        && place().is_some_and(|place| changed.contains(place.pod.uid_on_node())))
            })
        };
        let concerned: Vec<u32> =
            self.processes.iter().filter(|(_, known)| is_concerned(known)).map(|(tgid, _)| *tgid).collect();
        for &tgid in &concerned {
            let Some(mut known) = self.processes.remove(&tgid) else { continue };
            if let Some(inhabitant) = &mut known.inhabitant {
                let resource = self.resource_in_pod(tgid, inhabitant);
                // What says the same is the same: exporters group by it.
                if resource.attributes != known.resource.attributes {
                    known.resource = Arc::new(resource);
                    self.next_id += 1;
                }
            }
            self.processes.insert(tgid, known);
        }
        (changed, !concerned.is_empty())
    }

    /// How much is known of the pod of a span's process.
    #[must_use]
    pub fn standing(&self, tgid: u32) -> Standing {
        if self.cluster.is_none() {
            return Standing::Settled;
        }
        let inhabitant = self.processes.get(&tgid).and_then(|known| known.inhabitant.as_deref());
        inhabitant.map_or(Standing::Settled, |inhabitant| inhabitant.standing)
    }

    /// Its spans are held back no longer.
    pub fn give_up(&mut self, tgid: u32) {
        let inhabitant = self.processes.get_mut(&tgid).and_then(|known| known.inhabitant.as_deref_mut());
        if let Some(inhabitant) = inhabitant.filter(|inhabitant| inhabitant.standing == Standing::Awaited) {
            inhabitant.standing = Standing::GivenUp;
        }
    }

    pub fn handle_process_exited(&mut self, tgid: u32, now: KernelTime) {
        if let Some(known) = self.processes.get_mut(&tgid) {
            known.ended = Some(now);
            self.ended.push_back((now, tgid));
        }
        let is_over = |(ended, _): &(KernelTime, u32)| ended.0.saturating_add(REMEMBER_NS) <= now.0;
        while self.ended.len() > ENDED || self.ended.front().is_some_and(is_over) {
            let Some((ended, tgid)) = self.ended.pop_front() else { break };
            if self.processes.get(&tgid).is_some_and(|known| known.ended == Some(ended)) {
                self.forget(tgid);
            }
        }
    }

    fn forget(&mut self, tgid: u32) {
        self.latest = None;
        self.processes.remove(&tgid);
    }

    /// The resource of a span's process. One that was never announced is looked at now.
    pub fn resource(&mut self, tgid: u32) -> &Arc<Resource> {
        self.uses += 1;
        if self.latest != Some(tgid) {
            if !self.processes.contains_key(&tgid) {
                self.handle_process_seen(tgid);
            }
            self.latest = Some(tgid);
        }
        let known = self.processes.get_mut(&tgid).expect("it was there, or was put there");
        known.last_use = self.uses;
        &known.resource
    }

    /// Where a span calls something of the cluster, says what that is called; gives the resource of its process.
    pub fn complete(&mut self, span: &mut Span) -> &Arc<Resource> {
        if self.cluster.is_some() && span.kind == Kind::Client {
            self.name_server(span);
        }
        self.resource(span.tgid)
    }

    fn name_server(&mut self, span: &mut Span) {
        let resource = self.resource(span.tgid).id;
        let Some(cluster) = &mut self.cluster else { return };
        let inhabitant = self.processes.get(&span.tgid).and_then(|known| known.inhabitant.as_deref());
        cluster.name_server(span, resource, inhabitant.map(|inhabitant| &inhabitant.facts));
    }

    /// Makes room: what has ended goes first, then what was used longest ago.
    fn evict(&mut self) {
        let oldest = self.processes.iter().min_by_key(|(_, known)| (known.ended.is_none(), known.last_use));
        if let Some((&tgid, _)) = oldest {
            self.forget(tgid);
        }
    }
}

#[cfg(test)]
mod tests;
