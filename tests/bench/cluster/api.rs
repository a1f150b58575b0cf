// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Objects to the API server, hundreds a second: through `kubectl proxy`, which does what TLS and tokens take, over one
//! connection.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Child,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Cluster, PATIENCE, poll_until};

pub struct Api {
    proxy: Child,
    stream: BufReader<TcpStream>,
}

impl Api {
    pub fn start(cluster: &Cluster) -> Result<Self> {
        let (proxy, address) = cluster.proxy()?;
        let stream = connect(address)?;
        Ok(Self { proxy, stream })
    }

    pub fn post(&mut self, path: &str, object: &str) -> Result<()> {
        self.ask("POST", path, "application/json", object)
    }

    pub fn put(&mut self, path: &str, object: &str) -> Result<()> {
        self.ask("PUT", path, "application/json", object)
    }

    pub fn patch(&mut self, path: &str, object: &str) -> Result<()> {
        self.ask("PATCH", path, "application/merge-patch+json", object)
    }

    fn ask(&mut self, method: &str, path: &str, kind: &str, object: &str) -> Result<()> {
        let length = object.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        self.stream.get_mut().write_all((head + object).as_bytes())?;
        let (mut status, mut length, mut is_chunked) = (String::new(), 0, false);
        self.stream.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", number)) => length = number.parse()?,
                Some(("transfer-encoding", "chunked")) => is_chunked = true,
                Some(_) => {}
                None => break,
            }
        }
        let body = if is_chunked { self.chunks()? } else { self.bytes(length)? };
        ensure!(status.contains(" 20"), "{method} {path}: {status}{}", String::from_utf8_lossy(&body));
        Ok(())
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).context("no chunk's length")?;
            whole.append(&mut self.bytes(length)?);
            self.stream.read_line(&mut line)?;
            if length == 0 {
                return Ok(whole);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let stream = poll_until("the proxy listens", PATIENCE, || TcpStream::connect(address).ok())?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}
