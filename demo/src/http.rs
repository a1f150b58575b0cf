// SPDX-License-Identifier: Apache-2.0 OR MIT
//! As much HTTP/1.1 as the sample services need, on plain sockets and a thread a connection.
//!
//! By hand, because the demo is the first thing that is built on a fresh machine and should not wait for a server
//! library; for that it trusts its peers, and bodies are small.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// Status and body.
pub type Answer = Result<(u16, String)>;

/// Longer: a service that hangs holds the demo. Shorter: the slow charges fail.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Answers until the process ends.
pub fn serve(listener: &TcpListener, answer: fn(&str, &str) -> Answer) -> Result<()> {
    loop {
        let (connection, _) = listener.accept()?;
        thread::spawn(move || {
            // Whoever connects only to see whether the port is open hangs up without a request.
            let _ = serve_connection(connection, answer);
        });
    }
}

fn serve_connection(mut connection: TcpStream, answer: fn(&str, &str) -> Answer) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection.try_clone()?);
    loop {
        let Head { start, length, closes } = read_head(&mut reader)?;
        let mut words = start.split(' ');
        let (method, path) = words.next().zip(words.next()).context("not a request line")?;
        std::io::copy(&mut reader.by_ref().take(length.unwrap_or(0)), &mut std::io::sink())?;
        let (status, body) = answer(method, path).unwrap_or_else(|error| (502, format!("{error:#}")));
        let reason = if status < 400 { "OK" } else { "Refused" };
        let length = body.len();
        // One write, so that no packet waits for the acknowledgement of the one before.
        let text =
            format!("HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}");
        connection.write_all(text.as_bytes())?;
        if closes {
            return Ok(());
        }
    }
}

/// Calls the service whose address the environment has under this name, on a connection of its own.
pub fn call(service: &str, method: &str, path: &str) -> Answer {
    let address = env::var(service).with_context(|| format!("{service} is not set"))?;
    let mut connection = TcpStream::connect(&address).with_context(|| format!("cannot reach {service}"))?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    connection.write_all(head.as_bytes())?;
    let mut reader = BufReader::new(connection);
    let head = read_head(&mut reader)?;
    let status = head.start.split(' ').nth(1).and_then(|status| status.parse().ok()).context("not a status line")?;
    let mut body = String::new();
    reader.take(head.length.unwrap_or(u64::MAX)).read_to_string(&mut body)?;
    Ok((status, body))
}

struct Head {
    start: String,
    /// `Content-Length`.
    length: Option<u64>,
    /// `Connection: close`.
    closes: bool,
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Result<Head> {
    let mut lines = reader.lines();
    let mut line = || lines.next().context("the connection was closed")?.map_err(anyhow::Error::from);
    let mut head = Head { start: line()?, length: None, closes: false };
    loop {
        let line = line()?.to_ascii_lowercase();
        match line.split_once(": ") {
            Some(("content-length", length)) => head.length = Some(length.trim().parse()?),
            Some(("connection", "close")) => head.closes = true,
            _ if line.is_empty() => return Ok(head),
            _ => {}
        }
    }
}
