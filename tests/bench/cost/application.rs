// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The application that is measured: a client and a server as plain as C, so that what they cost hides nothing.
//!
//! Blocking calls, one thread, buffers made before the first request; a request is one write and one read at each end
//! where it fits. The client is told on stdin how many requests to make, and says on stdout how long they took. Neither
//! understands HTTP: both know the lengths.

use std::{
    io::{self, BufRead as _, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

/// What is said over the connections: lengths of both directions, and whether it is HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    pub is_http: bool,
    pub response_bytes: usize,
}

const PORT: u16 = 8080;
const REQUEST_BYTES: usize = 80;

/// Room for one read. Larger: fewer reads of a large response than programs make. Smaller: more.
const READ_BYTES: usize = 64 * 1024;

impl Talk {
    fn request(self) -> Vec<u8> {
        self.padded("GET /items/7 HTTP/1.1\r\nHost: localhost:8080\r\n", "X-Fill: ", "\r\n\r\n", REQUEST_BYTES)
    }

    /// A head that says how long the body is, and the body.
    fn response(self) -> Vec<u8> {
        let small = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n";
        if self.response_bytes < 1000 {
            let mut response = self.padded(small, "X-Fill: ", "\r\n\r\n", self.response_bytes - 10);
            response.resize(self.response_bytes, b'.');
            return response;
        }
        // The digits of a length that is near are those of the length itself.
        let head = |body: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n");
        let body = self.response_bytes - head(self.response_bytes - 50).len();
        let mut response = if self.is_http { head(body).into_bytes() } else { Vec::new() };
        response.resize(self.response_bytes, b'.');
        response
    }

    fn padded(self, begin: &str, field: &str, end: &str, bytes: usize) -> Vec<u8> {
        if !self.is_http {
            return b"0 some text of this length that is not of any protocol ".iter().copied().cycle().take(bytes).collect();
        }
        let filled = begin.len() + end.len() + field.len();
        let fill = if bytes > filled { format!("{field}{}", "f".repeat(bytes - filled)) } else { String::new() };
        format!("{begin}{fill}{end}").into_bytes()
    }
}

/// Answers connections one after the other until it is killed; with more than one at a time, through epoll.
pub fn serve(talk: Talk) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let response = talk.response();
    let mut request = [0; REQUEST_BYTES];
    println!("ready");
    loop {
        let (mut connection, _) = listener.accept()?;
        connection.set_nodelay(true)?;
        loop {
            let count = connection.read(&mut request)?;
            if count == 0 {
                break;
            }
            ensure!(count == REQUEST_BYTES, "a request of {count} bytes");
            connection.write_all(&response)?;
        }
    }
}

/// Obeys lines of stdin: a number of requests each. Says the nanoseconds that they took.
pub fn ask(talk: Talk) -> Result<()> {
    let request = talk.request();
    ensure!(request.len() == REQUEST_BYTES, "the request has {} bytes", request.len());
    ensure!(talk.response().len() == talk.response_bytes, "the response has {} bytes", talk.response().len());
    let mut response = vec![0; READ_BYTES];
    let mut connection = None;
    println!("ready");
    for line in io::stdin().lock().lines() {
        let requests: u64 = line?.parse().context("a number of requests")?;
        let connection = match &mut connection {
            Some(connection) => connection,
            none => {
                let opened = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
                opened.set_nodelay(true)?;
                none.insert(opened)
            }
        };
        let begin = Instant::now();
        for _ in 0..requests {
            connection.write_all(&request)?;
            let mut left = talk.response_bytes;
            while left > 0 {
                let count = connection.read(&mut response)?;
                ensure!(count > 0, "the server has closed");
                left -= count;
            }
        }
        println!("{}", begin.elapsed().as_nanos());
    }
    Ok(())
}
