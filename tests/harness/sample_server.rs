// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sample server as a process: listens where its argument says, or at a free loopback port, prints its address, and
//! serves until its standard input ends.

use std::{
    env,
    io::{Read as _, stdin},
};

use onlooker_tests::{Server, server};

fn main() -> anyhow::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let server = Server::start_at(&address, server::sample)?;
    println!("{}", server.address());
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
