// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A start on a machine with many processes and a large program: what it takes, and for how long.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::Onlooker;

use super::program::{Program, Workshop};

const PROCESSES: usize = 300;
const BINARY_BYTES: u64 = 300 << 20;
const MOST_MEMORY: u64 = 60 << 20;
const MOST_TIME: Duration = Duration::from_secs(3);

/// Where ELF's headers say something (elf(5)).
const SECTIONS_AT: u64 = 0x28;
const SECTION_COUNT_AT: u64 = 0x3c;
const SECTION_BYTES: u64 = 64;
const SYMBOLS: u32 = 2;

/// Processes that do nothing. Dropped, they are killed.
struct Idle(Vec<Child>);

impl Drop for Idle {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program with a table of names of hundreds of megabytes, nearly all of which are nobody's.
fn large_program(workshop: &Workshop) -> Result<PathBuf> {
    let path = workshop.path().join("large");
    fs::copy(env!("CARGO_BIN_EXE_tls-rustls"), &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let file = File::options().read(true).write(true).open(&path)?;
    let number = |at: u64, bytes: usize| -> Result<u64> {
        let mut number = [0; 8];
        file.read_exact_at(&mut number[..bytes], at)?;
        Ok(u64::from_le_bytes(number))
    };
    let sections = number(SECTIONS_AT, 8)?;
    let header = |index: u64| sections + index * SECTION_BYTES;
    let symbols = (0..number(SECTION_COUNT_AT, 2)?)
        .find(|index| number(header(*index) + 4, 4).is_ok_and(|kind| kind == u64::from(SYMBOLS)));
    let names = header(number(header(symbols.context("it has symbols")?) + 40, 4)?);
    let (offset, size) = (number(names + 24, 8)?, number(names + 32, 8)?);
    let mut text = vec![0; usize::try_from(size)?];
    file.read_exact_at(&mut text, offset)?;
    let end = file.metadata()?.len();
    // As every other name would be: bytes that are no zeros.
    text.resize(usize::try_from(BINARY_BYTES)?, b'x');
    file.write_all_at(&text, end)?;
    file.write_all_at(&end.to_le_bytes(), names + 24)?;
    file.write_all_at(&BINARY_BYTES.to_le_bytes(), names + 32)?;
    Ok(path)
}

fn start(arguments: &[&str]) -> Result<(Duration, Onlooker)> {
    let began = Instant::now();
    let onlooker = Onlooker::start(arguments, &[])?;
    Ok((began.elapsed(), onlooker))
}

#[test]
fn three_hundred_processes_and_a_large_program() -> Result<()> {
    let workshop = Workshop::new()?;
    let large = large_program(&workshop)?;
    let sleeper = || Command::new("sleep").arg("infinity").stdin(Stdio::null()).spawn();
    let _idle = Idle((0..PROCESSES).map(|_| sleeper()).collect::<std::io::Result<_>>()?);
    let program = || -> Result<Program> {
        let mut command = Command::new(&large);
        command.args(["1", "2", "1"]);
        Program::start(command, &workshop)
    };
    let mut programs: Vec<Program> = (0..5).map(|_| program()).collect::<Result<_>>()?;

    let (alone, nothing) = start(&["--exe", "/nothing"])?;
    nothing.stop()?;
    let (took, onlooker) = start(&["--exe", "*/{sleep,large}"])?;
    let most = onlooker.memory_bytes("VmHWM")?;
    println!("ready after {took:?}, with {} MB at most", most >> 20);
    ensure!(most <= MOST_MEMORY, "{} MB of memory at most", most >> 20);
    // On a machine that is busy with other things a start takes its time whatever there is to be looked at.
    ensure!(took <= MOST_TIME.max(alone * 2), "ready after {took:?} only, and after {alone:?} with nothing to look at");
    let metrics = onlooker.metrics()?;
    ensure!(metrics.total("onlooker_processes_watched_total") >= PROCESSES as u64, "{metrics:?}");
    let path = programs[0].go()?.pop_first().context("it has asked for something")?;
    let finished = onlooker.stop()?;
    let told = finished.stderr.lines().filter(|line| line.contains("reading rustls in large")).count();
    ensure!(told == 1, "it was looked into {told} times: {}", finished.stderr);
    ensure!(finished.spans.iter().any(|span| super::path(span) == Some(&path)), "{path} is missing");
    Ok(())
}
