// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Probing: what the search has found is attached, told once and counted.
//!
//! In: signs of life of processes, and the capture that attaches. Out: probes, a line for each library and for each that
//! cannot be read, counters. Does not: read plaintext.

use std::{io, sync::Arc, time::Duration};

use agent_common::{
    plaintext::{Action as KernelAction, Cookie, Given, Told},
    records::{OPENED_TLS, OpenedRecord},
};
use jiff::Timestamp;
use log::{debug, info, warn};
use rustc_hash::FxHashMap;

use super::{
    Action, Catalogue, FileId, Found, LibraryPlan, Probe, Returns, Search, UnreadProgram, UnreadableLibrary, Why,
    catalogue::{Length, Record, SessionFrom},
};
use crate::{
    capture::{Capture, CaptureError, LettingGo, ProbeLinks, ProbePlace, ProbeProgram},
    ledger::{Family, Ledger},
    moment::WallTime,
};

/// How long a start waits for the search over the processes that are there. Longer: not ready for longer on a busy machine.
/// Shorter: their first requests after it may go unread.
const AT_START: Duration = Duration::from_millis(2500);

/// Files that are probed. Larger: kernel memory, and open links. Smaller: libraries of further containers are not read,
/// and counted.
const FILES: usize = 4096;

/// The probes of all files.
pub struct Probing {
    search: Search,
    links: Links,
    letting_go: LettingGo,
}

#[derive(Default)]
struct Links {
    files: Vec<(FileId, ProbeLinks)>,
    /// Probes for single processes, which end with them.
    processes: FxHashMap<u32, Vec<ProbeLinks>>,
}

impl Probing {
    /// # Errors
    /// Where no thread can be started.
    pub fn start() -> io::Result<Self> {
        let (search, letting_go) = (Search::start(Arc::new(Catalogue::new()))?, LettingGo::start()?);
        Ok(Self { search, links: Links::default(), letting_go })
    }

    /// To tell it of processes.
    pub const fn search(&mut self) -> &mut Search {
        &mut self.search
    }

    /// A connection was seen for the first time: by now its process may have loaded what it speaks with. Where it is what TLS
    /// carries, on no socket that is known, the process carries its records there itself.
    pub fn handle_opened(&mut self, record: &OpenedRecord) {
        if record.flags & OPENED_TLS == 0 {
            self.search.handle_speaking(record.tgid);
        } else if record.family == 0 {
            self.search.handle_carrier(record.tgid);
        }
    }

    pub fn handle_exit(&mut self, tgid: u32) {
        self.search.handle_exit(tgid);
        for links in self.links.processes.remove(&tgid).into_iter().flatten() {
            self.letting_go.take(links);
        }
    }

    /// All probes are to go; gives what waits for it.
    #[must_use]
    pub fn finish(self) -> LettingGo {
        let Links { files, processes } = self.links;
        for links in files.into_iter().map(|(_, links)| links).chain(processes.into_values().flatten()) {
            self.letting_go.take(links);
        }
        self.letting_go
    }

    /// A process speaks TLS, and nothing of it was read.
    pub fn handle_unread(&mut self, tgid: u32, since: WallTime) {
        self.search.handle_unread(tgid, since);
    }

    /// Probes what is found in the processes that were told so far, and waits for it.
    pub fn settle(&mut self, capture: &mut Capture, ledger: &Ledger) {
        let links = &mut self.links;
        self.search.settle(AT_START, |found| attach(&found, links, capture, ledger));
    }

    /// Probes what was found since the last time.
    pub fn advance(&mut self, capture: &mut Capture, ledger: &Ledger) {
        loop {
            let found = self.search.poll_found();
            // What is out of use goes before it is found again.
            for file in self.search.take_unused() {
                for (_, links) in self.links.files.extract_if(.., |(known, _)| *known == file) {
                    self.letting_go.take(links);
                }
            }
            let Some(found) = found else { break };
            attach(&found, &mut self.links, capture, ledger);
        }
        while let Some(program) = self.search.poll_unread() {
            tell_unread(&program, ledger);
        }
    }
}

fn attach(found: &Found, links: &mut Links, capture: &mut Capture, ledger: &Ledger) {
    for library in &found.libraries {
        if links.files.len().max(links.processes.len()) >= FILES {
            ledger.counter(Family::TlsUnreadable, &[("reason", "too_many_files")]).increment();
            return;
        }
        match capture.attach_probes(&found.file, &places(library), found.only) {
            Ok(attached) if found.only.is_some() => {
                links.processes.entry(found.tgid).or_default().push(attached);
                count(library, "process", ledger);
                debug!("process {} carries its records itself: {} in {}", found.tgid, library.title, found.name);
            }
            Ok(attached) => {
                links.files.push((found.id, attached));
                count(library, "machine", ledger);
                info!("reading {} in {}{}", library.title, found.name, version(library));
            }
            Err(error) => {
                tell_refused(found, library, &error);
                ledger.counter(Family::TlsUnreadable, &[("reason", "probes_refused")]).increment();
            }
        }
    }
}

/// One line for each program, when it has begun to speak.
fn tell_unread(unread: &UnreadProgram, ledger: &Ledger) {
    let UnreadProgram { tgid, program, since, why } = unread;
    let since = i64::try_from(since.0).ok().and_then(|since| Timestamp::from_nanosecond(since.into()).ok());
    let since = since.unwrap_or_default().strftime("%H:%M:%S UTC");
    let (why, reason) = match why {
        // There may be thousands, and nothing to be done about them.
        Why::Ended => {
            debug!("process {tgid} spoke TLS since {since} and ended before anything of it was read");
            return ledger.counter(Family::TlsUnreadable, &[("reason", "ended_early")]).increment();
        }
        Why::Library(UnreadableLibrary { title, reason, remedy, .. }) => {
            (format!("{title}: {reason}; {remedy}"), "library_not_readable")
        }
        Why::NoLibrary => {
            ("it uses no library that is known: docs/TLS.md has those that are".to_owned(), "library_not_known")
        }
        Why::NoSymbols => (
            "it has no symbols, by which a library in it could be found; keep them (no `strip`)".to_owned(),
            "no_symbols",
        ),
    };
    warn!("what {program} (process {tgid}) says under TLS since {since} cannot be read: {why}");
    ledger.counter(Family::TlsUnreadable, &[("reason", reason)]).increment();
}

fn tell_refused(found: &Found, library: &LibraryPlan, error: &CaptureError) {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    warn!("{} in {} cannot be read: {}{source}", library.title, found.name, error.in_a_line());
}

fn version(library: &LibraryPlan) -> String {
    if library.version.is_empty() { String::new() } else { format!(" ({})", library.version) }
}

fn count(library: &LibraryPlan, scope: &'static str, ledger: &Ledger) {
    ledger.counter(Family::TlsFiles, &[("scope", scope)]).increment();
    for probe in &library.probes {
        let cost = if probe.is_cheap { "emulated" } else { "single_stepped" };
        ledger.counter(Family::TlsProbes, &[("instruction", cost)]).increment();
    }
}

/// A library's probes as the kernel takes them.
#[must_use]
pub fn places(library: &LibraryPlan) -> Vec<ProbePlace> {
    library.probes.iter().flat_map(places_of).collect()
}

fn places_of(probe: &Probe) -> impl Iterator<Item = ProbePlace> + use<> {
    let place = |program, offset, cookie| ProbePlace { program, offset, cookie };
    let cookie = cookie(probe);
    let entered = cookie.at(probe.unless, probe.stack, 0);
    let enters = match probe.action {
        // What it returns is all that is asked of it.
        _ if !probe.is_entered() => None,
        Action::Create
        | Action::Destroy
        | Action::Descriptor
        | Action::Handshake
        | Action::Read
        | Action::Write
        | Action::Ciphertext
        | Action::Encrypt
        | Action::Decrypt => Some(place(ProbeProgram::Enter, probe.offset, entered)),
        Action::GoCreate | Action::GoWrite | Action::GoRead | Action::GoCopyReader | Action::GoCopyMemory => {
            Some(place(ProbeProgram::Go, probe.offset, entered))
        }
    };
    let returns: Vec<ProbePlace> = match &probe.returns {
        Returns::Unseen => Vec::new(),
        Returns::At(ends) => ends
            .iter()
            .map(|end| place(ProbeProgram::Leave, end.offset, cookie.at(end.unless, end.stack, end.result)))
            .collect(),
        Returns::Caught => vec![place(ProbeProgram::Return, probe.offset, cookie)],
    };
    returns.into_iter().chain(enters)
}

fn cookie(probe: &Probe) -> Cookie {
    let action = match probe.action {
        Action::Create => KernelAction::Create,
        Action::Destroy => KernelAction::Destroy,
        Action::Descriptor => KernelAction::Descriptor,
        Action::Handshake if probe.returns == Returns::Unseen => KernelAction::OpenHandshake,
        Action::Handshake => KernelAction::Handshake,
        Action::Read => KernelAction::Read,
        Action::Write => KernelAction::Write,
        Action::GoCreate => KernelAction::GoCreate,
        Action::GoWrite => KernelAction::GoWrite,
        Action::GoRead => KernelAction::GoRead,
        Action::GoCopyReader => KernelAction::GoCopyReader,
        Action::GoCopyMemory => KernelAction::GoCopyMemory,
        Action::Ciphertext => KernelAction::Ciphertext,
        Action::Encrypt => KernelAction::Encrypt,
        Action::Decrypt => KernelAction::Decrypt,
    };
    let told = match (probe.record, probe.length) {
        (Some(Record::Typed), _) => Told::TypedRecord,
        (Some(Record::Nonced), _) => Told::NoncedRecord,
        (Some(Record::Bare), _) => Told::BareRecord,
        (None, Length::Returned) => Told::Returned,
        (None, Length::FourthArgument) => Told::ThroughFourthArgument,
        (None, Length::FifthArgument) => Told::ThroughFifthArgument,
        (None, Length::None | Length::ThirdArgument | Length::Copied) => Told::Elsewhere,
    };
    let given = match probe.session {
        SessionFrom::FirstArgument => Given::FirstArgument,
        SessionFrom::Returned => Given::Returned,
        SessionFrom::ThroughFirstArgument => Given::ThroughFirstArgument,
        SessionFrom::LayeredFirstArgument => Given::LayeredFirstArgument,
    };
    Cookie::new(action, told, given)
}
