// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The client that is measured, as plain as C: one thread, one request at a time, on its connections in turn. On HTTP/2 it
//! asks for ten, each by a call of its own, and then waits for all of them.
//!
//! In: lines of stdin, each a number of requests. Out: a line for each, the nanoseconds that they took. The connections
//! are opened by the first line, so that who watches sees them from their beginning.

use std::{
    io::{self, BufRead as _, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
};

use anyhow::{Result, ensure};

use crate::{
    Parameters,
    accounts::now_ns,
    talk::{Talk, raise_open_files, take_turns},
};

/// Room for one read. Larger: a large response takes fewer reads than it does with most clients. Smaller: more.
const READ_BYTES: usize = 64 * 1024;

/// Whom it asks.
pub struct Reach {
    pub first_port: u16,
    /// At the ports from the first on.
    pub servers: u16,
    /// To each server.
    pub connections: usize,
    /// A port to listen on, for who watches processes that do; 0 for none.
    pub listens: u16,
}

impl Reach {
    pub fn read(parameters: &Parameters) -> Result<Self> {
        Ok(Self {
            first_port: parameters.number("port")?,
            servers: parameters.number("servers")?,
            connections: parameters.number("connections")?,
            listens: parameters.number("listens")?,
        })
    }

    pub fn parameters(&self) -> [String; 4] {
        let Self { first_port, servers, connections, listens } = self;
        [
            format!("port={first_port}"),
            format!("servers={servers}"),
            format!("connections={connections}"),
            format!("listens={listens}"),
        ]
    }

    fn connect(&self) -> Result<Vec<Asked>> {
        let mut opened = Vec::new();
        for server in 0..self.servers {
            for _ in 0..self.connections {
                let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.first_port + server))?;
                connection.set_nodelay(true)?;
                opened.push(Asked { connection, requests: 0 });
            }
        }
        Ok(opened)
    }
}

/// A server, by a connection of its own.
struct Asked {
    connection: TcpStream,
    /// So far.
    requests: u32,
}

pub fn ask(talk: Talk, reach: &Reach) -> Result<()> {
    raise_open_files()?;
    let _listener =
        (reach.listens != 0).then(|| TcpListener::bind((Ipv4Addr::LOCALHOST, reach.listens))).transpose()?;
    let [mut requests, responses] = talk.words()?;
    let at_once = talk.speech.at_once();
    take_turns(talk.speech)?;
    let mut room = vec![0; READ_BYTES];
    println!("ready");
    let mut connections = Vec::new();
    for line in io::stdin().lock().lines() {
        let count: usize = line?.parse()?;
        if connections.is_empty() {
            connections = reach.connect()?;
        }
        let reached = connections.len();
        let begin = now_ns();
        for (turn, first) in (0..count).step_by(at_once).enumerate() {
            let asked = &mut connections[turn % reached];
            let mut left = 0;
            for _ in 0..at_once.min(count - first) {
                asked.connection.write_all(requests.say(asked.requests))?;
                left += responses.length(asked.requests);
                asked.requests += 1;
            }
            while left > 0 {
                let count = asked.connection.read(&mut room)?;
                ensure!(count > 0 && count <= left, "a response that is not as long as was said");
                left -= count;
            }
        }
        println!("{}", now_ns() - begin);
    }
    Ok(())
}
