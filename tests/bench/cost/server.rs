// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The server that is measured, as plain as C: one thread, and for each request one read and one write.
//!
//! It takes connections one after the other and blocks in its read, or a number of them at once, and waits for any with
//! epoll.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
};

use anyhow::{Result, ensure};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};

use crate::talk::{REQUEST_BYTES, Talk, raise_open_files};

/// Answers until it is killed: this number of connections at once, or with 0 one after the other.
pub fn serve(talk: Talk, port: u16, connections: usize) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let response = talk.response();
    println!("ready");
    if connections > 0 {
        return serve_many(&listener, &response, connections);
    }
    loop {
        let (mut connection, _) = listener.accept()?;
        connection.set_nodelay(true)?;
        while answer(&mut connection, &response)? {}
    }
}

/// False where the client has closed.
fn answer(connection: &mut TcpStream, response: &[u8]) -> Result<bool> {
    let mut request = [0; REQUEST_BYTES];
    let count = connection.read(&mut request)?;
    if count == 0 {
        return Ok(false);
    }
    ensure!(count == REQUEST_BYTES, "a request of {count} bytes");
    connection.write_all(response)?;
    Ok(true)
}

/// Waits for all connections first, so that a request costs the same whichever of them it comes on.
fn serve_many(listener: &TcpListener, response: &[u8], connections: usize) -> Result<()> {
    raise_open_files()?;
    let mut poll = Poll::new()?;
    let mut accepted = Vec::with_capacity(connections);
    while accepted.len() < connections {
        let (connection, _) = listener.accept()?;
        connection.set_nodelay(true)?;
        let token = Token(accepted.len());
        poll.registry().register(&mut SourceFd(&connection.as_raw_fd()), token, Interest::READABLE)?;
        accepted.push(connection);
    }
    let mut events = Events::with_capacity(64);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if !answer(&mut accepted[event.token().0], response)? {
                return Ok(());
            }
        }
    }
}
