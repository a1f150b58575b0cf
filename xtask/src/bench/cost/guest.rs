// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A run of the bench: builds the guest's side, boots a guest whose clock counts instructions, reads what it prints.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Result, ensure};

use super::figures::{Figures, Place};
use crate::{
    steps::run as run_step,
    vm::{self, Guest, GuestFile, Job, Machine},
    workspace::target,
};

/// A guest of 6 states takes minutes where the host is busy; longer than this, and it stands still.
const LIMIT: Duration = Duration::from_secs(1800);

/// Of what a guest that failed has said.
const LINES_SHOWN: usize = 30;

/// Ten thousand connections have their buffers in it.
const MEMORY_MIB: u32 = 1024;

/// The programs that the guest needs.
pub struct Programs {
    onlooker: PathBuf,
    cost: PathBuf,
}

pub struct Run {
    pub place: Place,
    /// Separated by commas, or `all`.
    pub states: String,
    pub requests: u64,
    pub profile: bool,
}

impl Programs {
    pub fn build(onlooker: PathBuf) -> Result<Self> {
        let machine = Machine::X86_64;
        let mut build = machine.cargo(["build", "--quiet", "--release", "--package", "onlooker-tests"])?;
        run_step(build.args(["--bin", "cost", "--features", "vm"]))?;
        Ok(Self { onlooker, cost: target().join(machine.target()).join("release/cost") })
    }

    pub fn measure(&self, run: &Run) -> Result<Figures> {
        let Place { kernel, backend, response } = run.place;
        let parameters = [
            format!("states={}", run.states),
            format!("backend={backend}"),
            format!("response={}", response.bytes),
            format!("requests={}", run.requests),
            format!("profile={}", run.profile),
        ];
        let mut figures = Figures::new(run.place, vm::series(kernel)?.fetch()?.release, run.requests);
        let lines = self.boot(kernel, "states", &parameters)?;
        lines.iter().try_for_each(|line| figures.read(line))?;
        figures.check()?;
        Ok(figures)
    }

    /// A role of `tests/bench/cost/` that runs on this machine.
    pub fn here(&self, role: &str) -> Command {
        let mut command = Command::new(&self.cost);
        command.arg(role).arg(format!("onlooker={}", self.onlooker.display()));
        command
    }

    /// Runs a role of `tests/bench/cost/`, and gives what it printed.
    pub fn boot(&self, kernel: &str, role: &str, parameters: &[String]) -> Result<Vec<String>> {
        const PLACE: &str = "/bin/cost";
        let kernel = vm::series(kernel)?.fetch()?;
        let guest = Guest {
            kernel: &kernel,
            processors: 1,
            memory_mib: MEMORY_MIB,
            counts_instructions: true,
            kernel_arguments: "",
        };
        let job = Job {
            files: vec![GuestFile::program("/bin/onlooker", &self.onlooker), GuestFile::program(PLACE, &self.cost)],
            command: [PLACE, role].iter().map(|&word| word.to_owned()).chain(parameters.iter().cloned()).collect(),
            environment: Vec::new(),
        };
        let report = guest.run(&job, LIMIT, |_| ())?;
        // The kernel's verifier explains itself at length.
        let said = || report.output[report.output.len().saturating_sub(LINES_SHOWN)..].join("\n");
        ensure!(report.status == 0, "the guest's side ended with the status {}\n{}", report.status, said());
        Ok(report.output)
    }
}
