// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Enrich: spans in, the same spans with the resource of their process out.
//!
//! In: processes as they are seen, replaced and gone; facts about them from a [`FactSource`]. Out: one shared
//! [`Resource`] for each service instance.
//! Does not: ask Kubernetes or a container runtime. Spans of a process's earlier program that are still held back when
//! it execs get the resource of the new one.

mod attributes;
mod container;
mod facts;
mod language;
mod resource;
mod service_name;

use std::{collections::VecDeque, fmt, sync::Arc};

use attributes::Names;
pub use facts::{FactSource, HostFacts, LiveFacts, ProcessFacts};
pub use language::Language;
pub use resource::Resource;
use resource::{Chosen, Writer};
use rustc_hash::FxHashMap;

use crate::{config::Config, moment::KernelTime};

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
}

/// A process with its resource.
struct Known {
    resource: Arc<Resource>,
    ended: Option<KernelTime>,
    last_use: u64,
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
        }
    }

    /// A process is watched from now on, or runs another program: its facts are read at once, before it can end.
    pub fn handle_process_seen(&mut self, tgid: u32) {
        self.handle_process_named(tgid, None, None);
    }

    /// The same, with the names that the selector which chose it gives.
    pub fn handle_process_named(&mut self, tgid: u32, name: Option<&str>, namespace: Option<&str>) {
        let facts = self.source.process(tgid);
        let id = self.next_id;
        let mut writer = Writer { host: &self.host, chosen: &self.chosen, names: &mut self.names };
        let resource = Arc::new(writer.resource(id, tgid, facts.as_ref(), name, namespace));
        self.next_id += 1;
        self.uses += 1;
        if self.processes.len() >= PROCESSES && !self.processes.contains_key(&tgid) {
            self.evict();
        }
        self.processes.insert(tgid, Known { resource, ended: None, last_use: self.uses });
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
