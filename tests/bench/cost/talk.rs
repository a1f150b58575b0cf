// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What client and server say to each other: a request of 80 bytes, a response of a given length.
//!
//! As HTTP/1.1, or as text of the very same lengths that is no protocol. Neither end parses: both know the lengths.

use std::io;

use anyhow::Result;

use crate::Parameters;

#[derive(Clone, Copy, Debug)]
pub struct Talk {
    pub is_http: bool,
    pub response_bytes: usize,
}

pub const REQUEST_BYTES: usize = 80;

/// Of the smallest response; one of a body that matters has more.
const SMALL_BODY: &str = "0123456789";

const NO_PROTOCOL: &[u8] = b"~ some text that is not of any protocol ";

impl Talk {
    pub fn read(parameters: &Parameters) -> Result<Self> {
        Ok(Self { is_http: parameters.number("http")?, response_bytes: parameters.number("response")? })
    }

    /// As parameters of another process.
    pub fn parameters(self) -> [String; 2] {
        [format!("http={}", self.is_http), format!("response={}", self.response_bytes)]
    }

    pub fn request(self) -> Vec<u8> {
        if !self.is_http {
            return repeated(NO_PROTOCOL, REQUEST_BYTES);
        }
        let begin = "GET /items/7 HTTP/1.1\r\nHost: localhost\r\n";
        filled(begin, REQUEST_BYTES)
    }

    pub fn response(self) -> Vec<u8> {
        if !self.is_http {
            return repeated(NO_PROTOCOL, self.response_bytes);
        }
        let head = |body: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n");
        if self.response_bytes < 1000 {
            let mut response = filled(&head(SMALL_BODY.len()), self.response_bytes - SMALL_BODY.len());
            response.extend_from_slice(SMALL_BODY.as_bytes());
            return response;
        }
        // With an estimate first: the body's length stands in the head, whose length it depends on.
        let estimate = head(self.response_bytes).len() + "\r\n".len();
        let body = self.response_bytes - head(self.response_bytes - estimate).len() - "\r\n".len();
        let mut response = head(body).into_bytes();
        response.extend_from_slice(b"\r\n");
        response.resize(self.response_bytes, b'.');
        response
    }
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
