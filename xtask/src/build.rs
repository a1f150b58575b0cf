// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask build`: one static binary, the kernel programs inside it.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::{
    setup,
    steps::{run as run_step, say},
    workspace::{TARGET, cargo, onlooker, target},
};

/// Gives the path of the binary.
pub fn run() -> Result<PathBuf> {
    setup::run()?;
    run_step(&mut cargo(["build", "--release", "--package", "onlooker", "--bin", "onlooker", "--target", TARGET]))?;
    let built = target().join(TARGET).join("release/onlooker");
    let image = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    ensure!(!asks_for_an_interpreter(&image)?, "{} is not static: it asks for a dynamic loader", built.display());

    // Put in place by renaming: a binary that is running cannot be written to.
    let place = onlooker();
    let fresh = place.with_extension("new");
    fs::create_dir_all(place.parent().expect("it lies in a folder"))?;
    fs::copy(&built, &fresh)?;
    fs::rename(&fresh, &place)?;
    let megabytes = image.len() as f64 / 1e6;
    say(format!("build: {} (static, {megabytes:.1} MB)", place.display()));
    Ok(place)
}

/// Whether an ELF file of 64 bits, little-endian, has a `PT_INTERP` program header (System V ABI, chapter 5).
fn asks_for_an_interpreter(image: &[u8]) -> Result<bool> {
    const PT_INTERP: u32 = 3;
    ensure!(image.starts_with(b"\x7fELF\x02\x01"), "not an ELF file of 64 bits");
    let table = u64::from_le_bytes(field(image, 32)?) as usize;
    let size = usize::from(u16::from_le_bytes(field(image, 54)?));
    let count = usize::from(u16::from_le_bytes(field(image, 56)?));
    for index in 0..count {
        if u32::from_le_bytes(field(image, table + index * size)?) == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}

fn field<const N: usize>(image: &[u8], offset: usize) -> Result<[u8; N]> {
    let bytes = image.get(offset..).and_then(|rest| rest.first_chunk()).context("the ELF file is cut short")?;
    Ok(*bytes)
}
