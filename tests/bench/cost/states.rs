// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The states of the bench, one after the other in one guest, each with a client and a server of its own.
//!
//! Onlooker watches ports, so that where a process listens makes its state, and one Onlooker serves all. Out, per state:
//! `state NAME METRIC VALUE`, in instructions a request. A count of requests ends where all that they caused has ended:
//! the processor's time that Onlooker takes afterwards is theirs too.

use std::{collections::BTreeSet, thread, time::Duration};

use anyhow::Result;

use crate::{
    Parameters,
    accounts::{self, Programs},
    client::Reach,
    floor,
    hooks::{self, Hook},
    http2,
    measure::{Around, DRAIN},
    processes::{Onlooker, Peer},
    profile::{self, Profiler},
    sink,
    talk::{Speech, Talk},
};

/// Until a kernel that has booted does nothing more by itself.
pub const SETTLE: Duration = Duration::from_secs(10);

/// Watched: `--open-port` of Onlooker has these.
pub const WATCHED_PORT: u16 = 8080;
const WATCHED_CLIENT: u16 = 8081;
const UNWATCHED_PORT: u16 = 7080;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    name: &'static str,
    port: u16,
    speech: Speech,
    client_listens: u16,
}

const NOTHING: State = State { name: "nothing", port: WATCHED_PORT, speech: Speech::Http1, client_listens: 0 };
const FLOOR: State = State { name: "floor", ..NOTHING };
const HTTP2_NOTHING: State = State { name: "http2_nothing", speech: Speech::Http2, ..NOTHING };
const WITH_ONLOOKER: [State; 6] = [
    State { name: "unwatched", port: UNWATCHED_PORT, ..NOTHING },
    State { name: "uninteresting", speech: Speech::NoProtocol, ..NOTHING },
    State { name: "server", ..NOTHING },
    State { name: "both", client_listens: WATCHED_CLIENT, ..NOTHING },
    State { name: "http2_server", ..HTTP2_NOTHING },
    State { name: "http2_both", client_listens: WATCHED_CLIENT, ..HTTP2_NOTHING },
];

struct Bench {
    response_bytes: usize,
    requests: u64,
    /// Each state is run twice more: with the kernel's programs timed, and with functions sampled.
    profiles: bool,
    sink: Peer,
}

pub fn run(parameters: &Parameters) -> Result<()> {
    let wanted = parameters.text("states")?;
    let response_bytes = parameters.number("response")?;
    let is_wanted = |state: &State| {
        let is_possible = state.speech != Speech::Http2 || response_bytes <= http2::MOST_BYTES;
        is_possible && (wanted == "all" || wanted.split(',').any(|name| name == state.name))
    };
    thread::sleep(SETTLE);
    let bench = Bench {
        response_bytes,
        requests: parameters.number("requests")?,
        profiles: parameters.number("profile")?,
        sink: Peer::start("sink", [])?,
    };
    for state in [NOTHING, HTTP2_NOTHING].iter().filter(|state| is_wanted(state)) {
        bench.measure(*state, None)?;
    }
    let hooks = bench.with_onlooker(parameters.text("backend")?, is_wanted)?;
    if is_wanted(&FLOOR) {
        let _floor = floor::attach(&hooks)?;
        bench.measure(FLOOR, None)?;
    }
    Ok(())
}

/// Started as the bench needs it: everything is built, encoded and sent.
pub fn start_onlooker(backend: &str) -> Result<Onlooker> {
    let ports = format!("{WATCHED_PORT}-{}", WATCHED_PORT + 999);
    let endpoint = format!("http://127.0.0.1:{}", sink::PORT);
    let settings = ["--backend", backend, "--open-port", &ports, "--endpoint", &endpoint];
    let quiet = ["--print", "none", "--admin", "off"];
    let onlooker = Onlooker::start(&[settings.as_slice(), &quiet].concat())?;
    thread::sleep(DRAIN);
    Ok(onlooker)
}

impl Bench {
    /// Gives the hooks that Onlooker had.
    fn with_onlooker(&self, backend: &str, is_wanted: impl Fn(&State) -> bool) -> Result<BTreeSet<Hook>> {
        let profiler = self.profiles.then(|| Profiler::start(profile::COARSE)).transpose()?;
        let onlooker = start_onlooker(backend)?;
        if let Some(profiler) = profiler {
            print_functions("start agent", &profiler.stop()?.by_function(&[onlooker.pid()])?, 1);
        }
        println!("figure start_cpu {}", accounts::cpu_ns(onlooker.pid())?);
        println!("figure memory_at_start {}", accounts::memory_bytes(onlooker.pid(), "VmRSS")?);
        println!("figure maps {}", accounts::map_bytes(onlooker.pid())?);
        for state in WITH_ONLOOKER.iter().filter(|state| is_wanted(state)) {
            self.measure(*state, Some(onlooker.pid()))?;
        }
        println!("figure memory_peak {}", accounts::memory_bytes(onlooker.pid(), "VmHWM")?);
        let hooks = hooks::in_use()?;
        println!("figure hooks {}", hooks.len());
        for (name, value) in onlooker.stop()? {
            println!("ledger {name} {value}");
        }
        Ok(hooks)
    }

    fn measure(&self, state: State, onlooker: Option<u32>) -> Result<()> {
        let talk = Talk { speech: state.speech, response_bytes: self.response_bytes };
        let server = [format!("port={}", state.port), "connections=0".to_owned()];
        let server = Peer::start("server", talk.parameters().iter().chain(&server))?;
        let reach = Reach { first_port: state.port, servers: 1, connections: 1, listens: state.client_listens };
        let mut client = Peer::start("client", talk.parameters().iter().chain(&reach.parameters()))?;
        // The first requests fill caches, tables and buffers.
        client.ask(self.requests)?;
        thread::sleep(DRAIN);

        let around = Around { sink: &self.sink, onlooker };
        let mut costs = Vec::new();
        for _ in 0..state.speech.repetitions() {
            costs.push(around.measure(&mut client, self.requests)?);
        }
        costs.sort_by(|one, other| one.total.total_cmp(&other.total));
        let cost = &costs[costs.len() / 2];
        println!("state {} total {:.1}", state.name, cost.total);
        println!("state {} agent {:.1}", state.name, cost.agent);
        if self.profiles
            && let Some(onlooker) = onlooker
        {
            self.time_programs(state, &mut client)?;
            self.sample(state, &mut client, server.pid(), onlooker)?;
        }
        println!("state {} asked {}", state.name, client.asked());
        Ok(())
    }

    fn time_programs(&self, state: State, client: &mut Peer) -> Result<()> {
        accounts::time_programs(true)?;
        let before = Programs::read()?;
        client.ask(self.requests)?;
        let after = Programs::read()?;
        accounts::time_programs(false)?;
        for (program, runs, time) in after.since(&before) {
            let (runs_each, time_each) = (runs as f64 / self.requests as f64, time as f64 / runs as f64);
            println!("program {} {program} {runs_each:.3} {time_each:.0}", state.name);
        }
        Ok(())
    }

    fn sample(&self, state: State, client: &mut Peer, server: u32, onlooker: u32) -> Result<()> {
        let profiler = Profiler::start(profile::FINE)?;
        client.ask(self.requests)?;
        thread::sleep(DRAIN);
        let samples = profiler.stop()?;
        for (who, pids) in [("application", [server, client.pid()].as_slice()), ("agent", &[onlooker])] {
            print_functions(&format!("{} {who}", state.name), &samples.by_function(pids)?, self.requests);
        }
        Ok(())
    }
}

/// The sum, and the functions that take most of it, each over this number.
fn print_functions(prefix: &str, functions: &[(String, u64)], over: u64) {
    /// More: nobody reads them. Fewer: what is spread thin is not seen.
    const SHOWN: usize = 40;
    let all: u64 = functions.iter().map(|(_, instructions)| instructions).sum();
    println!("function {prefix} {} all", all / over);
    for (function, instructions) in functions.iter().take(SHOWN) {
        println!("function {prefix} {} {function}", instructions / over);
    }
}
