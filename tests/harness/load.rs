// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A load generator whose counts are exact: in, how many requests over how many connections; out, what was answered.
//!
//! A request is counted only when its whole response has come, and the last one is waited for: what is reported is what
//! the server has answered. Responses must carry a Content-Length. A few threads drive all connections, so that the
//! generator leaves the machine to the server.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

/// More would take the processor from the server; fewer cannot keep it busy.
const MOST_THREADS: usize = 2;

/// A server that is silent for longer has lost a request.
const SILENCE: Duration = Duration::from_secs(20);

/// What to send. The requests are numbered from 0; each number is sent exactly once.
#[derive(Clone, Debug)]
pub struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    pub requests: u64,
    /// Else each request has a connection of its own.
    pub keep_alive: bool,
    /// The request's target, in front of its number.
    pub prefix: String,
}

#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    pub answered: u64,
    pub by_status: BTreeMap<u16, u64>,
    pub elapsed: Duration,
    /// From the request's write to the response's last byte, sorted.
    pub latencies: Vec<Duration>,
}

impl LoadReport {
    /// The latency that this share of the requests stayed within.
    #[must_use]
    pub fn latency(&self, share: f64) -> Duration {
        let index = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(index.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load {
    /// Requests to `/{number}`.
    #[must_use]
    pub fn new(address: SocketAddr, connections: usize, requests: u64, keep_alive: bool) -> Self {
        Self { address, connections, requests, keep_alive, prefix: "/".into() }
    }

    /// With another target in front of the numbers.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sends all, and returns when all are answered.
    ///
    /// # Errors
    ///
    /// A connection was refused or broke, an answer could not be understood, or none came for long.
    pub fn run(&self) -> Result<LoadReport> {
        let threads = MOST_THREADS.min(self.connections).max(1);
        let next = AtomicU64::new(0);
        let start = Instant::now();
        let reports = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|thread| {
                    let connections = self.connections / threads + usize::from(thread < self.connections % threads);
                    let next = &next;
                    scope.spawn(move || Worker { load: self, next, report: LoadReport::default() }.run(connections))
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker returns its errors")).collect::<Vec<_>>()
        });
        let mut total = LoadReport { elapsed: start.elapsed(), ..LoadReport::default() };
        for report in reports {
            let report = report?;
            total.answered += report.answered;
            total.latencies.extend(report.latencies);
            for (status, count) in report.by_status {
                *total.by_status.entry(status).or_default() += count;
            }
        }
        total.latencies.sort_unstable();
        ensure!(total.answered == self.requests, "{} of {} requests were answered", total.answered, self.requests);
        Ok(total)
    }
}

struct Worker<'a> {
    load: &'a Load,
    next: &'a AtomicU64,
    report: LoadReport,
}

struct Connection {
    stream: TcpStream,
    sent_at: Instant,
    received: Vec<u8>,
}

impl Worker<'_> {
    fn run(mut self, connections: usize) -> Result<LoadReport> {
        let mut poll = Poll::new()?;
        let mut open: Vec<Option<Connection>> = (0..connections).map(|_| None).collect();
        let mut busy = 0;
        for (index, slot) in open.iter_mut().enumerate() {
            let Some(number) = self.take_number() else { break };
            *slot = Some(self.connect(&poll, index, number)?);
            busy += 1;
        }
        let mut events = Events::with_capacity(1024);
        while busy > 0 {
            poll.poll(&mut events, Some(SILENCE))?;
            ensure!(!events.is_empty(), "no answer for {SILENCE:?}; {busy} connections wait");
            for event in &events {
                let Token(index) = event.token();
                let Some(connection) = &mut open[index] else { continue };
                let Some(status) = connection.receive()? else { continue };
                self.report.answered += 1;
                *self.report.by_status.entry(status).or_default() += 1;
                self.report.latencies.push(connection.sent_at.elapsed());
                match self.take_number() {
                    Some(number) if self.load.keep_alive => connection.send(self.load, number)?,
                    number => {
                        open[index] = number.map(|number| self.connect(&poll, index, number)).transpose()?;
                        busy -= usize::from(open[index].is_none());
                    }
                }
            }
        }
        Ok(self.report)
    }

    fn take_number(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.load.requests).then_some(number)
    }

    fn connect(&self, poll: &Poll, index: usize, number: u64) -> Result<Connection> {
        let stream = std::net::TcpStream::connect(self.load.address).context("a connection was refused")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        let mut connection = Connection { stream, sent_at: Instant::now(), received: Vec::new() };
        connection.send(self.load, number)?;
        Ok(connection)
    }
}

impl Connection {
    fn send(&mut self, load: &Load, number: u64) -> Result<()> {
        let close = if load.keep_alive { "" } else { "Connection: close\r\n" };
        let request = format!("GET {}{number} HTTP/1.1\r\nHost: {}\r\n{close}\r\n", load.prefix, load.address);
        self.received.clear();
        self.sent_at = Instant::now();
        // The socket's buffer is empty: a request of some hundred bytes always fits.
        self.stream.write_all(request.as_bytes()).context("a request could not be sent")
    }

    /// The status, once the response is whole.
    fn receive(&mut self) -> Result<Option<u16>> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("the server closed before it had answered"),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("a connection broke"),
            }
            if let Some((status, length)) = response_length(&self.received)? {
                ensure!(self.received.len() <= length, "more was sent than one response");
                if self.received.len() == length {
                    return Ok(Some(status));
                }
            }
        }
    }
}

/// Opens connections, each of which asks once, is answered, and then stays open and silent.
///
/// # Errors
///
/// A connection was refused, or a request not answered.
pub fn open_idle(address: SocketAddr, connections: usize) -> Result<Vec<std::net::TcpStream>> {
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let open = |_| {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.write_all(request.as_bytes())?;
        let (mut received, mut chunk) = (Vec::new(), [0; 4096]);
        while response_length(&received)?.is_none_or(|(_, length)| received.len() < length) {
            let length = stream.read(&mut chunk)?;
            ensure!(length > 0, "the server closed before it had answered");
            received.extend_from_slice(&chunk[..length]);
        }
        Ok(stream)
    };
    (0..connections).map(open).collect()
}

/// Status and whole length of the response that begins here, once its head is whole.
fn response_length(received: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(head) = received.windows(4).position(|window| window == b"\r\n\r\n").map(|end| end + 4) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&received[..head]).context("the head is not text")?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .context("the response has no Content-Length")?;
    Ok(Some((status, head + length)))
}

/// Lets this process, and what it starts, open as many files as the machine grants: thousands of connections have as many
/// descriptors at each end.
///
/// # Errors
/// Where the kernel refuses.
pub fn raise_open_files() -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one structure they are given, which lives on this stack.
    let result = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    ensure!(result == 0, "the limit of open files stays where it is: {}", std::io::Error::last_os_error());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Server, server};

    #[test]
    fn every_request_is_answered_once() {
        for (connections, keep_alive) in [(1, true), (7, true), (7, false)] {
            let server = Server::start(server::sample).unwrap();
            let report = Load::new(server.address(), connections, 100, keep_alive).run().unwrap();
            assert_eq!((report.answered, server.answered()), (100, 100));
            assert_eq!(report.by_status, BTreeMap::from([(200, 100)]));
            assert_eq!(report.latencies.len(), 100);
            assert!(report.latency(0.5) <= report.latency(0.99));
        }
    }

    #[test]
    fn idle_connections_have_asked_once() {
        let server = Server::start(server::sample).unwrap();
        assert_eq!(open_idle(server.address(), 30).unwrap().len(), 30);
        assert_eq!(server.answered(), 30);
    }

    #[test]
    fn a_server_that_closes_early_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let closing = thread::spawn(move || drop(listener.accept().unwrap()));
        assert!(Load::new(address, 1, 1, true).run().is_err());
        closing.join().unwrap();
    }
}
