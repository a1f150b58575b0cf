// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask bench cost --start`: what starting takes on this machine, a backend a line. One that this kernel refuses
//! is named, and is no failure: no figure is held to anything here, for this is time and not instructions.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::{figures::Place, guest::Programs};
use crate::{steps::output_of, workspace::is_root};

pub fn run(programs: &Programs, places: &[Place]) -> Result<()> {
    ensure!(is_root(), "bench cost --start needs root, to load the kernel programs");
    for Place { backend, .. } in places {
        let output = output_of(programs.here("start").arg(format!("backend={backend}")))?;
        let words = output.lines().filter_map(|line| line.strip_prefix("start ")?.split_once(' '));
        let figures: BTreeMap<&str, &str> = words.collect();
        match (figures.get("cpu"), figures.get("ready"), figures.get("first_span")) {
            (Some(cpu), Some(ready), Some(span)) => {
                println!(
                    "{backend:<8} ready after {ready} ms, of them {cpu} on the processor; first span after {span} ms"
                );
            }
            _ => println!("{backend:<8} does not start here: {}", output.lines().next().unwrap_or("it says nothing")),
        }
    }
    Ok(())
}
