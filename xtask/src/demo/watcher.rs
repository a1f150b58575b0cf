// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Onlooker itself, as the demo runs it: its waterfalls go straight to the terminal, what it says at the end is kept.

use std::{
    env,
    io::Read as _,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::traffic::request;
use crate::workspace::find_program;

/// Longer: a start that hangs holds the demo. Shorter: a loaded machine fails it.
const READY: Duration = Duration::from_secs(20);
/// Longer than Onlooker's own time for shutting down, so that it has its say.
const SHUTDOWN: Duration = Duration::from_secs(15);
/// Between two looks at a process that starts or ends.
const LOOK: Duration = Duration::from_millis(25);

pub struct Watcher {
    child: Child,
    /// Gives standard error, when the process has closed it.
    errors: Option<JoinHandle<String>>,
}

impl Watcher {
    /// Returns when the processes behind these ports are watched.
    pub fn start(onlooker: &Path, ports: &[u16]) -> Result<Self> {
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let mut command = ending_with_this_process(onlooker);
        // Settings of the user's own would change what the demo shows.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| ["ONLOOKER_", "OTEL_", "BEYLA_"].iter().any(|of| name.starts_with(of)))
            {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["run", "--print", "tree", "--open-port", &ports.join(",")])
            .args(["--admin", &admin.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", onlooker.display()))?;
        let mut pipe = child.stderr.take().expect("it was asked for");
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut watcher = Self { child, errors: Some(errors) };
        watcher.wait_until_ready(admin.port())?;
        Ok(watcher)
    }

    fn wait_until_ready(&mut self, admin: u16) -> Result<()> {
        let deadline = Instant::now() + READY;
        while request(admin, "GET", "/readyz").ok() != Some(200) {
            if let Some(status) = self.child.try_wait()? {
                bail!("onlooker ended ({status}):\n{}", self.errors());
            }
            if Instant::now() > deadline {
                self.end();
                bail!("onlooker was not ready within {} s:\n{}", READY.as_secs(), self.errors());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Asks it to end, and gives what it wrote to standard error: its log and the ledger.
    pub fn finish(mut self) -> Result<String> {
        let terminate = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status()?;
        ensure!(terminate.success(), "onlooker had ended before it was asked to:\n{}", self.errors());
        let deadline = Instant::now() + SHUTDOWN;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "onlooker did not end within {} s of SIGTERM", SHUTDOWN.as_secs());
            thread::sleep(LOOK);
        }
        let status = self.child.wait()?;
        let errors = self.errors();
        ensure!(status.success(), "onlooker failed ({status}):\n{errors}");
        Ok(errors)
    }

    fn errors(&mut self) -> String {
        self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where util-linux is there, which it is on Debian, the kernel sends SIGTERM to what this starts when this process dies
/// in a way that leaves no time to clean up. Ctrl-c needs none of it: the terminal sends that to both.
fn ending_with_this_process(program: &Path) -> Command {
    let Some(setpriv) = find_program("setpriv") else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end();
    }
}
