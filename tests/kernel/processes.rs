// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes of a test: children of a fork that run a closure, and programs that end with their test.

use std::{
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::PEER;

/// A child of a fork, which is waited for.
#[derive(Debug)]
pub struct Forked(libc::pid_t);

/// Runs the closure in a child, which then ends at once, with 0 where the closure succeeded.
pub fn fork(child: impl FnOnce() -> Result<()>) -> Result<Forked> {
    // SAFETY: other threads are not in the child. What it uses of the library is safe after a fork: glibc takes the
    // allocator's locks around it, and the child ends without running what is to be run at exit.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().into()),
        // SAFETY: ends this process.
        0 => unsafe { libc::_exit(i32::from(child().is_err())) },
        pid => Ok(Forked(pid)),
    }
}

impl Forked {
    pub fn pid(&self) -> i32 {
        self.0
    }

    pub fn signal(&self, signal: i32) -> Result<()> {
        // SAFETY: no pointers; the child was not waited for yet, so that its id is its own.
        ensure!(unsafe { libc::kill(self.0, signal) } == 0, "the child is gone");
        Ok(())
    }

    /// Waits for its end: the status as `waitpid` gives it.
    pub fn wait(self) -> Result<i32> {
        let mut status = 0;
        // SAFETY: the status is writable.
        let waited = unsafe { libc::waitpid(self.0, &mut status, 0) };
        ensure!(waited == self.0, "waitpid: {}", io::Error::last_os_error());
        Ok(status)
    }

    pub fn succeeded(self) -> Result<()> {
        let status = self.wait()?;
        ensure!(status == 0, "the child ended with the status {status}");
        Ok(())
    }
}

/// A server in another process; it ends when it is dropped, and when the test dies.
#[derive(Debug)]
pub struct Served {
    child: Child,
    _stdin: Option<ChildStdin>,
    pub address: SocketAddr,
}

impl Served {
    /// The peer program, serving at the address.
    pub fn start(address: &str) -> Result<Self> {
        Self::run(Command::new(PEER).args(["serve", address]))
    }

    /// Any command that ends in the peer program serving.
    pub fn run(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let stdin = child.stdin.take();
        let address = line.trim().parse();
        let mut served = Self { child, _stdin: stdin, address: ([0, 0, 0, 0], 0).into() };
        served.address = address.with_context(|| format!("it says {line:?} instead of its address"))?;
        Ok(served)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client in another process: asks once, gives the status it was answered.
pub fn ask(program: &str, address: SocketAddr, path: &str) -> Result<u16> {
    let output = Command::new(program).args(["ask", &address.to_string(), path]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.trim().parse().with_context(|| format!("{said} {}", String::from_utf8_lossy(&output.stderr)))
}
