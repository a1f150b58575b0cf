// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A run: the pipeline on this thread, the network on another, until a signal.
//!
//! In: the configuration. Out: an exit with the ledger on stderr. The reader of the ring never waits for the network.

use std::{
    error::Error,
    io,
    path::Path,
    process,
    sync::Arc,
    time::{Duration, Instant},
};

use agent_common::records::{ProcessChange, ProcessRecord};
use log::{debug, info, warn};

use crate::{
    admin::{AdminError, Health, Readiness},
    capture::{
        Capture, CaptureError, CaptureOptions, Control, Frame, KernelEvent, Nap, Recorder, RecordingError, Refusal,
    },
    config::{Config, Print},
    connections::{Advice, Copying},
    doctor,
    enrich::{
        Enrich, FactSource as _, LiveFacts,
        kubernetes::{AccessError, ClusterDomain, Peers, Pods},
    },
    export::{Outputs, otlp::OtlpError, terminal},
    ledger::{Family, Ledger},
    memory,
    moment::{ClockSource as _, KernelTime, SystemClocks, WallClock, WallOffset},
    pipeline::Pipeline,
    policy::Policy,
    printing,
    replay::RecordedFacts,
    runtimes::Probing,
    services::Services,
    situation,
    targets::{Judge, SelectionError, Targets, Verdict},
};

/// Records handled between two looks at the clock. Larger: timers are late under load. Smaller: more clock reads.
const ROUND_RECORDS: usize = 2048;

/// How long records gather before they are read, while there are any. Longer: spans come later, and a burst needs a
/// larger ring. Shorter: more wake-ups.
const NAP: Duration = Duration::from_millis(10);

/// Empty naps after which the daemon sleeps until the kernel wakes it. More: a quiet machine is woken for nothing.
/// Fewer: the first record after a short pause costs a wake-up.
const EMPTY_NAPS: u32 = 20;

/// The longest sleep, after which timers and signals are looked at. Longer: a signal waits. Shorter: wake-ups while
/// nothing happens.
const SLEEP: Duration = Duration::from_millis(250);

/// Empty naps after which the memory of busier times is given back: as long as it is kept while there is traffic.
const QUIET_NAPS: u32 = EMPTY_NAPS + (memory::KEPT.as_millis() / SLEEP.as_millis()) as u32;

/// How often counters that the kernel keeps are fetched.
const KERNEL_COUNTERS: Duration = Duration::from_millis(500);

/// Without a span for this long, a person at a terminal is told what to try.
const NOTHING_SEEN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Selection(#[from] SelectionError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error("Kubernetes cannot be asked: {0}; `--kubernetes off` does without")]
    Cluster(#[from] AccessError),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl RunError {
    /// 2 for what the user asked for, 3 for what the kernel or the privileges forbid, 1 for anything else.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Capture(error) => error.exit_status(),
            Self::Selection(_) | Self::Otlp(_) | Self::Cluster(_) => 2,
            Self::Admin(_) | Self::Recording(_) | Self::Thread(_) => 1,
        }
    }
}

/// Watches until a signal comes; records into a file where one is named.
///
/// # Errors
/// Where it cannot start, or the file cannot be written any more.
pub fn run(config: &Config, record_to: Option<&Path>) -> Result<(), RunError> {
    let ledger = Arc::new(Ledger::new());
    let mut judge = Judge::new(&config.selection, process::id())?;
    if let Some(missing) = doctor::missing_for_capture() {
        return Err(CaptureError::Privileges { missing }.into());
    }
    let health = Arc::new(Health::default());
    let services = Services::start(config, &ledger, &health)?;
    let stdout = printing::start(config, &ledger).map_err(RunError::Thread)?;
    let news = services.news();
    if news.is_some() {
        judge.join_cluster();
    } else if judge.asks_pods() {
        warn!("selectors ask for pods, and there is no cluster to tell of any: what they ask for matches nothing");
    }
    let options = CaptureOptions {
        backend: config.backend,
        ring_bytes: config.ring_bytes,
        judge_every_exec: judge.looks_at_programs(),
        ports: judge.ports().collect(),
        reads_tls: config.reads_tls,
    };
    let mut capture = Capture::start(&options)?;
    tell_backend(&capture, &ledger);
    health.set_readiness(Readiness::Attached);
    let outputs = Outputs::new(stdout, services.otlp(), &ledger);
    let recorder = record_to.map(Recorder::create).transpose()?;
    let mut enrich = Enrich::new(config, LiveFacts);
    if let Some(news) = news {
        let peers = Peers::new(ClusterDomain::find(), &ledger);
        enrich.join_cluster(Pods::new(&ledger), peers, news, config.kubernetes.cluster_name.clone());
    }
    let policy = Policy::new(&config.sampler, &ledger);
    let pipeline = Pipeline::new(&ledger, WallClock::new(SystemClocks), enrich, policy, outputs);
    let probing = if config.reads_tls { Some(Probing::start().map_err(RunError::Thread)?) } else { None };
    let mut watcher = Watcher { pipeline, targets: Targets::new(judge, &ledger), latest: None, recorder, probing };
    watcher.begin(&capture)?;
    if let Some(probing) = &mut watcher.probing {
        probing.settle(&mut capture, &ledger);
    }
    health.set_readiness(Readiness::Ready);
    let backend = capture.backend().name();
    info!("ready: {} processes watched by the {backend} backend", watcher.targets.watched());

    // To start takes more than to watch: the kernel's types, and the programs.
    memory::give_back();
    memory::keep();
    let mut rounds =
        Rounds { capture, services: &services, health: &health, ledger: &ledger, tells: config.print == Print::Tree };
    let result = rounds.turn(&mut watcher);
    health.set_readiness(Readiness::Stopping);
    let letting_go = watcher.probing.take().map(Probing::finish);
    let outputs = watcher.finish()?;
    let Rounds { capture, .. } = rounds;
    kernel_counters(&capture, &ledger);
    drop(capture);
    services.flush(outputs, config.shutdown_timeout);
    eprint!("{}", ledger.lines());
    if let Some(letting_go) = letting_go {
        letting_go.finish();
    }
    result.map_err(RunError::from)
}

/// What handles the kernel's records: processes are judged before their bytes are looked at.
struct Watcher {
    pipeline: Pipeline,
    targets: Targets,
    /// The process of the last record, which is watched still.
    latest: Option<u32>,
    recorder: Option<Recorder<io::BufWriter<std::fs::File>>>,
    /// Absent where TLS is not read.
    probing: Option<Probing>,
}

impl Watcher {
    /// Watches the processes that are there.
    fn begin(&mut self, capture: &Capture) -> Result<(), RecordingError> {
        if let Some(recorder) = &mut self.recorder {
            let (kernel, wall) = SystemClocks.read();
            recorder.write(Frame::Clock { kernel, wall })?;
        }
        self.record_facts(|| Some(RecordedFacts::Host(LiveFacts.host())));
        for verdict in self.targets.scan(self.pipeline.pods()) {
            self.apply(verdict, capture.control());
        }
        Ok(())
    }

    fn handle(&mut self, bytes: &[u8], event: KernelEvent<'_>, control: &Control) {
        let process = match &event {
            KernelEvent::Process(record) => {
                self.latest = None;
                if let Some(verdict) = self.targets.handle_process(record, self.pipeline.pods()) {
                    self.apply(verdict, control);
                }
                self.search_again(record);
                None
            }
            KernelEvent::Opened(record) => {
                if let Some(probing) = &mut self.probing {
                    probing.handle_opened(record);
                }
                Some(record.tgid)
            }
            KernelEvent::Data(record, _) => Some(record.tgid),
            KernelEvent::Closed(_) => None,
        };
        if process != self.latest
            && let Some(tgid) = process
        {
            // Captured while the process had not been judged.
            if self.targets.is_refused(tgid) {
                return;
            }
            self.latest = process;
        }
        self.record(Frame::Record(bytes));
        self.pipeline.handle_event(&event);
    }

    /// What the API server has told of pods, and what it has not told in time, may change who is watched.
    fn judge_by_pods(&mut self, now: KernelTime, control: &Control) {
        if self.pipeline.pods().is_none() {
            return;
        }
        let changed = self.pipeline.handle_pods();
        if let Some(pods) = self.pipeline.pods().filter(|_| !changed.is_empty()) {
            for verdict in self.targets.handle_pods(&changed, pods) {
                self.apply(verdict, control);
            }
        }
        for verdict in self.targets.handle_time(now) {
            self.apply(verdict, control);
        }
    }

    fn apply(&mut self, verdict: Verdict, control: &Control) {
        match verdict {
            Verdict::Watched { tgid, watch } => {
                control.set_watch(tgid, watch);
                self.record_facts(|| LiveFacts.process(tgid).map(RecordedFacts::Process));
                let names = self.targets.names(tgid).cloned().unwrap_or_default();
                self.pipeline.handle_process_seen(tgid, &names);
                self.pipeline.handle_process_judged(tgid, !self.targets.is_open(tgid));
                if let Some(probing) = &mut self.probing {
                    probing.search().handle_process(tgid);
                }
            }
            Verdict::Refused { tgid } => {
                control.refuse(tgid);
                self.latest = None;
                self.pipeline.handle_process_judged(tgid, false);
            }
            Verdict::Gone { tgid } => {
                if let Some(probing) = &mut self.probing {
                    probing.handle_exit(tgid);
                }
            }
        }
    }

    /// A process that is watched listens, or has mapped code: what it speaks with may be there now.
    fn search_again(&mut self, record: &ProcessRecord) {
        let has_loaded = [ProcessChange::Listened, ProcessChange::Mapped].map(|change| change as u32);
        if has_loaded.contains(&record.change)
            && self.targets.is_watched(record.tgid)
            && let Some(probing) = &mut self.probing
        {
            probing.search().handle_process(record.tgid);
        }
    }

    fn record_facts(&mut self, facts: impl FnOnce() -> Option<RecordedFacts>) {
        if self.recorder.is_some()
            && let Some(facts) = facts()
            && let Ok(text) = serde_json::to_vec(&facts)
        {
            self.record(Frame::Facts(&text));
        }
    }

    /// A recording that cannot be written any more ends, with one warning; watching goes on.
    fn record(&mut self, frame: Frame<'_>) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.write(frame)
        {
            warn!("{error}");
            self.recorder = None;
        }
    }

    fn finish(self) -> Result<Outputs, RecordingError> {
        if let Some(recorder) = self.recorder {
            recorder.finish()?;
        }
        Ok(self.pipeline.finish(SystemClocks::now()))
    }
}

/// Read, handle, sleep, again.
struct Rounds<'a> {
    capture: Capture,
    services: &'a Services,
    health: &'a Health,
    ledger: &'a Ledger,
    /// Waterfalls are printed, so that somebody reads.
    tells: bool,
}

impl Rounds<'_> {
    fn turn(&mut self, watcher: &mut Watcher) -> Result<(), CaptureError> {
        let began = Instant::now();
        let mut empty_naps = 0;
        let mut counted = began;
        let mut is_told = false;
        while !self.services.is_stopping() {
            let now = SystemClocks::now();
            let count = self.capture.read(ROUND_RECORDS, |bytes, event, control| watcher.handle(bytes, event, control));
            // What was in the ring is handled; what came before `now` and was not yet there is younger than a record's
            // way into the ring, far below every window that looks at this time.
            watcher.judge_by_pods(now, self.capture.control());
            watcher.pipeline.handle_time(now);
            if let Some(probing) = &mut watcher.probing {
                probing.advance(&mut self.capture, self.ledger);
                while let Some(unread) = watcher.pipeline.poll_unread(now) {
                    let (kernel, wall) = SystemClocks.read();
                    probing.handle_unread(unread.tgid, WallOffset::between(kernel, wall).wall(unread.since));
                }
            }
            while let Some(Advice { connection, socket, copying }) = watcher.pipeline.poll_advice() {
                match copying {
                    Copying::Nothing => self.capture.leave_alone(socket, connection),
                    Copying::Framed => self.capture.treat_as_framed(socket, connection),
                }
            }
            self.health.beat();
            if counted.elapsed() >= KERNEL_COUNTERS {
                kernel_counters(&self.capture, self.ledger);
                self.capture.end_early_calls();
                counted = Instant::now();
            }
            if !is_told && began.elapsed() >= NOTHING_SEEN {
                is_told = true;
                if self.tells && watcher.pipeline.spans_seen() == 0 {
                    let situation =
                        situation::look(&self.capture, &watcher.targets, &watcher.pipeline, began.elapsed());
                    watcher.pipeline.tell(terminal::nothing_seen(&situation));
                }
            }
            if count == ROUND_RECORDS {
                continue;
            }
            empty_naps = if count == 0 { empty_naps + 1 } else { 0 };
            if empty_naps == QUIET_NAPS {
                memory::give_back();
            }
            self.capture.wait(if empty_naps < EMPTY_NAPS { Nap::Timed(NAP) } else { Nap::UntilRecord(SLEEP) })?;
        }
        // What is in the ring when the signal comes has happened.
        while self.capture.read(ROUND_RECORDS, |bytes, event, control| watcher.handle(bytes, event, control)) > 0 {}
        Ok(())
    }
}

/// Which backend it is, and why none that would be better.
fn tell_backend(capture: &Capture, ledger: &Ledger) {
    for Refusal { backend, error } in capture.refusals() {
        info!("the {} backend does not work here: {}", backend.name(), error.in_a_line());
        debug!("{error}");
        let labels = [("backend", backend.name()), ("reason", error.reason())];
        ledger.counter(Family::BackendsRefused, &labels).increment();
    }
    ledger.counter(Family::BackendsAttached, &[("backend", capture.backend().name())]).increment();
}

fn kernel_counters(capture: &Capture, ledger: &Ledger) {
    match capture.losses() {
        Ok(losses) => {
            for (loss, total) in losses {
                ledger.counter(Family::KernelRecordsLost, &[("reason", loss.name())]).set(total);
            }
        }
        Err(error) => warn!("{error}{}", error.source().map(|source| format!(": {source}")).unwrap_or_default()),
    }
}
