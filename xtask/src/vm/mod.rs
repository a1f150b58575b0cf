// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask vm`: kernels that this machine does not run, booted in QEMU, and what must hold on each of them.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{steps::say, tally::Tally, workspace::find_program};

mod archive;
mod document;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod matrix;
mod programs;
mod shell;
mod table;
mod tls_programs;

pub use guest::{Guest, Job};
pub use initramfs::GuestFile;
pub use kernel::series;
pub use machine::Machine;

use matrix::{Choice, Outcome};
use table::Table;

/// `[KERNEL…] [--backend NAME] [--test NAME] [--update]`: the kernel tests on these kernels, or on all. What passes is
/// written into the tables, for what was run: what the programs are into theirs, and how many tests pass where all ran.
pub fn run(options: &[&str]) -> Result<()> {
    let mut options = options.iter();
    let (mut kernels, mut choice, mut update) = (Vec::new(), Choice::default(), false);
    while let Some(&option) = options.next() {
        let mut value = || options.next().copied().with_context(|| format!("{option} needs a value"));
        match option {
            "--backend" => choice.backend = Some(value()?),
            "--test" => choice.tests.push(value()?),
            "--update" => update = true,
            name => kernels.push(series(name)?),
        }
    }
    if kernels.is_empty() {
        kernels.extend(kernel::ALL);
    }
    let outcomes = report(&kernels, &choice)?;
    ensure!(matrix::total(&outcomes).failed == 0, "there are failed tests");
    if update {
        if choice.tests.is_empty() {
            document::update(&outcomes)?;
        }
        Table::committed()?.renewed(&matrix::table(&outcomes)).write()?;
    }
    Ok(())
}

/// What every kernel and backend has to pass in CI: one way through each part of the kernel programs. The whole takes
/// hours where processors are emulated.
const CORE: [&str; 8] = [
    "calls::every_pair_of_calls",
    "calls::sendfile_and_splice",
    "connections::every_family",
    "connections::joined_late",
    "descriptors::copied",
    "watching::a_process_by_its_id_and_its_children_through_exec",
    "programs::every_program_loads_whatever_it_is_told",
    "kernels::",
];

/// Why this machine cannot boot guests.
pub fn obstacle() -> Option<String> {
    let missing = ["apt-get", "dpkg-deb", "setpriv"].into_iter().find(|program| find_program(program).is_none());
    if let Some(program) = missing {
        return Some(format!("{program} is not here: kernels come from Debian's archive, by its own tools"));
    }
    let emulators = kernel::ALL.iter().map(|series| series.machine.emulator());
    emulators.filter_map(Result::err).map(|error| format!("{error:#}")).next()
}

/// What CI runs.
pub fn run_core() -> Result<Tally> {
    let kernels: Vec<_> = kernel::ALL.iter().collect();
    let outcomes = report(&kernels, &Choice { backend: None, tests: CORE.into() })?;
    Ok(matrix::total(&outcomes))
}

/// Runs, and prints what each gave, what was skipped and which programs have changed.
fn report(kernels: &[&'static kernel::Series], choice: &Choice<'_>) -> Result<Vec<Outcome>> {
    let outcomes = matrix::run(kernels, choice)?;
    print!("\n{}", matrix::summary(&outcomes));
    for difference in matrix::table(&outcomes).differences(&Table::committed()?) {
        println!("program: {difference}");
    }
    println!("{}", matrix::total(&outcomes));
    Ok(outcomes)
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
