// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a number of requests costs, in instructions a request: all that they caused, and Onlooker's part of it.
//!
//! Client and server take turns, so that the processor is never idle between the first request and the last: the time
//! that passes is instructions. What Onlooker does afterwards, while the machine is idle, is taken from its own account
//! of the processor, less what it takes at rest. The receiver of the spans is somebody else's and is taken off.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use crate::{accounts::cpu_ns, processes::Peer};

/// Until Onlooker has read, batched, sent and gone to sleep: longer than its longest wait of a span for others (5 s). In
/// an idle guest time passes at once.
pub const DRAIN: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub total: f64,
    /// Of it, Onlooker's threads.
    pub agent: f64,
}

/// Who is accounted besides the client.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub sink: &'a Peer,
    /// The process, where it runs.
    pub onlooker: Option<u32>,
}

impl Around<'_> {
    /// The client has connected, and all is quiet since.
    pub fn measure(self, client: &mut Peer, requests: u64) -> Result<Cost> {
        let agent = || self.onlooker.map_or(Ok(0), cpu_ns);
        let at_rest = agent()?;
        thread::sleep(DRAIN);
        let resting = agent()? - at_rest;
        let (agent_before, sink_before) = (agent()?, cpu_ns(self.sink.pid())?);
        let elapsed = client.ask(requests)?;
        let (agent_at_end, sink_at_end) = (agent()?, cpu_ns(self.sink.pid())?);
        thread::sleep(DRAIN);
        // What it does at rest is not the requests', and is measured as such by the scale's bench.
        let afterwards = (agent()? - agent_at_end).saturating_sub(resting);
        let total = elapsed + afterwards - (sink_at_end - sink_before);
        let agent = agent_at_end - agent_before + afterwards;
        ensure!(agent < total, "Onlooker took {agent} of {total}: the accounts are wrong");
        let each = |nanoseconds: u64| nanoseconds as f64 / requests as f64;
        Ok(Cost { total: each(total), agent: each(agent) })
    }
}
