// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest: a kernel, a few files and one program in; what the program printed and its exit status out.
//!
//! The guest is QEMU without KVM, so that it runs wherever xtask runs. It has no disk, no network but loopback, and a
//! serial console, over which `tests/vm/init.rs` tells what happens. It runs one program and is gone.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    initramfs::{self, GuestFile},
    kernel::{Kernel, folder},
    machine::Machine,
};
use crate::{
    steps::{run as run_step, shown},
    workspace::target,
};

/// The machine that is emulated.
#[derive(Clone, Debug)]
pub struct Guest<'a> {
    pub kernel: &'a Kernel,
    pub processors: u32,
    pub memory_mib: u32,
    /// One instruction, one nanosecond: the guest's clock counts instructions, of all processors together, and waiting
    /// takes no time. What a guest finds then does not depend on how busy this machine is.
    pub counts_instructions: bool,
    /// Added to the kernel's command line.
    pub kernel_arguments: &'a str,
}

/// What runs in it.
#[derive(Clone, Debug, Default)]
pub struct Job {
    pub files: Vec<GuestFile>,
    /// The path of the program in the guest, and its arguments.
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestReport {
    /// What the program printed, on stdout and stderr as it came; with what the kernel had to say meanwhile.
    pub output: Vec<String>,
    /// Its exit status; 128 and the signal's number where a signal ended it.
    pub status: i32,
}

/// What init writes before and behind the program's output; tests/vm/init.rs has the same.
const BEGIN: &str = "onlooker-guest: begin";
const END: &str = "onlooker-guest: end ";

/// Lines of the console that an error shows: a kernel's panic is about this long.
const TAIL: usize = 60;

impl Guest<'_> {
    /// Boots, runs the job, and gives each line to `each_line` as it comes. After the limit, which begins with the boot,
    /// the guest is killed.
    pub fn run(&self, job: &Job, limit: Duration, mut each_line: impl FnMut(&str)) -> Result<GuestReport> {
        let initramfs = Initramfs::write(self.kernel.machine, job)?;
        let mut command = self.emulator(&initramfs.0)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut console = Console::open(child.with_context(|| format!("cannot start {}", shown(&command)))?);
        let deadline = Instant::now() + limit;
        let mut report = GuestReport { output: Vec::new(), status: 0 };
        while console.next_line(deadline)? != BEGIN {}
        // It has been read; a task that is killed later leaves none behind.
        drop(initramfs);
        loop {
            let line = console.next_line(deadline)?;
            if let Some(status) = line.strip_prefix(END) {
                report.status = status.parse().with_context(|| format!("init says the status {status:?}"))?;
                break;
            }
            each_line(&line);
            report.output.push(line);
        }
        console.wait_end(deadline)?;
        Ok(report)
    }

    fn emulator(&self, initramfs: &Path) -> Result<Command> {
        let machine = self.kernel.machine.emulator()?;
        // A task that is killed takes its guest with it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(machine.get_program()).args(machine.get_args());
        // One thread for all processors: with one for each, a processor that runs into a breakpoint of code that another
        // one is patching (a trampoline that is being attached) is told of it when the kernel has forgotten it.
        command.args([
            "-accel",
            "tcg,thread=single",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
        ]);
        command.args(["-smp", &self.processors.to_string(), "-m", &self.memory_mib.to_string()]);
        if self.counts_instructions {
            command.args(["-icount", "shift=0,sleep=off", "-cpu", self.kernel.machine.counting_processor()]);
        }
        command.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(initramfs);
        let console = self.kernel.machine.console();
        // An oops ends the guest: what came after it would prove nothing.
        let arguments = format!("console={console} quiet panic=-1 oops=panic {}", self.kernel_arguments);
        command.args(["-append", arguments.trim_end()]);
        Ok(command)
    }
}

/// The initial file system of one run, removed with it.
struct Initramfs(PathBuf);

impl Initramfs {
    fn write(machine: Machine, job: &Job) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let initramfs = Self(folder().join(format!("guest-{}-{number}.cpio", std::process::id())));
        let environment = job.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let mut files = vec![
            GuestFile::program("/init", init(machine)?),
            GuestFile::bytes("/etc/onlooker-guest/command", terminated(job.command.iter().cloned())),
            GuestFile::bytes("/etc/onlooker-guest/environment", terminated(environment)),
        ];
        files.extend(job.files.iter().cloned());
        initramfs::write(&initramfs.0, &files)?;
        Ok(initramfs)
    }
}

impl Drop for Initramfs {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Each with a zero behind it, which no argument can hold.
fn terminated(words: impl Iterator<Item = String>) -> Vec<u8> {
    words.flat_map(|word| [word.into_bytes(), vec![0]]).flatten().collect()
}

/// Builds the program that is process 1 of every guest.
fn init(machine: Machine) -> Result<PathBuf> {
    run_step(machine.cargo(["build", "--quiet", "--release"])?.args([
        "--package",
        "onlooker-tests",
        "--bin",
        "vm-init",
        "--features",
        "vm",
    ]))?;
    Ok(target().join(machine.target()).join("release/vm-init"))
}

/// The console of a guest that runs. Dropped, the guest is killed.
struct Console {
    child: Child,
    lines: Receiver<String>,
    last: VecDeque<String>,
}

impl Console {
    fn open(mut child: Child) -> Self {
        let output = child.stdout.take().expect("it is piped");
        let errors = child.stderr.take().expect("it is piped");
        // Unbounded: a guest says what a test run says, and a reader that is late must not hold it up.
        let (sender, lines) = channel();
        for stream in [Box::new(output) as Box<dyn Read + Send>, Box::new(errors)] {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line);
                    if sender.send(line.trim_end_matches('\r').to_owned()).is_err() {
                        break;
                    }
                }
            });
        }
        Self { child, lines, last: VecDeque::new() }
    }

    /// The next line.
    fn next_line(&mut self, deadline: Instant) -> Result<String> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if self.last.len() == TAIL {
                    self.last.pop_front();
                }
                self.last.push_back(line.clone());
                Ok(line)
            }
            Err(RecvTimeoutError::Timeout) => bail!("the guest took too long\n{}", self.tail()),
            Err(RecvTimeoutError::Disconnected) => bail!("the guest has ended by itself\n{}", self.tail()),
        }
    }

    /// Waits for QEMU's own end, which is that of its output.
    fn wait_end(&mut self, deadline: Instant) -> Result<()> {
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("the guest does not power off\n{}", self.tail()),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn tail(&self) -> String {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        format!("the end of its console:\n{}", lines.join("\n"))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
