// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The processes that were judged, and what became of them.
//!
//! In Kubernetes the judgement may depend on a pod that the API server has not told of yet. Such a process is captured, so
//! that its first requests are not missed, and judged when the pod is known; where that takes too long it is refused, and
//! judged all the same once its pod is known. What a pod's labels and annotations change later is judged anew.

use agent_common::records::{ProcessChange, ProcessRecord, Watch};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Candidate, Judge, Lodging, Names,
    lodging::{Answer, own_word},
    process::{self, Residence},
};
use crate::{
    enrich::kubernetes::Pods,
    ledger::{Counter, Family, Ledger},
    moment::KernelTime,
};

/// How long a process is captured while its pod is not known: less than spans wait to be told of their pod
/// (`enrich/held.rs`). Larger: spans that could have left are dropped. Smaller: where the API server answers
/// slowly, first requests of pods that are selected are lost.
const OPEN_NS: u64 = 4_500_000_000;

/// What is to be told to the kernel, and to the stages that keep facts of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Watch it from now on, or go on doing so.
    Watched { tgid: u32, watch: Watch },
    /// Leave it alone from now on.
    Refused { tgid: u32 },
    /// It is gone.
    Gone { tgid: u32 },
}

/// Processes by their id. Bounded by the machine's process ids: exits are reported by the kernel, and what is not
/// captured has no entry but while it is refused.
pub struct Targets {
    judge: Judge,
    watched: FxHashMap<u32, Process>,
    watched_total: Counter,
    /// Processes whose pod is awaited.
    open: usize,
    /// Pods, by uid, that had a word of their own when they were last told of; those that are gone are taken out.
    worded: FxHashSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Process {
    ports: Vec<u16>,
    names: Names,
    is_watched: bool,
    /// It was named by its id, or is the child of one that was.
    is_named: bool,
    /// Its pod decides: captured until then.
    is_open: bool,
    /// When that began; absent until the clock is first looked at.
    open_since: Option<KernelTime>,
}

impl Targets {
    #[must_use]
    pub fn new(judge: Judge, ledger: &Ledger) -> Self {
        let watched_total = ledger.counter(Family::ProcessesWatched, &[]);
        Self { judge, watched: FxHashMap::default(), watched_total, open: 0, worded: FxHashSet::default() }
    }

    #[must_use]
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Judges every process that runs now. Called after the hooks are attached, so that none is missed in between.
    pub fn scan(&mut self, pods: Option<&Pods>) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for mut candidate in process::running(self.judge.looks_at_ports()) {
            candidate.residence = self.residence(candidate.tgid);
            verdicts.extend(self.judged(&candidate, pods));
        }
        verdicts
    }

    /// Judges it; nothing where it is not wanted and nothing was known of it.
    fn judged(&mut self, candidate: &Candidate, pods: Option<&Pods>) -> Option<Verdict> {
        let lodging = lodging(&candidate.residence, pods);
        match self.judge.selects(candidate, &lodging) {
            Answer::No => None,
            answer => Some(self.accept(candidate, &lodging, answer, self.judge.is_named(candidate.tgid))),
        }
    }

    fn accept(&mut self, candidate: &Candidate, lodging: &Lodging, answer: Answer, is_named: bool) -> Verdict {
        let (ports, names) = (candidate.listens_on.clone(), self.judge.names(candidate, lodging));
        let is_open = answer == Answer::NotYet;
        self.insert(candidate.tgid, Process { ports, names, is_watched: true, is_named, is_open, open_since: None })
    }

    fn insert(&mut self, tgid: u32, process: Process) -> Verdict {
        let is_named = process.is_named;
        let before = self.put(tgid, process);
        if !before.is_some_and(|process| process.is_watched) {
            self.watched_total.increment();
        }
        Verdict::Watched { tgid, watch: if is_named { Watch::Always } else { Watch::Yes } }
    }

    fn refuse(&mut self, tgid: u32, ports: Vec<u16>) -> Verdict {
        self.put(tgid, Process { ports, ..Process::default() });
        Verdict::Refused { tgid }
    }

    fn put(&mut self, tgid: u32, mut process: Process) -> Option<Process> {
        let before = self.watched.remove(&tgid);
        let open_before = before.as_ref().filter(|before| before.is_open);
        // News that leave it open give it no more time.
        process.open_since = open_before.and_then(|before| before.open_since);
        self.open = self.open + usize::from(process.is_open) - usize::from(open_before.is_some());
        self.watched.insert(tgid, process);
        before
    }

    /// A process was forked, executed a program, listened, or ended.
    pub fn handle_process(&mut self, record: &ProcessRecord, pods: Option<&Pods>) -> Option<Verdict> {
        let tgid = record.tgid;
        if record.change == ProcessChange::Exited as u32 {
            let before = self.watched.remove(&tgid);
            self.open -= usize::from(before.is_some_and(|before| before.is_open));
            return Some(Verdict::Gone { tgid });
        }
        if record.change == ProcessChange::Forked as u32 {
            // The kernel captures the child already; until it executes something it is its parent.
            let parent = self.watched.get(&record.parent).filter(|parent| parent.is_watched)?.clone();
            return Some(self.insert(tgid, parent));
        }
        let name = name(&record.name);
        if record.change == ProcessChange::Listened as u32 {
            return self.listened(tgid, record.port, &name, pods);
        }
        (record.change == ProcessChange::Executed as u32).then(|| self.executed(tgid, &name, pods))
    }

    fn listened(&mut self, tgid: u32, port: u16, name: &str, pods: Option<&Pods>) -> Option<Verdict> {
        let known = self.watched.entry(tgid).or_default();
        if !known.ports.contains(&port) {
            known.ports.push(port);
        }
        if known.is_watched {
            return None;
        }
        let ports = known.ports.clone();
        let candidate = Candidate { listens_on: ports.clone(), ..self.read(tgid, name) };
        // Refused, but its ports are remembered: it may listen on another one.
        Some(self.judged(&candidate, pods).unwrap_or_else(|| self.refuse(tgid, ports)))
    }

    fn executed(&mut self, tgid: u32, name: &str, pods: Option<&Pods>) -> Verdict {
        let mut candidate = self.read(tgid, name);
        if self.watched.get(&tgid).is_some_and(|process| process.is_named) {
            let lodging = lodging(&candidate.residence, pods);
            return self.accept(&candidate, &lodging, Answer::Yes, true);
        }
        if self.judge.looks_at_ports() {
            candidate.listens_on = process::listening_ports(tgid);
        }
        self.judged(&candidate, pods).unwrap_or_else(|| self.refuse(tgid, Vec::new()))
    }

    fn read(&self, tgid: u32, name: &str) -> Candidate {
        Candidate { residence: self.residence(tgid), ..Candidate::read(tgid, name) }
    }

    /// Not asked for where nobody would use it.
    fn residence(&self, tgid: u32) -> Residence {
        if self.judge.is_in_cluster() { Residence::read(tgid) } else { Residence::default() }
    }

    /// The API server has told of these pods, by the uid that processes show: what runs in them is judged anew. Looked for
    /// in `/proc`, because a process that was refused has children that nobody reported.
    pub fn handle_pods(&mut self, changed: &FxHashSet<String>, pods: &Pods) -> Vec<Verdict> {
        let changed = self.of_interest(changed, pods);
        let mut verdicts = Vec::new();
        if changed.is_empty() {
            return verdicts;
        }
        for tgid in process::ids() {
            let residence = Residence::read(tgid);
            let Lodging::In(place) = lodging(&residence, Some(pods)) else { continue };
            if changed.contains(place.pod.uid_on_node()) && !self.is_named(tgid) {
                verdicts.extend(self.judged_anew(tgid, residence, pods));
            }
        }
        verdicts
    }

    /// Those that are judged otherwise than before: any, where selectors ask for pods; else those that have a word of their
    /// own, or had one. A node where nobody does either is never searched.
    fn of_interest(&mut self, changed: &FxHashSet<String>, pods: &Pods) -> FxHashSet<String> {
        let has_word = |uid: &String| pods.get(uid).and_then(own_word).is_some();
        self.worded.retain(|uid| pods.get(uid).is_some());
        let mut of_interest = FxHashSet::default();
        for uid in changed {
            let had_word = if has_word(uid) { !self.worded.insert(uid.clone()) } else { self.worded.remove(uid) };
            if had_word || has_word(uid) || self.judge.asks_pods() {
                of_interest.insert(uid.clone());
            }
        }
        of_interest
    }

    fn is_named(&self, tgid: u32) -> bool {
        self.watched.get(&tgid).is_some_and(|process| process.is_named)
    }

    /// Nothing where nothing changes.
    fn judged_anew(&mut self, tgid: u32, residence: Residence, pods: &Pods) -> Option<Verdict> {
        let mut candidate = Candidate { residence, ..Candidate::read(tgid, "") };
        // Gone meanwhile; its end is reported.
        candidate.executable.as_ref()?;
        if self.judge.looks_at_ports() {
            candidate.listens_on = process::listening_ports(tgid);
        }
        let standing = |targets: &Self| {
            targets.watched.get(&tgid).map(|process| (process.is_watched, process.is_open, process.names.clone()))
        };
        let before = standing(self);
        let Some(verdict) = self.judged(&candidate, Some(pods)) else {
            return before.is_some_and(|(is_watched, ..)| is_watched).then(|| self.refuse(tgid, candidate.listens_on));
        };
        (standing(self) != before).then_some(verdict)
    }

    /// Refuses what has been open for too long.
    pub fn handle_time(&mut self, now: KernelTime) -> Vec<Verdict> {
        if self.open == 0 {
            return Vec::new();
        }
        let mut late = Vec::new();
        for (tgid, process) in self.watched.iter_mut().filter(|(_, process)| process.is_open) {
            let since = *process.open_since.get_or_insert(now);
            if since.0.saturating_add(OPEN_NS) <= now.0 {
                late.push((*tgid, process.ports.clone()));
            }
        }
        late.into_iter().map(|(tgid, ports)| self.refuse(tgid, ports)).collect()
    }

    /// Whether what the kernel captured of a process is wanted: its records may have been written before it was refused.
    #[must_use]
    pub fn is_refused(&self, tgid: u32) -> bool {
        self.watched.get(&tgid).is_some_and(|process| !process.is_watched)
    }

    /// The names that the selector gave which chose it.
    #[must_use]
    pub fn names(&self, tgid: u32) -> Option<&Names> {
        self.watched.get(&tgid).map(|process| &process.names)
    }

    #[must_use]
    pub fn is_watched(&self, tgid: u32) -> bool {
        self.watched.get(&tgid).is_some_and(|process| process.is_watched)
    }

    /// Watched until its pod is known.
    #[must_use]
    pub fn is_open(&self, tgid: u32) -> bool {
        self.watched.get(&tgid).is_some_and(|process| process.is_open)
    }

    /// Processes that are watched now.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.watched.values().filter(|process| process.is_watched).count()
    }
}

/// The kernel's name of a process, without the zeroes behind it.
fn name(bytes: &[u8; 16]) -> String {
    String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

fn lodging(residence: &Residence, pods: Option<&Pods>) -> Lodging {
    let Some(pods) = pods else { return Lodging::Outside };
    match pods.find(residence.pod_uid.as_deref(), residence.container_id.as_deref()) {
        Some(place) => Lodging::In(place),
        None if residence.pod_uid.is_some() => Lodging::Untold,
        // A container of another runtime's, for all that is known.
        None => Lodging::Outside,
    }
}

#[cfg(test)]
mod tests;
