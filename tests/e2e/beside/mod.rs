// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Beside others: an SDK in the program itself, proxies on both sides of it, and other programs in the kernel that look at
//! the same. Nobody is in the way of anybody, and what they tell fits together.

mod observers;
mod sdk;
mod sidecar;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use onlooker_tests::PATIENCE;

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/beside").join(name)
}

/// Asks once over a connection of its own, and wants a 200. `fields` are whole lines of the head.
fn ask(address: SocketAddr, path: &str, fields: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n{fields}\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.split(' ').nth(1) == Some("200"), "{path}: {answer}");
    Ok(())
}

/// A context for the request of this number: the ids, and the line that carries them.
fn context(number: usize) -> (String, String, String) {
    let (trace, parent) = (format!("{:032x}", 0xabcd_0000 + number), format!("{:016x}", 0xef00 + number));
    let line = format!("traceparent: 00-{trace}-{parent}-01\r\n");
    (trace, parent, line)
}
