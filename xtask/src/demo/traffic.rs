// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The customers of the demo's shop: a fixed number of requests, one after the other, evenly spread.
//!
//! One after the other, so that each service has one request open at a time and every parent is certain.

use std::{
    collections::BTreeMap,
    fmt,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

pub const REQUESTS: u32 = 40;

/// Between the starts of two requests.
const PACE: Duration = Duration::from_millis(125);

/// Longer: a hung service holds the demo. Shorter: a slow one is reported as broken.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many answers had which status.
pub struct Answers(BTreeMap<u16, u32>);

impl fmt::Display for Answers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: Vec<String> = self.0.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        write!(formatter, "the gateway answered {}", answers.join(", "))
    }
}

pub fn send(gateway: u16) -> Result<Answers> {
    let start = Instant::now();
    let mut answers = BTreeMap::new();
    for number in 0..REQUESTS {
        thread::sleep((PACE * number).saturating_sub(start.elapsed()));
        let (method, path) = match number {
            _ if number % 3 == 0 => ("POST", "/api/orders".to_owned()),
            _ if number % 10 == 7 => ("GET", "/api/orders/1404".to_owned()),
            _ => ("GET", format!("/api/orders/{}", 100 + number)),
        };
        *answers.entry(request(gateway, method, &path)?).or_default() += 1;
    }
    Ok(Answers(answers))
}

/// The status of the answer, which is read to its end.
pub fn request(port: u16, method: &str, path: &str) -> Result<u16> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    let host = format!("Host: 127.0.0.1:{port}\r\nUser-Agent: customer");
    connection.write_all(
        format!("{method} {path} HTTP/1.1\r\n{host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let head = String::from_utf8_lossy(&answer);
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer is not HTTP")
}
