// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The processes that were judged, and what became of them.

use agent_common::records::{ProcessChange, ProcessRecord, Watch};
use rustc_hash::FxHashMap;

use super::{Candidate, Judge, Names, process};
use crate::ledger::{Counter, Family, Ledger};

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
}

#[derive(Debug, Default)]
struct Process {
    ports: Vec<u16>,
    names: Names,
    is_watched: bool,
    /// It was named by its id, or is the child of one that was.
    is_named: bool,
}

impl Targets {
    #[must_use]
    pub fn new(judge: Judge, ledger: &Ledger) -> Self {
        let watched_total = ledger.counter(Family::ProcessesWatched, &[]);
        Self { judge, watched: FxHashMap::default(), watched_total }
    }

    #[must_use]
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Judges every process that runs now. Called after the hooks are attached, so that none is missed in between.
    pub fn scan(&mut self) -> Vec<Verdict> {
        let with_ports = self.judge.looks_at_ports();
        process::running(with_ports).into_iter().filter_map(|candidate| self.scanned(&candidate)).collect()
    }

    fn scanned(&mut self, candidate: &Candidate) -> Option<Verdict> {
        if !self.judge.selects(candidate) {
            return None;
        }
        Some(self.accept(candidate, self.judge.is_named(candidate.tgid)))
    }

    fn accept(&mut self, candidate: &Candidate, is_named: bool) -> Verdict {
        let (ports, names) = (candidate.listens_on.clone(), self.judge.names(candidate));
        self.insert(candidate.tgid, Process { ports, names, is_watched: true, is_named })
    }

    fn insert(&mut self, tgid: u32, process: Process) -> Verdict {
        let is_named = process.is_named;
        let before = self.watched.insert(tgid, process);
        if !before.is_some_and(|process| process.is_watched) {
            self.watched_total.increment();
        }
        Verdict::Watched { tgid, watch: if is_named { Watch::Always } else { Watch::Yes } }
    }

    fn refuse(&mut self, tgid: u32) -> Verdict {
        self.watched.insert(tgid, Process::default());
        Verdict::Refused { tgid }
    }

    /// A process was forked, executed a program, listened, or ended.
    pub fn handle_process(&mut self, record: &ProcessRecord) -> Option<Verdict> {
        let tgid = record.tgid;
        if record.change == ProcessChange::Exited as u32 {
            self.watched.remove(&tgid);
            return Some(Verdict::Gone { tgid });
        }
        if record.change == ProcessChange::Forked as u32 {
            // The kernel captures the child already; until it executes something it is its parent.
            let parent = self.watched.get(&record.parent).filter(|parent| parent.is_watched)?;
            let (ports, names, is_named) = (parent.ports.clone(), parent.names.clone(), parent.is_named);
            return Some(self.insert(tgid, Process { ports, names, is_watched: true, is_named }));
        }
        let name = name(&record.name);
        if record.change == ProcessChange::Listened as u32 {
            return self.listened(tgid, record.port, &name);
        }
        (record.change == ProcessChange::Executed as u32).then(|| self.executed(tgid, &name))
    }

    fn listened(&mut self, tgid: u32, port: u16, name: &str) -> Option<Verdict> {
        let known = self.watched.entry(tgid).or_default();
        if !known.ports.contains(&port) {
            known.ports.push(port);
        }
        if known.is_watched {
            return None;
        }
        let ports = known.ports.clone();
        let candidate = Candidate { listens_on: ports.clone(), ..Candidate::read(tgid, name) };
        if self.judge.selects(&candidate) {
            return Some(self.accept(&candidate, false));
        }
        Some(self.refuse_listener(tgid, ports))
    }

    /// Refused, but its ports are remembered: it may listen on another one.
    fn refuse_listener(&mut self, tgid: u32, ports: Vec<u16>) -> Verdict {
        self.watched.insert(tgid, Process { ports, ..Process::default() });
        Verdict::Refused { tgid }
    }

    fn executed(&mut self, tgid: u32, name: &str) -> Verdict {
        if self.watched.get(&tgid).is_some_and(|process| process.is_named) {
            return self.accept(&Candidate::read(tgid, name), true);
        }
        let mut candidate = Candidate::read(tgid, name);
        if self.judge.looks_at_ports() {
            candidate.listens_on = process::listening_ports(tgid);
        }
        if self.judge.selects(&candidate) { self.accept(&candidate, false) } else { self.refuse(tgid) }
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
