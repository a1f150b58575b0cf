// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A recording through the whole pipeline: no kernel, no root, and the time that it was.
//!
//! In: a recording. Out: the spans that the run which wrote it saw, with other ids. Spans are sent where the configuration
//! says so, as in a run.

use std::{cell::RefCell, collections::HashMap, path::Path, rc::Rc, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    admin::Health,
    capture::{Frame, KernelEvent, Recording},
    config::{Config, KubernetesConfig},
    enrich::{Enrich, FactSource, HostFacts, ProcessFacts},
    export::Outputs,
    ledger::Ledger,
    moment::{FixedClocks, KernelTime, WallClock, WallOffset},
    pipeline::Pipeline,
    policy::Policy,
    printing,
    run::RunError,
    services::Services,
    targets::Names,
};

/// Time handed on after the last record: what waits for something to come is decided then.
const AFTERWARDS: Duration = Duration::from_secs(60);

/// How far time goes on before the stages are told, as in a run, where they are told once for all that was in the ring.
/// Larger: what waits for something waits longer than it would have. Smaller: replays do work that runs do not.
const STEP_NANOSECONDS: u64 = 1_000_000;

/// What a recording says of the machine and its processes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedFacts {
    Host(HostFacts),
    Process(ProcessFacts),
}

/// # Errors
/// Where the file is no recording, or an exporter cannot be started.
pub fn replay(config: &Config, path: &Path) -> Result<(), RunError> {
    let ledger = Arc::new(Ledger::new());
    let recording = Recording::open(path)?;
    let quiet = Config { admin: None, kubernetes: KubernetesConfig::default(), ..config.clone() };
    let services = Services::start(&quiet, &ledger, &Arc::new(Health::default()))?;
    let stdout = printing::start(config, &ledger).map_err(RunError::Thread)?;
    let outputs = Outputs::new(stdout, services.otlp(), &ledger);
    let outputs = through(config, &ledger, &recording, outputs);
    services.flush(outputs, config.shutdown_timeout);
    eprint!("{}", ledger.lines());
    Ok(())
}

/// The pipeline alone, as tests drive it: from the recording's frames to `outputs`, which are handed back to be flushed.
#[must_use]
pub fn through(config: &Config, ledger: &Ledger, recording: &Recording, outputs: Outputs) -> Outputs {
    let facts = Facts::default();
    let mut offset = WallOffset::default();
    let (mut now, mut told) = (KernelTime::default(), KernelTime::default());
    // The host and the clock stand at the head, and the stages ask for them when they are made.
    for frame in recording.frames() {
        match frame {
            Frame::Clock { kernel, wall } => offset = WallOffset::between(kernel, wall),
            Frame::Facts(text) => drop(facts.learn(text)),
            Frame::Record(_) => break,
        }
    }
    let enrich = Enrich::new(config, facts.clone());
    let clock = WallClock::new(FixedClocks(offset));
    let mut pipeline = Pipeline::new(ledger, clock, enrich, Policy::new(&config.sampler, ledger), outputs);
    for frame in recording.frames() {
        match frame {
            Frame::Clock { .. } => {}
            Frame::Facts(text) => {
                if let Some(tgid) = facts.learn(text) {
                    pipeline.handle_process_seen(tgid, &Names::default());
                }
            }
            Frame::Record(bytes) => {
                let Some(event) = KernelEvent::decode(bytes) else { continue };
                pipeline.handle_event(&event);
                now = now.max(event.time());
                if now.0 >= told.0 + STEP_NANOSECONDS {
                    told = now;
                    pipeline.handle_time(now);
                }
            }
        }
    }
    let afterwards = u64::try_from(AFTERWARDS.as_nanos()).unwrap_or(u64::MAX);
    pipeline.finish(KernelTime(now.0.saturating_add(afterwards)))
}

/// Facts as the recording gives them, in its order.
#[derive(Clone, Default)]
struct Facts(Rc<RefCell<Known>>);

#[derive(Default)]
struct Known {
    host: HostFacts,
    processes: HashMap<u32, ProcessFacts>,
}

impl Facts {
    /// Answers with the process, if it is about one. Facts that are not understood are passed over: they are of a later
    /// version.
    fn learn(&self, text: &[u8]) -> Option<u32> {
        let mut known = self.0.borrow_mut();
        match serde_json::from_slice(text).ok()? {
            RecordedFacts::Host(host) => {
                known.host = host;
                None
            }
            RecordedFacts::Process(process) => {
                let tgid = process.tgid;
                known.processes.insert(tgid, process);
                Some(tgid)
            }
        }
    }
}

impl FactSource for Facts {
    fn host(&mut self) -> HostFacts {
        self.0.borrow().host.clone()
    }

    fn process(&mut self, tgid: u32) -> Option<ProcessFacts> {
        self.0.borrow().processes.get(&tgid).cloned()
    }
}
