// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask vm`: kernels that this machine does not run, booted in QEMU, and what must hold on each of them.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::steps::say;

mod archive;
mod document;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod matrix;
mod programs;
mod shell;

pub use guest::{Guest, Job};
pub use initramfs::GuestFile;
pub use kernel::series;
pub use machine::Machine;

use matrix::Choice;

/// `[KERNEL…] [--backend NAME] [--test NAME] [--update]`: the kernel tests on these kernels, or on all.
pub fn run(options: &[&str]) -> Result<()> {
    let mut options = options.iter();
    let (mut kernels, mut choice, mut update) = (Vec::new(), Choice::default(), false);
    while let Some(&option) = options.next() {
        let mut value = || options.next().copied().with_context(|| format!("{option} needs a value"));
        match option {
            "--backend" => choice.backend = Some(value()?),
            "--test" => choice.test = Some(value()?),
            "--update" => update = true,
            name => kernels.push(series(name)?),
        }
    }
    let is_whole = kernels.is_empty() && choice == Choice::default();
    ensure!(is_whole || !update, "--update needs the whole matrix");
    if kernels.is_empty() {
        kernels.extend(kernel::ALL);
    }
    let outcomes = matrix::run(&kernels, choice)?;
    print!("\n{}", matrix::summary(&outcomes));
    let tally = matrix::total(&outcomes);
    println!("{tally}");
    ensure!(tally.failed == 0, "there are failed tests");
    if update {
        document::update(&outcomes)?;
    }
    Ok(())
}

/// Longer than any program that someone waits for; shorter, and it would end what someone looks at.
const PROGRAM_LIMIT: Duration = Duration::from_secs(600);

/// Runs one static program of the host in a guest.
pub fn run_program(kernel: &str, program: &str, arguments: &[&str]) -> Result<()> {
    let kernel = series(kernel)?.fetch()?;
    say(format!("vm: {program} on {} ({})", kernel.name, kernel.release));
    let place = format!("/bin/{}", Path::new(program).file_name().unwrap_or_default().display());
    let guest =
        Guest { kernel: &kernel, processors: 2, memory_mib: 1024, counts_instructions: false, kernel_arguments: "" };
    let job = Job {
        files: vec![GuestFile::program(&place, program)],
        command: [place.as_str()].iter().chain(arguments).map(|&word| word.to_owned()).collect(),
        environment: Vec::new(),
    };
    let report = guest.run(&job, PROGRAM_LIMIT, |line| println!("{line}"))?;
    ensure!(report.status == 0, "the program ended with the status {}", report.status);
    Ok(())
}
