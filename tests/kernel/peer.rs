// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The other process of a kernel test: `serve ADDRESS`, `answer DESCRIPTOR COUNT`, `ask ADDRESS PATH`, `exec PROGRAM …` or
//! `unprivileged PROGRAM …`.
//!
//! In: what to do, as arguments. Out: for `serve` the address, for `ask` the response's status, a line each.

use std::{
    env,
    io::{Read as _, Write as _, stdin, stdout},
    net::TcpStream,
    os::{fd::FromRawFd as _, unix::process::CommandExt as _},
    process::Command,
    ptr,
};

use anyhow::{Context as _, Result, bail, ensure};
use onlooker_tests::{Server, server};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", address] => {
            let server = Server::start_at(address, server::sample)?;
            println!("{}", server.address());
            stdin().read_to_end(&mut Vec::new())?;
        }
        ["answer", descriptor, count] => {
            // SAFETY: whoever started this passed the descriptor on for this purpose.
            let stream = unsafe { TcpStream::from_raw_fd(descriptor.parse()?) };
            for _ in 0..count.parse::<u64>()? {
                answer(&stream)?;
            }
        }
        ["ask", address, path] => {
            let mut stream = TcpStream::connect(address)?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: onlooker.test\r\nConnection: close\r\n\r\n")?;
            let mut response = String::new();
            stream.read_to_string(&mut response)?;
            writeln!(stdout(), "{}", response.split(' ').nth(1).context("no status")?)?;
        }
        ["exec", program, rest @ ..] => return Err(Command::new(program).args(rest).exec().into()),
        ["unprivileged", program, rest @ ..] => {
            drop_privileges()?;
            return Err(Command::new(program).args(rest).exec().into());
        }
        other => bail!("cannot do {other:?}"),
    }
    Ok(())
}

/// Becomes a user who may do nothing: leaving user 0 clears the capabilities (capabilities(7)).
fn drop_privileges() -> Result<()> {
    const NOBODY: u32 = 65534;
    // SAFETY: no groups, and otherwise plain numbers.
    let results = unsafe {
        [
            libc::setgroups(0, ptr::null()),
            libc::setresgid(NOBODY, NOBODY, NOBODY),
            libc::setresuid(NOBODY, NOBODY, NOBODY),
        ]
    };
    ensure!(results == [0; 3], "privileges cannot be dropped: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Answers one request without a body by its process's number.
fn answer(mut stream: &TcpStream) -> Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let body = std::process::id().to_string();
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    Ok(stream.write_all(response.as_bytes())?)
}
