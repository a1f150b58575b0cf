// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The search for libraries in processes, on a thread of its own: files of hundreds of megabytes are looked into, while the
//! ring is read elsewhere.
//!
//! In: processes, as they begin, load code or speak. Out: files in which something was found, each once however many
//! processes share it. Bounded: as many processes wait as the queue holds; one that finds no room is asked for again by its
//! next sign of life.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use log::debug;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Catalogue, LibraryPlan, Plan,
    elf::{ElfError, ElfFile},
    mappings,
};
use crate::{memory, moment::WallTime};

/// Processes that wait to be looked at. Larger: memory. Smaller: of many that begin at once some are looked at only when
/// they show up again.
const QUEUE: usize = 4096;

/// Files that were looked into and are remembered. Larger: memory, 150 bytes each. Smaller: on a machine with more files of
/// code than this all are forgotten at times, and looked into again.
const FILES: usize = 65_536;

/// How often a process is looked at again for being seen to speak, in the first place: code is loaded at the beginning.
const LOOKS: u8 = 8;
const SOON: Duration = Duration::from_millis(100);
/// And after that.
const LATER: Duration = Duration::from_secs(30);

/// Processes of which the last look is remembered. As `FILES`.
const PROCESSES: usize = 32_768;

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

/// A file with a library in it, or one that is known and cannot be read.
#[derive(Debug)]
pub struct Found {
    /// In which it was found first; 0 for a file that lay in its place.
    pub tgid: u32,
    pub name: String,
    pub file: File,
    /// Only this process is to be probed.
    pub only: Option<u32>,
    pub libraries: Vec<LibraryPlan>,
    pub unreadable: Option<UnreadableLibrary>,
}

/// Why a library cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableLibrary {
    pub library: String,
    pub title: String,
    pub reason: String,
    pub remedy: String,
}

enum Job {
    Process(u32),
    /// It carries its records to the socket itself.
    Carrier(u32),
    /// It speaks TLS, and nothing of it was read.
    Unread(u32, WallTime),
    Folders,
}

enum Answer {
    Found(Box<Found>),
    Unread(Box<UnreadProgram>),
    Done(u32),
}

/// The search, from the side of who asks.
pub struct Search {
    jobs: SyncSender<Job>,
    answers: Receiver<Answer>,
    /// Asked for and not done.
    pending: FxHashSet<u32>,
    folders_pending: bool,
    /// Processes whose records were asked for.
    carriers: FxHashSet<u32>,
    looks: FxHashMap<u32, Look>,
    ready: VecDeque<Found>,
    unread: VecDeque<UnreadProgram>,
}

/// A program whose TLS cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct UnreadProgram {
    pub tgid: u32,
    pub program: String,
    pub since: WallTime,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// This library is known, and cannot be read.
    Library(UnreadableLibrary),
    /// Nothing that is known was found in the program, or in what it has loaded.
    NoLibrary,
    /// The same, and the program's symbols were taken away.
    NoSymbols,
}

struct Look {
    last: Instant,
    count: u8,
}

/// Answers that wait to be fetched. Larger: memory and open files. Smaller: the search waits.
const ANSWERS: usize = 64;

impl Search {
    /// # Errors
    /// Where no thread can be started.
    pub fn start(catalogue: Arc<Catalogue>) -> io::Result<Self> {
        let (jobs, work) = sync_channel(QUEUE);
        let (out, answers) = sync_channel(ANSWERS);
        thread::Builder::new().name("runtimes".to_owned()).spawn(move || Worker::new(&catalogue).run(&work, &out))?;
        let mut search = Self {
            jobs,
            answers,
            pending: FxHashSet::default(),
            folders_pending: false,
            carriers: FxHashSet::default(),
            looks: FxHashMap::default(),
            ready: VecDeque::new(),
            unread: VecDeque::new(),
        };
        search.folders_pending = search.jobs.try_send(Job::Folders).is_ok();
        Ok(search)
    }

    /// A process is watched, or has loaded code: it is looked at now.
    pub fn handle_process(&mut self, tgid: u32) {
        if self.pending.contains(&tgid) {
            return;
        }
        if self.jobs.try_send(Job::Process(tgid)).is_ok() {
            self.pending.insert(tgid);
        }
    }

    /// A process speaks to somebody: by now it may have loaded what it speaks with.
    pub fn handle_speaking(&mut self, tgid: u32) {
        let now = Instant::now();
        if self.looks.len() >= PROCESSES {
            self.looks.clear();
        }
        if let Some(look) = self.looks.get_mut(&tgid) {
            let pause = if look.count < LOOKS { SOON } else { LATER };
            if now.duration_since(look.last) < pause {
                return;
            }
            (look.last, look.count) = (now, look.count.saturating_add(1));
        } else {
            self.looks.insert(tgid, Look { last: now, count: 1 });
        }
        self.handle_process(tgid);
    }

    /// A process has spoken on a session whose socket is not known: it carries its records there itself.
    pub fn handle_carrier(&mut self, tgid: u32) {
        if self.carriers.len() < PROCESSES
            && !self.carriers.contains(&tgid)
            && self.jobs.try_send(Job::Carrier(tgid)).is_ok()
        {
            self.carriers.insert(tgid);
        }
    }

    /// A process speaks TLS, and nothing of it was read since then.
    pub fn handle_unread(&mut self, tgid: u32, since: WallTime) {
        // One that finds no room is not told of: its next connection does not ask again, another process of its program does.
        let _ = self.jobs.try_send(Job::Unread(tgid, since));
    }

    /// A program that cannot be read; each once.
    pub fn poll_unread(&mut self) -> Option<UnreadProgram> {
        self.unread.pop_front()
    }

    pub fn handle_exit(&mut self, tgid: u32) {
        self.carriers.remove(&tgid);
        self.looks.remove(&tgid);
    }

    /// What was found; each file once.
    pub fn poll_found(&mut self) -> Option<Found> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Some(found);
            }
            match self.answers.try_recv() {
                Ok(answer) => self.take(answer),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
        }
    }

    /// Waits until everything that was asked for is done, or `limit` is over; what was found is handed to `handle`.
    pub fn settle(&mut self, limit: Duration, mut handle: impl FnMut(Found)) {
        let deadline = Instant::now() + limit;
        loop {
            while let Some(found) = self.poll_found() {
                handle(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if (self.pending.is_empty() && !self.folders_pending) || left.is_zero() {
                return;
            }
            match self.answers.recv_timeout(left) {
                Ok(answer) => self.take(answer),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Found(found) => self.ready.push_back(*found),
            Answer::Unread(program) => self.unread.push_back(*program),
            Answer::Done(0) => self.folders_pending = false,
            Answer::Done(tgid) => {
                self.pending.remove(&tgid);
            }
        }
    }
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

struct Worker<'a> {
    catalogue: &'a Catalogue,
    /// Files that were looked into, by their mapping's identity.
    seen: FxHashSet<String>,
    /// The same by device and inode: one file may have several names.
    files: FxHashSet<(u64, u64)>,
    /// Programs that carry their records themselves.
    carriers: FxHashSet<String>,
    /// Files in which there is something to be read.
    readable: FxHashSet<String>,
    /// Programs that were told to be unreadable.
    unread: FxHashSet<String>,
}

impl<'a> Worker<'a> {
    fn new(catalogue: &'a Catalogue) -> Self {
        Self {
            catalogue,
            seen: FxHashSet::default(),
            files: FxHashSet::default(),
            carriers: FxHashSet::default(),
            readable: FxHashSet::default(),
            unread: FxHashSet::default(),
        }
    }

    /// Until whoever asks is gone.
    fn run(mut self, jobs: &Receiver<Job>, out: &SyncSender<Answer>) {
        while let Some(job) = next(jobs) {
            let (tgid, found) = match job {
                Job::Process(tgid) => (tgid, self.process(tgid)),
                Job::Carrier(tgid) => (tgid, self.carrier(tgid)),
                Job::Folders => (0, self.folders()),
                Job::Unread(tgid, since) => {
                    if let Some(program) = self.unread(tgid, since)
                        && out.send(Answer::Unread(Box::new(program))).is_err()
                    {
                        return;
                    }
                    continue;
                }
            };
            for found in found {
                if out.send(Answer::Found(Box::new(found))).is_err() {
                    return;
                }
            }
            if out.send(Answer::Done(tgid)).is_err() {
                return;
            }
        }
    }

    fn process(&mut self, tgid: u32) -> Vec<Found> {
        let mut found = Vec::new();
        for mapping in mappings::of(tgid) {
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
                let (library, is_readable) = self.look(file, tgid, &mapping.name, mapping.is_executable);
                found.extend(library);
                if is_readable {
                    self.readable.insert(mapping.identity.clone());
                }
            }
            self.seen.insert(mapping.identity);
        }
        found
    }

    /// A program that has the library in itself is probed for all of its processes, the next of which may live for a moment
    /// only; a shared library, most users of which need it not, for this one.
    fn carrier(&mut self, tgid: u32) -> Vec<Found> {
        let (catalogue, carriers) = (self.catalogue, &mut self.carriers);
        let look = |mapping: &mappings::Mapping| {
            catalogue.candidates(&mapping.name, mapping.is_executable, true).next()?;
            if mapping.is_executable && !carriers.insert(mapping.identity.clone()) {
                return None;
            }
            let only = (!mapping.is_executable).then_some(tgid);
            let file = mapping.open(tgid).ok()?;
            let (again, name) = (file.try_clone().ok()?, mapping.name.clone());
            let plan = Plan::make(catalogue, again, &name, mapping.is_executable, true).ok()?;
            let libraries = plan.libraries;
            (!libraries.is_empty()).then_some(Found { tgid, name, file, only, libraries, unreadable: None })
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
                found.extend(self.look(file, 0, name, false).0);
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

    /// What is in a file, if it was not looked into under another name; and whether there is something to be read.
    fn look(&mut self, file: File, tgid: u32, name: &str, is_executable: bool) -> (Option<Found>, bool) {
        let unreadable = if tgid == 0 { None } else { self.unreadable(name) };
        let plan = file.try_clone().map_err(ElfError::from);
        let plan = plan.and_then(|again| Plan::make(self.catalogue, again, name, is_executable, false));
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                debug!("{name} {error}");
                return (None, false);
            }
        };
        let is_readable = !plan.libraries.is_empty();
        let is_new = self.files.insert((plan.file.device, plan.file.inode));
        if !is_new || (!is_readable && unreadable.is_none()) {
            return (None, is_readable);
        }
        (
            Some(Found { tgid, name: name.to_owned(), file, only: None, libraries: plan.libraries, unreadable }),
            is_readable,
        )
    }
}

/// Everything that is found in one process, what is probed for it alone included.
#[must_use]
pub fn look_into(tgid: u32) -> Vec<Found> {
    let catalogue = Catalogue::new();
    let mut worker = Worker::new(&catalogue);
    let mut found = worker.process(tgid);
    found.extend(worker.carrier(tgid));
    found
}
