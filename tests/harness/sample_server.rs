// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sample server as a process: prints its address, serves until its standard input ends.

use std::io::{Read as _, stdin};

use onlooker_tests::{Server, server};

fn main() -> anyhow::Result<()> {
    let server = Server::start(server::sample)?;
    println!("{}", server.address());
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
