// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The server that is measured, as plain as C: one thread, one read for all that has come, and for each request one write.
//!
//! It takes connections one after the other and blocks in its read, or a number of them at once, and waits for any with
//! epoll.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
};

use anyhow::Result;
use mio::{Events, Interest, Poll, Token, unix::SourceFd};

use crate::talk::{Talk, Words, raise_open_files, take_turns};

/// Room for one read: ten requests, and what comes before the first.
const READ_BYTES: usize = 1024;

/// Answers until it is killed: this number of connections at once, or with 0 one after the other.
pub fn serve(talk: Talk, port: u16, connections: usize) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let [requests, responses] = talk.words()?;
    take_turns(talk.speech)?;
    let mut server = Server { requests, responses, room: [0; READ_BYTES] };
    println!("ready");
    if connections > 0 {
        return server.serve_many(&listener, connections);
    }
    loop {
        let mut client = Client::accept(&listener)?;
        while server.answer(&mut client)? {}
    }
}

struct Client {
    connection: TcpStream,
    /// Requests that were answered.
    answered: u32,
    /// Bytes of those that were not.
    waiting: usize,
}

impl Client {
    fn accept(listener: &TcpListener) -> Result<Self> {
        let (connection, _) = listener.accept()?;
        connection.set_nodelay(true)?;
        Ok(Self { connection, answered: 0, waiting: 0 })
    }
}

struct Server {
    requests: Words,
    responses: Words,
    room: [u8; READ_BYTES],
}

impl Server {
    /// False where the client has closed.
    fn answer(&mut self, client: &mut Client) -> Result<bool> {
        let count = client.connection.read(&mut self.room)?;
        client.waiting += count;
        while client.waiting >= self.requests.length(client.answered) {
            client.waiting -= self.requests.length(client.answered);
            client.connection.write_all(self.responses.say(client.answered))?;
            client.answered += 1;
        }
        Ok(count > 0)
    }

    /// Waits for all connections first, so that a request costs the same whichever of them it comes on.
    fn serve_many(&mut self, listener: &TcpListener, connections: usize) -> Result<()> {
        raise_open_files()?;
        let mut poll = Poll::new()?;
        let mut accepted = Vec::with_capacity(connections);
        while accepted.len() < connections {
            let client = Client::accept(listener)?;
            let token = Token(accepted.len());
            poll.registry().register(&mut SourceFd(&client.connection.as_raw_fd()), token, Interest::READABLE)?;
            accepted.push(client);
        }
        let mut events = Events::with_capacity(64);
        loop {
            poll.poll(&mut events, None)?;
            for event in &events {
                if !self.answer(&mut accepted[event.token().0])? {
                    return Ok(());
                }
            }
        }
    }
}
