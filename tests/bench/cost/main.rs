// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's side of `cargo xtask bench cost`: makes the states of the bench and prints what each costs.
//!
//! Runs where the clock counts instructions (QEMU's icount), so that a nanosecond is an instruction; `start` alone runs
//! on a real machine. In: a role and its
//! parameters as `name=value`. Out: lines of words for the host (`xtask/src/bench/cost/`), which makes tables of them:
//! `state`, `program`, `function`, `figure`, `ledger`, `scale` and `start`. It compares nothing.

use std::env;

use anyhow::{Context as _, Result, bail};

mod accounts;
mod bpf;
mod client;
mod floor;
mod hooks;
mod http2;
mod measure;
mod perf;
mod processes;
mod profile;
mod scale;
mod server;
mod sink;
mod start;
mod states;
mod talk;

use talk::Talk;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let role = arguments.next().context("no role")?;
    let parameters = Parameters(arguments.collect());
    match role.as_str() {
        "server" => {
            server::serve(Talk::read(&parameters)?, parameters.number("port")?, parameters.number("connections")?)
        }
        "client" => client::ask(Talk::read(&parameters)?, &client::Reach::read(&parameters)?),
        "sink" => sink::swallow(),
        "states" => states::run(&parameters),
        "start" => start::run(&parameters),
        "scale" => scale::run(&parameters),
        _ => bail!("no role {role}"),
    }
}

/// What was given as `name=value`.
struct Parameters(Vec<String>);

impl Parameters {
    fn text(&self, name: &str) -> Result<&str> {
        let value = self.0.iter().find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='));
        value.with_context(|| format!("{name} is not given"))
    }

    fn number<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(&self, name: &str) -> Result<T> {
        let text = self.text(name)?;
        text.parse().with_context(|| format!("{name}: {text}"))
    }
}
