// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes of the bench: started, asked, stopped. Dropped, they are killed.

use std::{
    env,
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// A role of this program, in a process of its own that has said that it is ready.
pub struct Peer {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    asked: u64,
}

impl Peer {
    pub fn start<'a>(role: &str, parameters: impl IntoIterator<Item = &'a String>) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .arg(role)
            .args(parameters)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start a {role}"))?;
        let input = process.stdin.take().expect("it is piped");
        let output = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut peer = Self { process, input, output, asked: 0 };
        let word = peer.line()?;
        ensure!(word == "ready", "a {role} says {word:?}");
        Ok(peer)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Makes the client send this many requests, and gives the nanoseconds that they took.
    pub fn ask(&mut self, requests: u64) -> Result<u64> {
        self.asked += requests;
        writeln!(self.input, "{requests}")?;
        Ok(self.line()?.parse()?)
    }

    /// What it was made to send so far.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    fn line(&mut self) -> Result<String> {
        Ok(self.output.next().context("a process of the bench has ended")??)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where the host has put the binary that is measured.
const ONLOOKER: &str = "/bin/onlooker";

/// Onlooker as a user runs it, sending what it sees.
pub struct Onlooker {
    process: Child,
    errors: Lines<BufReader<ChildStderr>>,
}

impl Onlooker {
    /// Comes back when it says that all is attached.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let mut process = Command::new(ONLOOKER).args(arguments).stderr(Stdio::piped()).spawn()?;
        let mut errors = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        loop {
            let line = errors.next().context("Onlooker has ended")??;
            println!("{line}");
            if line.contains("ready: ") {
                return Ok(Self { process, errors });
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its ledger, once it has flushed and ended.
    pub fn stop(mut self) -> Result<Vec<(String, u64)>> {
        // SAFETY: no pointers; the process has not been waited for, so that the number is still its own.
        let result = unsafe { libc::kill(self.pid().cast_signed(), libc::SIGTERM) };
        ensure!(result == 0, "Onlooker cannot be told to end");
        let mut ledger = Vec::new();
        for line in self.errors.by_ref() {
            let line = line?;
            match line.rsplit_once(' ').map(|(name, value)| (name, value.parse())) {
                Some((name, Ok(value))) if name.starts_with("onlooker_") => ledger.push((name.to_owned(), value)),
                _ => println!("{line}"),
            }
        }
        let status = self.process.wait()?;
        ensure!(status.success(), "Onlooker ended with {status}");
        Ok(ledger)
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
