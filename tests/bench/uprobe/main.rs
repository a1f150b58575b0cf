// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask bench uprobe`: what probes in TLS libraries cost at the places that Onlooker chooses, against the same at the
//! entries of the functions.
//!
//! Programs that do nothing are attached, so that only the breakpoints count. A program makes TLS requests in memory or over
//! loopback and says how long one takes; the three states alternate, and medians are compared: a machine that slows down
//! meanwhile slows all of them. Clocks are the machine's own, so that ratios of one run mean something, and little else.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use onlooker::runtimes::{self, Found, Machine, Probe, Returns, sites};

#[path = "../cost/bpf.rs"]
#[expect(dead_code, reason = "shared with another bench, which uses the rest")]
mod bpf;
mod entries;
#[cfg(target_arch = "x86_64")]
mod hit;
mod link;

use link::Places;

/// Rounds of the three states. More: the medians are steadier. Fewer: it ends sooner.
const ROUNDS: usize = 9;

fn main() -> Result<()> {
    if let Ok(machine) = std::fs::read_to_string("/proc/cpuinfo") {
        let model = machine.lines().find_map(|line| line.strip_prefix("model name\t: "));
        println!("{}, {}", model.unwrap_or("processor not known"), std::fs::read_to_string("/proc/version")?.trim());
    }
    #[cfg(target_arch = "x86_64")]
    tell_hits()?;
    println!(
        "\n{:<10}{:>14}{:>14}{:>14}{:>10}{:>19}",
        "", "no probes", "at entries", "our places", "ratio", "emulated entries"
    );
    for workload in Workload::ALL {
        match workload.measure() {
            Ok(Some(Measured { none, entries, places, emulated: (emulated, all) })) => {
                let ratio = (places - none) / (entries - none);
                print!("{:<10}{none:>11.0} ns{entries:>11.0} ns{places:>11.0} ns{ratio:>10.2}", workload.name);
                println!("{emulated:>13} of {all:<2}");
            }
            Ok(None) => println!("{:<10}skipped: the machine has no {}", workload.name, workload.interpreter),
            Err(error) => println!("{:<10}failed: {error:#}", workload.name),
        }
    }
    println!("\nA TLS request: what is asked is written and read, and so is the answer; by one process.");
    Ok(())
}

/// One hit, by the instruction that a function begins with.
#[cfg(target_arch = "x86_64")]
fn tell_hits() -> Result<()> {
    println!("\n{:<16}{:>14}{:>14}{:>14}{:>14}", "", "entry", "and return", "to push", "and return");
    let mut push = None;
    for entry in &hit::ENTRIES {
        let hit::Cost { entered, returned } = entry.measure()?;
        let (push_entered, push_returned) = *push.get_or_insert((entered, returned));
        let (once, both) = (entered / push_entered, returned / push_returned);
        println!("{:<16}{entered:>11.0} ns{returned:>11.0} ns{once:>14.1}{both:>14.1}", entry.instruction);
    }
    Ok(())
}

/// Nanoseconds for a request without probes, with them at entries, and at our places.
struct Measured {
    none: f64,
    entries: f64,
    places: f64,
    /// Entries with an instruction that the kernel emulates, and all of them: where nothing is to be gained.
    emulated: (usize, usize),
}

struct Workload {
    name: &'static str,
    interpreter: &'static str,
    script: &'static str,
    library: &'static str,
}

impl Workload {
    const ALL: [Self; 3] = [
        Self { name: "OpenSSL", interpreter: "python3", script: "memory.py", library: "openssl" },
        Self { name: "Node", interpreter: "node", script: "loopback.js", library: "openssl" },
        Self { name: "Go", interpreter: "go", script: "pipe.go", library: "go" },
    ];

    fn measure(&self) -> Result<Option<Measured>> {
        let folder = tempfile::tempdir()?;
        let Some(mut program) = self.start(folder.path())? else { return Ok(None) };
        // When it has answered, it has loaded what it needs.
        program.request()?;
        let found = runtimes::look_into(program.child.id());
        let of_library = |found: &&Found| found.libraries.iter().any(|library| library.library == self.library);
        let found = found.iter().find(of_library).context("the library was not found in the program")?;
        let library =
            found.libraries.iter().find(|library| library.library == self.library).expect("it was just found");
        let at_entries = entries::of(&found.file, &library.probes)?;
        let mut measured = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            measured[0].push(program.request()?);
            let links = attach(&found.file, &at_entries)?;
            measured[1].push(program.request()?);
            drop(links);
            let links = attach(&found.file, &ours(&library.probes))?;
            measured[2].push(program.request()?);
            drop(links);
        }
        let [none, entries, places] = measured.map(median);
        let emulated = at_entries.entered.iter().filter(|&&offset| is_emulated(&found.file, offset)).count();
        Ok(Some(Measured { none, entries, places, emulated: (emulated, at_entries.entered.len()) }))
    }

    fn start(&self, folder: &Path) -> Result<Option<Program>> {
        if Command::new(self.interpreter).arg("version").output().is_err() {
            return Ok(None);
        }
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/uprobe").join(self.script);
        let mut command = if self.interpreter == "go" {
            Command::new(build_go(&script, folder)?)
        } else {
            let mut command = Command::new(self.interpreter);
            command.arg(script);
            command
        };
        command.env("CERTIFICATE", certificate).env("KEY", key).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Some(Program { child, answers }))
    }
}

fn build_go(script: &Path, folder: &Path) -> Result<PathBuf> {
    std::fs::copy(script, folder.join("main.go"))?;
    std::fs::write(folder.join("go.mod"), "module pipe\n\ngo 1.17\n")?;
    let binary = folder.join("pipe");
    let built =
        Command::new("go").args(["build", "-o"]).arg(&binary).current_dir(folder).env("CGO_ENABLED", "0").status()?;
    ensure!(built.success(), "the Go program does not build");
    Ok(binary)
}

/// A program that measures a request for each line that it gets. Dropped, it is killed.
struct Program {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Program {
    fn request(&mut self) -> Result<f64> {
        let orders = self.child.stdin.as_mut().expect("it is piped");
        orders.write_all(b"go\n")?;
        orders.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("the program said {line:?}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ours(probes: &[Probe]) -> Places {
    let mut places = Places { entered: probes.iter().map(|probe| probe.offset).collect(), returned: Vec::new() };
    for probe in probes {
        match &probe.returns {
            Returns::Unseen => {}
            Returns::At(ends) => places.entered.extend(ends.iter().map(|end| end.offset)),
            Returns::Caught => places.returned.push(probe.offset),
        }
    }
    places
}

fn attach(file: &File, places: &Places) -> Result<Vec<OwnedFd>> {
    Ok(link::attach(file, places)?)
}

/// Whether the kernel emulates the instruction there.
fn is_emulated(file: &File, offset: u64) -> bool {
    const LONGEST: usize = 15;
    let mut code = [0; LONGEST];
    file.read_exact_at(&mut code, offset).is_ok() && sites::describe(Machine::OWN, &code, 0, 0).is_cheap
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
