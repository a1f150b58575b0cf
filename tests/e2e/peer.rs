// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A program that is told what to do by lines, and answers with lines.
//!
//! In: a command. Out: a process that ends when it is dropped, with what it said on stderr where it fails.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{PATIENCE, poll_until};

#[derive(Debug)]
pub struct Peer {
    child: Child,
    lines: Receiver<String>,
    errors: File,
}

impl Peer {
    pub fn start(command: &mut Command) -> Result<Self> {
        let errors = tempfile::tempfile()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors.try_clone()?);
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, lines, errors })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> Result<String> {
        self.lines.recv_timeout(PATIENCE).with_context(|| format!("it says nothing; on stderr: {}", self.errors()))
    }

    /// The port that a server prints when it listens.
    pub fn port(&mut self) -> Result<u16> {
        let line = self.line()?;
        line.trim().parse().with_context(|| format!("{line:?} instead of a port; on stderr: {}", self.errors()))
    }

    /// Tells it a line, and gives what it says to it.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.child.stdin.as_ref().expect("it is piped"), "{line}")
            .with_context(|| format!("it has ended; on stderr: {}", self.errors()))?;
        self.line()
    }

    /// Tells it a line, and waits until it has done it.
    pub fn order(&mut self, line: &str) -> Result<()> {
        let answer = self.ask(line)?;
        ensure!(answer == "done", "it says {answer:?}; on stderr: {}", self.errors());
        Ok(())
    }

    /// Lets it end by itself: it has no more to do.
    pub fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = poll_until("the peer ends", PATIENCE, || self.child.try_wait().ok().flatten())?;
        ensure!(status.success(), "{status}; on stderr: {}", self.errors());
        Ok(())
    }

    fn errors(&mut self) -> String {
        let mut text = Vec::new();
        let _ = self.errors.rewind();
        let _ = self.errors.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
