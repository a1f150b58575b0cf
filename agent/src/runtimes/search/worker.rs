// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The search's own thread: from a process to the files that it has mapped, and into those that nobody has looked into.
//!
//! In: jobs. Out: what was found, and that a job is done. Does not: attach, or remember processes.

use std::{
    fs::File,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, TryRecvError},
};

use log::debug;
use rustc_hash::FxHashSet;

use super::{
    Answer, Found, Job, UnreadProgram, UnreadableLibrary, Why,
    usage::{Unused, Usage},
};
use crate::{
    memory,
    moment::WallTime,
    runtimes::{
        Catalogue, Plan,
        elf::{ElfError, ElfFile},
        file_id::FileId,
        mappings::{self, Mapping},
    },
};

/// Files that were looked into and are remembered. Larger: memory, 150 bytes each. Smaller: on a machine with more files of
/// code than this all are forgotten at times, and looked into again.
const FILES: usize = 65_536;

/// Where libraries usually lie: probed before anybody loads them.
const FOLDERS: [&str; 8] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
    "/usr/local/lib",
];

pub(super) struct Worker<'a> {
    catalogue: &'a Catalogue,
    /// Files that were looked into, by their mapping's identity.
    seen: FxHashSet<String>,
    /// The same by what they are: one file may have several names, and lie below several overlays.
    files: FxHashSet<FileId>,
    /// Programs that carry their records themselves.
    carriers: FxHashSet<FileId>,
    /// Files in which there is something to be read.
    readable: FxHashSet<String>,
    /// Those of them that lay where libraries usually lie: they are probed for who comes.
    standing: FxHashSet<FileId>,
    usage: Usage,
    /// Programs that were told to be unreadable.
    unread: FxHashSet<String>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(catalogue: &'a Catalogue) -> Self {
        Self {
            catalogue,
            seen: FxHashSet::default(),
            files: FxHashSet::default(),
            carriers: FxHashSet::default(),
            readable: FxHashSet::default(),
            standing: FxHashSet::default(),
            usage: Usage::default(),
            unread: FxHashSet::default(),
        }
    }

    /// Until whoever asks is gone.
    pub(super) fn run(mut self, jobs: &Receiver<Job>, out: &SyncSender<Answer>) {
        while let Some(job) = next(jobs) {
            let (found, last) = match job {
                Job::Process(tgid) => {
                    let mappings = mappings::of(tgid);
                    let found = self.process(tgid, &mappings);
                    if self.carries(&mappings) && out.send(Answer::Carries(tgid)).is_err() {
                        return;
                    }
                    (found, Some(Answer::Done(tgid)))
                }
                Job::Carrier(tgid) => (self.carrier(tgid), Some(Answer::CarrierDone)),
                Job::Folders => (self.folders(), Some(Answer::Done(0))),
                Job::Usage => {
                    let unused = self.unused();
                    (Vec::new(), Some(Answer::Unused { files: unused, is_waiting: self.usage.is_waiting() }))
                }
                Job::Unread(tgid, since) => {
                    (Vec::new(), self.unread(tgid, since).map(|program| Answer::Unread(Box::new(program))))
                }
            };
            let found = found.into_iter().map(|found| Answer::Found(Box::new(found)));
            for answer in found.chain(last) {
                if out.send(answer).is_err() {
                    return;
                }
            }
        }
    }

    /// Whether who has mapped these carries its records itself, and has what it makes them with.
    fn carries(&self, mappings: &[Mapping]) -> bool {
        let makes_records =
            |mapping: &Mapping| self.catalogue.candidates(&mapping.name, mapping.is_executable, true).next().is_some();
        mappings.iter().any(|mapping| self.catalogue.tells_carrier(&mapping.name)) && mappings.iter().any(makes_records)
    }

    fn process(&mut self, tgid: u32, mappings: &[Mapping]) -> Vec<Found> {
        let mut found = Vec::new();
        for mapping in mappings {
            if self.seen.contains(&mapping.identity) {
                continue;
            }
            if self.seen.len() >= FILES {
                self.seen.clear();
                self.readable.clear();
            }
            if self.may_hold_something(&mapping.name, mapping.is_executable) {
                // A process that has ended meanwhile tells nothing: the next one with this file is asked.
                let Ok(file) = mapping.open(tgid) else { continue };
                let (library, readable) = self.look(file, tgid, &mapping.name, mapping.is_executable);
                found.extend(library);
                if let Some(file) = readable {
                    self.readable.insert(mapping.identity.clone());
                    if !self.standing.contains(&file) {
                        self.usage.handle_mapped(mapping.inode, file);
                    }
                }
            }
            self.seen.insert(mapping.identity.clone());
        }
        found
    }

    /// A program that has the library in itself is probed for all of its processes, the next of which may live for a moment
    /// only; a shared library, most users of which need it not, for this one.
    fn carrier(&mut self, tgid: u32) -> Vec<Found> {
        let (catalogue, carriers) = (self.catalogue, &mut self.carriers);
        let look = |mapping: &Mapping| {
            catalogue.candidates(&mapping.name, mapping.is_executable, true).next()?;
            let only = (!mapping.is_executable).then_some(tgid);
            let file = mapping.open(tgid).ok()?;
            if mapping.is_executable && !carriers.insert(FileId::of(&file).ok()?) {
                return None;
            }
            let (again, name) = (file.try_clone().ok()?, mapping.name.clone());
            let plan = Plan::make(catalogue, again, &name, mapping.is_executable, true).ok()?;
            let (id, libraries) = (plan.file, plan.libraries);
            (!libraries.is_empty()).then_some(Found { tgid, name, file, id, only, libraries, unreadable: None })
        };
        mappings::of(tgid).iter().filter_map(look).collect()
    }

    fn folders(&mut self) -> Vec<Found> {
        let mut found = Vec::new();
        for entry in FOLDERS.iter().filter_map(|folder| Path::new(folder).read_dir().ok()).flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if self.catalogue.candidates(name, false, false).next().is_some()
                && let Ok(file) = File::open(entry.path())
            {
                let (library, readable) = self.look(file, 0, name, false);
                found.extend(library);
                self.standing.extend(readable);
            }
        }
        found
    }

    fn may_hold_something(&self, name: &str, is_executable: bool) -> bool {
        self.catalogue.candidates(name, is_executable, false).next().is_some()
            || self.catalogue.unreadable.iter().any(|library| library.is_called(name))
    }

    /// Why nothing of a process is read; nothing where it should be, or its program was told of.
    fn unread(&mut self, tgid: u32, since: WallTime) -> Option<UnreadProgram> {
        // What it has loaded since it was looked at last is looked into by the way.
        let mappings = mappings::of(tgid);
        if mappings.is_empty() {
            return Some(UnreadProgram { tgid, program: String::new(), since, why: Why::Ended });
        }
        if mappings.iter().any(|mapping| self.readable.contains(&mapping.identity)) {
            return None;
        }
        let program = mappings.iter().find(|mapping| mapping.is_executable)?;
        if self.unread.len() >= FILES {
            self.unread.clear();
        }
        if !self.unread.insert(program.identity.clone()) {
            return None;
        }
        let known = mappings.iter().find_map(|mapping| self.unreadable(&mapping.name));
        let has_symbols =
            || program.open(tgid).ok().and_then(|file| ElfFile::open(file).ok()).is_none_or(|elf| elf.has_symbols());
        let why = match known {
            Some(library) => Why::Library(library),
            None if has_symbols() => Why::NoLibrary,
            None => Why::NoSymbols,
        };
        Some(UnreadProgram { tgid, program: program.name.clone(), since, why })
    }

    fn unreadable(&self, name: &str) -> Option<UnreadableLibrary> {
        let library = self.catalogue.unreadable.iter().find(|library| library.is_called(name))?;
        Some(UnreadableLibrary {
            library: library.name.clone(),
            title: library.title.clone(),
            reason: library.reason.clone(),
            remedy: library.remedy.clone(),
        })
    }

    /// What is in a file, if it was not looked into under another name; and which it is, if there is something to be read.
    fn look(&mut self, file: File, tgid: u32, name: &str, is_executable: bool) -> (Option<Found>, Option<FileId>) {
        let unreadable = if tgid == 0 { None } else { self.unreadable(name) };
        let plan = file.try_clone().map_err(ElfError::from);
        let plan = plan.and_then(|again| Plan::make(self.catalogue, again, name, is_executable, false));
        let Plan { file: id, libraries } = match plan {
            Ok(plan) => plan,
            Err(error) => {
                debug!("{name} {error}");
                return (None, None);
            }
        };
        let readable = (!libraries.is_empty()).then_some(id);
        let is_new = self.files.insert(id);
        self.files.insert(id.when_deleted());
        if !is_new || (readable.is_none() && unreadable.is_none()) {
            return (None, readable);
        }
        (Some(Found { tgid, name: name.to_owned(), file, id, only: None, libraries, unreadable }), readable)
    }

    /// Files that nobody has mapped any more. Whoever maps one again brings it anew.
    fn unused(&mut self) -> Vec<FileId> {
        let unused = match self.usage.look() {
            Ok(unused) => unused,
            Err(error) => {
                debug!("it cannot be seen who uses which library: {error}");
                return Vec::new();
            }
        };
        for Unused { inode, file } in &unused {
            self.files.remove(file);
            self.files.remove(&file.when_deleted());
            self.carriers.remove(file);
            let is_other = |identity: &String| mappings::inode_in(identity) != Some(*inode);
            self.seen.retain(is_other);
            self.readable.retain(is_other);
        }
        unused.into_iter().map(|unused| unused.file).collect()
    }
}

/// Everything that is found in one process, what is probed for it alone included.
#[must_use]
pub fn look_into(tgid: u32) -> Vec<Found> {
    let catalogue = Catalogue::new();
    let mut worker = Worker::new(&catalogue);
    let mut found = worker.process(tgid, &mappings::of(tgid));
    found.extend(worker.carrier(tgid));
    found
}

/// The next thing to do. While there is none, the memory that the last one took is nobody's.
fn next(jobs: &Receiver<Job>) -> Option<Job> {
    match jobs.try_recv() {
        Err(TryRecvError::Empty) => {
            memory::give_back();
            jobs.recv().ok()
        }
        job => job.ok(),
    }
}

#[cfg(test)]
mod tests;
