// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What client and server say to each other: a small request, a response of a given length.
//!
//! As HTTP/1.1, or as text of the very same lengths that is no protocol, one at a time; or as HTTP/2, ten at once. Neither
//! end parses: both know the lengths.

use std::{io, str::FromStr};

use anyhow::{Result, bail, ensure};

use crate::{Parameters, http2};

#[derive(Clone, Copy, Debug)]
pub struct Talk {
    pub speech: Speech,
    pub response_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    Http1,
    Http2,
    NoProtocol,
}

impl Speech {
    const ALL: [(&str, Self); 3] = [("http1", Self::Http1), ("http2", Self::Http2), ("none", Self::NoProtocol)];

    /// Requests that wait for their responses together.
    pub const fn at_once(self) -> usize {
        match self {
            Self::Http1 | Self::NoProtocol => 1,
            Self::Http2 => 10,
        }
    }

    /// Measurements of which the middle one counts: where several requests are under way, the scheduler has a say now and then,
    /// in one run of some fifty.
    pub const fn repetitions(self) -> usize {
        if self.at_once() == 1 { 1 } else { 3 }
    }
}

impl FromStr for Speech {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = Self::ALL.iter().find(|(known, _)| *known == name);
        known.map_or_else(|| bail!("no speech {name}"), |(_, speech)| Ok(*speech))
    }
}

/// Where not HTTP/2 is spoken.
const REQUEST_BYTES: usize = 80;

/// Of the smallest response; one of a body that matters has more.
const SMALL_BODY: &str = "0123456789";

const NO_PROTOCOL: &[u8] = b"~ some text that is not of any protocol ";

impl Talk {
    pub fn read(parameters: &Parameters) -> Result<Self> {
        Ok(Self { speech: parameters.text("speech")?.parse()?, response_bytes: parameters.number("response")? })
    }

    /// As parameters of another process.
    pub fn parameters(self) -> [String; 2] {
        let name = Speech::ALL.iter().find(|(_, speech)| *speech == self.speech).map_or("", |(name, _)| name);
        [format!("speech={name}"), format!("response={}", self.response_bytes)]
    }

    /// What the client says, and what the server answers.
    pub fn words(self) -> Result<[Words; 2]> {
        let words = match self.speech {
            Speech::NoProtocol => [REQUEST_BYTES, self.response_bytes].map(|bytes| repeated(NO_PROTOCOL, bytes)),
            Speech::Http1 => [request(), response(self.response_bytes)],
            Speech::Http2 => {
                ensure!(self.response_bytes <= http2::MOST_BYTES, "HTTP/2 is spoken in small responses only");
                return Ok([http2::requests(), http2::responses(self.response_bytes)]);
            }
        };
        Ok(words.map(Words::same))
    }
}

/// What one end says on a connection, message by message.
pub struct Words {
    pub first: Vec<u8>,
    pub others: Vec<u8>,
    /// Where in the others numbers of streams stand; in the first, it is 1.
    pub streams: Vec<usize>,
}

impl Words {
    fn same(words: Vec<u8>) -> Self {
        Self { first: words.clone(), others: words, streams: Vec::new() }
    }

    /// The bytes of the message with this number, from 0 on.
    pub fn length(&self, number: u32) -> usize {
        if number == 0 { self.first.len() } else { self.others.len() }
    }

    pub fn say(&mut self, number: u32) -> &[u8] {
        if number == 0 {
            return &self.first;
        }
        for at in &self.streams {
            self.others[*at..at + size_of::<u32>()].copy_from_slice(&(2 * number + 1).to_be_bytes());
        }
        &self.others
    }
}

fn request() -> Vec<u8> {
    filled("GET /items/7 HTTP/1.1\r\nHost: localhost\r\n", REQUEST_BYTES)
}

fn response(bytes: usize) -> Vec<u8> {
    let head = |body: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n");
    if bytes < 1000 {
        let mut response = filled(&head(SMALL_BODY.len()), bytes - SMALL_BODY.len());
        response.extend_from_slice(SMALL_BODY.as_bytes());
        return response;
    }
    // With an estimate first: the body's length stands in the head, whose length it depends on.
    let estimate = head(bytes).len() + "\r\n".len();
    let body = bytes - head(bytes - estimate).len() - "\r\n".len();
    let mut response = head(body).into_bytes();
    response.extend_from_slice(b"\r\n");
    response.resize(bytes, b'.');
    response
}

/// A head of this length: a field is added whose value fills it.
fn filled(begin: &str, bytes: usize) -> Vec<u8> {
    let (name, end) = ("X: ", "\r\n\r\n");
    let fill = bytes.saturating_sub(begin.len() + name.len() + end.len());
    format!("{begin}{name}{}{end}", "x".repeat(fill)).into_bytes()
}

fn repeated(text: &[u8], bytes: usize) -> Vec<u8> {
    text.iter().copied().cycle().take(bytes).collect()
}

/// Lets the others go on until this process waits, where several requests are under way: who runs when a call wakes the
/// other end is otherwise the scheduler's to say, and differs from boot to boot.
pub fn take_turns(speech: Speech) -> io::Result<()> {
    if speech.at_once() == 1 {
        return Ok(());
    }
    // The kernel's own `struct sched_param` is this number. musl refuses the function for it.
    let (this_process, priority): (libc::pid_t, libc::c_int) = (0, 0);
    // SAFETY: the number is alive.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, this_process, libc::SCHED_BATCH, &raw const priority) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As many descriptors as the machine grants: a connection is one at each end.
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one structure they are given.
    let result = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
