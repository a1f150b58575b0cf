// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A collector that throws away what it gets: OTLP over http/protobuf in, an empty answer out.
//!
//! The bodies are never copied to it: what it costs is not Onlooker's, and is taken off.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result};

pub const PORT: u16 = 4318;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

pub fn swallow() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    println!("ready");
    loop {
        let (connection, _) = listener.accept()?;
        drain(connection)?;
    }
}

fn drain(mut connection: TcpStream) -> Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        // Looked at first, so that a body's beginning stays in the kernel.
        let count = receive(&connection, &mut buffer, libc::MSG_PEEK)?;
        if count == 0 {
            return Ok(());
        }
        let before = head.len();
        head.extend_from_slice(&buffer[..count]);
        let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else {
            receive(&connection, &mut buffer[..count], 0)?;
            continue;
        };
        receive(&connection, &mut buffer[..end + 4 - before], 0)?;
        discard(&connection, body_length(&head[..end])?)?;
        head.clear();
        connection.write_all(ANSWER)?;
    }
}

fn body_length(head: &[u8]) -> Result<usize> {
    let head = std::str::from_utf8(head)?.to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    Ok(value.context("a request without a length")?.trim().parse()?)
}

/// `MSG_TRUNC` on TCP: bytes are taken and not copied.
fn discard(connection: &TcpStream, mut bytes: usize) -> Result<()> {
    let mut nowhere = [0; 1];
    while bytes > 0 {
        // SAFETY: with MSG_TRUNC, TCP writes nothing into the buffer, whatever the length (tcp(7)).
        let count = unsafe { libc::recv(connection.as_raw_fd(), nowhere.as_mut_ptr().cast(), bytes, libc::MSG_TRUNC) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        if count == 0 {
            break;
        }
        bytes -= count;
    }
    Ok(())
}

fn receive(connection: &TcpStream, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    // SAFETY: the buffer is writable for its length.
    let count = unsafe { libc::recv(connection.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
