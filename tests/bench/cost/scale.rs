// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the cost of a request grows with connections and with watched processes, what they take of memory, and what
//! Onlooker does while all are quiet.
//!
//! Out: `scale SUBJECT NUMBER METRIC VALUE`; instructions a request, bytes.

use std::{thread, time::Duration};

use anyhow::Result;

use crate::{
    Parameters, accounts,
    client::Reach,
    measure::{Around, DRAIN},
    processes::Peer,
    states::{SETTLE, WATCHED_PORT, start_onlooker},
    talk::{Speech, Talk},
};

/// Between some hundred and two thousand a connection's turn comes after about 40 ms, with Onlooker a little later: TCP
/// then acknowledges by packets of their own what it else acknowledges with the next request, and that is not Onlooker's.
const CONNECTIONS: [usize; 5] = [1, 10, 100, 2_000, 10_000];
const PROCESSES: [u16; 3] = [1, 50, 500];

/// Enough that each connection has several, and that a batch of spans is full more than once.
const REQUESTS: u64 = 10_000;

/// Long enough that wake-ups of every period are in it.
const QUIET: Duration = Duration::from_secs(60);

const TALK: Talk = Talk { speech: Speech::Http1, response_bytes: 70 };

pub fn run(parameters: &Parameters) -> Result<()> {
    thread::sleep(SETTLE);
    let sink = Peer::start("sink", [])?;
    let without = Around { sink: &sink, onlooker: None };
    for number in CONNECTIONS {
        connections(without, number)?;
    }
    for number in PROCESSES {
        processes(without, number)?;
    }
    let onlooker = start_onlooker(parameters.text("backend")?)?;
    let with = Around { onlooker: Some(onlooker.pid()), ..without };
    for number in CONNECTIONS {
        connections(with, number)?;
    }
    for number in PROCESSES {
        processes(with, number)?;
    }
    for (name, value) in onlooker.stop()? {
        println!("ledger {name} {value}");
    }
    Ok(())
}

/// One server that waits for all of its connections.
fn connections(around: Around<'_>, number: usize) -> Result<()> {
    let parameters = [format!("port={WATCHED_PORT}"), format!("connections={number}")];
    let _server = Peer::start("server", TALK.parameters().iter().chain(&parameters))?;
    let reach = Reach { first_port: WATCHED_PORT, servers: 1, connections: number, listens: 0 };
    let _client = measure(around, "connections", number, &reach)?;
    Ok(())
}

/// Servers with a connection each.
fn processes(around: Around<'_>, number: u16) -> Result<()> {
    let server = |index| {
        let parameters = [format!("port={}", WATCHED_PORT + index), "connections=0".to_owned()];
        Peer::start("server", TALK.parameters().iter().chain(&parameters))
    };
    let _servers = (0..number).map(server).collect::<Result<Vec<_>>>()?;
    let reach = Reach { first_port: WATCHED_PORT, servers: number, connections: 1, listens: 0 };
    let _client = measure(around, "processes", usize::from(number), &reach)?;
    if let Some(onlooker) = around.onlooker {
        let before = accounts::cpu_ns(onlooker)?;
        thread::sleep(QUIET);
        let used = accounts::cpu_ns(onlooker)? - before;
        println!("scale processes {number} idle_ppm {}", used / QUIET.as_millis() as u64);
    }
    Ok(())
}

/// Gives the client, whose connections are open.
fn measure(around: Around<'_>, subject: &str, number: usize, reach: &Reach) -> Result<Peer> {
    let mut client = Peer::start("client", TALK.parameters().iter().chain(&reach.parameters()))?;
    client.ask(REQUESTS)?;
    thread::sleep(DRAIN);
    let cost = around.measure(&mut client, REQUESTS)?;
    let prefix = format!("scale {subject} {number}");
    match around.onlooker {
        None => println!("{prefix} nothing {:.1}", cost.total),
        Some(onlooker) => {
            println!("{prefix} total {:.1}", cost.total);
            println!("{prefix} agent {:.1}", cost.agent);
            println!("{prefix} memory {}", accounts::memory_bytes(onlooker, "RssAnon")?);
            println!("{prefix} maps {}", accounts::map_bytes(onlooker)?);
        }
    }
    Ok(client)
}
