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
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustc_hash::{FxHashMap, FxHashSet};

use self::worker::Worker;
pub use self::worker::look_into;
use super::{Catalogue, LibraryPlan, file_id::FileId};
use crate::moment::WallTime;

mod usage;
mod worker;

/// Processes that wait to be looked at. Larger: memory. Smaller: of many that begin at once some are looked at only when
/// they show up again.
const QUEUE: usize = 4096;

/// How often a process is looked at again for being seen to speak, in the first place: code is loaded at the beginning.
const LOOKS: u8 = 8;
const SOON: Duration = Duration::from_millis(100);
/// And after that.
const LATER: Duration = Duration::from_secs(30);

/// How often it is looked which files are out of use, if somebody has ended meanwhile. Larger: files of images that were removed
/// keep their place on the disk for longer. Smaller: the mappings of all processes are read more often.
const USAGE: Duration = Duration::from_secs(300);

/// Processes of which the last look is remembered. As `FILES`.
const PROCESSES: usize = 32_768;

/// A file with a library in it, or one that is known and cannot be read.
#[derive(Debug)]
pub struct Found {
    /// In which it was found first; 0 for a file that lay in its place.
    pub tgid: u32,
    pub name: String,
    pub file: File,
    pub id: FileId,
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
    /// Somebody has ended: what is out of use?
    Usage,
}

enum Answer {
    Found(Box<Found>),
    Unread(Box<UnreadProgram>),
    /// By what it has mapped, it carries its records to the socket itself.
    Carries(u32),
    CarrierDone,
    Done(u32),
    Unused {
        files: Vec<FileId>,
        is_waiting: bool,
    },
}

/// The search, from the side of who asks.
pub struct Search {
    jobs: SyncSender<Job>,
    answers: Receiver<Answer>,
    /// Asked for and not done; and whether it was asked for again meanwhile.
    pending: FxHashMap<u32, bool>,
    folders_pending: bool,
    /// Processes whose records were asked for.
    carriers: FxHashSet<u32>,
    carriers_pending: usize,
    looks: FxHashMap<u32, Look>,
    ready: VecDeque<Found>,
    unread: VecDeque<UnreadProgram>,
    unused: Vec<FileId>,
    /// When it was asked last which files are out of use, and whether somebody has ended since.
    asked_for_usage: Instant,
    has_ended: bool,
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
    /// It had ended when it was looked at, perhaps before its library could be probed.
    Ended,
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
            pending: FxHashMap::default(),
            folders_pending: false,
            carriers: FxHashSet::default(),
            carriers_pending: 0,
            looks: FxHashMap::default(),
            ready: VecDeque::new(),
            unread: VecDeque::new(),
            unused: Vec::new(),
            asked_for_usage: Instant::now(),
            has_ended: false,
        };
        search.folders_pending = search.jobs.try_send(Job::Folders).is_ok();
        Ok(search)
    }

    /// A process is watched, or has loaded code: it is looked at now.
    pub fn handle_process(&mut self, tgid: u32) {
        if let Some(again) = self.pending.get_mut(&tgid) {
            // Its map may have been read before what is there now.
            *again = true;
        } else if self.jobs.try_send(Job::Process(tgid)).is_ok() {
            self.pending.insert(tgid, false);
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

    /// A process has spoken on a session whose socket is not known, or has mapped what such a process needs: it carries its
    /// records there itself.
    pub fn handle_carrier(&mut self, tgid: u32) {
        if self.carriers.len() < PROCESSES
            && !self.carriers.contains(&tgid)
            && self.jobs.try_send(Job::Carrier(tgid)).is_ok()
        {
            self.carriers.insert(tgid);
            self.carriers_pending += 1;
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
        self.has_ended = true;
        self.carriers.remove(&tgid);
        self.looks.remove(&tgid);
    }

    /// Files whose probes are to go, as far as was known when something was found last.
    pub fn take_unused(&mut self) -> Vec<FileId> {
        if self.has_ended && self.asked_for_usage.elapsed() >= USAGE && self.jobs.try_send(Job::Usage).is_ok() {
            (self.has_ended, self.asked_for_usage) = (false, Instant::now());
        }
        std::mem::take(&mut self.unused)
    }

    /// What was found; each file once, or again after it was out of use.
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
            let is_done = self.pending.is_empty() && self.carriers_pending == 0 && !self.folders_pending;
            if is_done || left.is_zero() {
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
            Answer::Carries(tgid) => self.handle_carrier(tgid),
            Answer::CarrierDone => self.carriers_pending -= 1,
            Answer::Unused { files, is_waiting } => {
                self.unused.extend(files);
                self.has_ended |= is_waiting;
            }
            Answer::Done(0) => self.folders_pending = false,
            Answer::Done(tgid) => {
                if self.pending.remove(&tgid) == Some(true) {
                    self.handle_process(tgid);
                }
            }
        }
    }
}
