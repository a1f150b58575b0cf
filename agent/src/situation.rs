// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of a run in which nothing has been seen, for the person who waits at the terminal.

use std::time::Duration;

use crate::{
    capture::Capture,
    export::terminal::{Listener, NotWatched, Situation},
    pipeline::Pipeline,
    targets::{Candidate, Targets, running},
};

/// Looks at every process once; takes milliseconds, and is asked for once a run.
#[must_use]
pub fn look(capture: &Capture, targets: &Targets, pipeline: &Pipeline, waited: Duration) -> Situation {
    let running = running(true);
    let (watched, others): (Vec<&Candidate>, Vec<&Candidate>) =
        running.iter().partition(|candidate| targets.is_watched(candidate.tgid));
    let not_watched = others
        .into_iter()
        .filter(|candidate| !candidate.listens_on.is_empty() && candidate.tgid != std::process::id())
        .map(|candidate| NotWatched { process: listener(candidate), reason: "not selected".to_owned() })
        .collect();
    Situation {
        seconds_without_spans: waited.as_secs(),
        backend: capture.backend().name().to_owned(),
        hooks_attached: capture.hooks(),
        shortcomings: vec!["io_uring, and payloads of sendfile and splice, are not seen by this backend".to_owned()],
        watched: watched.into_iter().filter(|candidate| !candidate.listens_on.is_empty()).map(listener).collect(),
        not_watched,
        has_seen_bytes: pipeline.has_seen_bytes(),
    }
}

fn listener(candidate: &Candidate) -> Listener {
    Listener {
        pid: candidate.tgid,
        executable: candidate
            .executable
            .as_ref()
            .map_or_else(|| candidate.name.clone(), |path| path.display().to_string()),
        ports: candidate.listens_on.clone(),
    }
}
