// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Onlooker as a process: started, awaited until it is ready, listened to, stopped.
//!
//! The binary is the one that `ONLOOKER_BINARY` names, else what `cargo xtask build` leaves.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{Ledger, PATIENCE, Span, free_address, poll_until, spans};

/// A running Onlooker. Dropped without [`Onlooker::stop`], it is killed.
#[derive(Debug)]
pub struct Onlooker {
    child: Child,
    admin: SocketAddr,
    spans: Vec<Span>,
    incoming: Receiver<Result<Vec<Span>>>,
    errors: Option<JoinHandle<String>>,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub ledger: Ledger,
    /// Every span that was printed, from the first on.
    pub spans: Vec<Span>,
    pub stderr: String,
}

/// The binary under test.
#[must_use]
pub fn binary() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target/release/onlooker");
    env::var_os("ONLOOKER_BINARY").map_or_else(built, PathBuf::from)
}

/// Runs this program, the binary or a copy of it, without what in this process's environment configures it; but for the
/// backend, which is the test run's to choose.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| configures_onlooker(name)) {
        command.env_remove(name);
    }
    command
}

impl Onlooker {
    /// Starts it with a free admin port, and with `--print otlp-json` unless the arguments say how to print, and waits
    /// until it is ready. Of this process's environment nothing that configures it is passed on.
    ///
    /// # Errors
    ///
    /// It does not start, or ends, or is not ready in time; with what it said on stderr.
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        Self::start_as(command(binary()), arguments, environment)
    }

    /// As [`Onlooker::start`], by a command that the test has made with [`command`].
    ///
    /// # Errors
    ///
    /// As [`Onlooker::start`].
    pub fn start_as(mut command: Command, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let admin = free_address();
        command.args(arguments).args(["--admin", &admin.to_string()]);
        if !arguments.contains(&"--print") {
            command.args(["--print", "otlp-json"]);
        }
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}: build it with `cargo xtask build`", binary().display()))?;

        let output = child.stdout.take().expect("it is piped");
        // Unbounded: a test that reads late must not hold Onlooker up.
        let (sender, incoming) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(spans::parse_line(&line)).is_err() {
                    break;
                }
            }
        });
        let mut output = child.stderr.take().expect("it is piped");
        let errors = thread::spawn(move || {
            let mut said = Vec::new();
            let _ = output.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        let mut onlooker = Self { child, admin, spans: Vec::new(), incoming, errors: Some(errors) };
        onlooker.wait_ready()?;
        Ok(onlooker)
    }

    /// Watches the processes that listen on this port.
    ///
    /// # Errors
    ///
    /// As [`Onlooker::start`].
    pub fn watch_port(port: u16) -> Result<Self> {
        Self::start(&["--open-port", &port.to_string()], &[])
    }

    fn wait_ready(&mut self) -> Result<()> {
        let ready = poll_until("onlooker answers 200 on /readyz", PATIENCE, || match self.child.try_wait() {
            Ok(None) => (get(self.admin, "/readyz").ok()?.0 == 200).then_some(Ok(())),
            Ok(Some(status)) => Some(Err(anyhow::anyhow!("onlooker ended at its start ({status})"))),
            Err(error) => Some(Err(error.into())),
        });
        ready.and_then(|ended| ended).map_err(|error| {
            let _ = self.child.kill();
            error.context(self.errors.take().map(|errors| errors.join().unwrap_or_default()).unwrap_or_default())
        })
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Status and body of a page of the admin server.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        get(self.admin, path)
    }

    /// The ledger on `/metrics`, now.
    ///
    /// # Errors
    ///
    /// The page does not answer with 200.
    pub fn metrics(&self) -> Result<Ledger> {
        let (status, body) = self.get("/metrics")?;
        ensure!(status == 200, "/metrics answers {status}");
        Ok(Ledger::parse(&body))
    }

    /// Waits until the spans printed since the start satisfy the predicate, and gives all of them.
    ///
    /// # Errors
    ///
    /// They do not within the time, with the spans that came; or a printed line is not OTLP/JSON.
    pub fn wait_spans(&mut self, done: impl Fn(&[Span]) -> bool, limit: Duration) -> Result<&[Span]> {
        let deadline = Instant::now() + limit;
        while !done(&self.spans) {
            match self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(more) => self.spans.extend(more?),
                Err(RecvTimeoutError::Timeout) => bail!("not within {limit:?}; {}", brief(&self.spans)),
                Err(RecvTimeoutError::Disconnected) => bail!("onlooker has ended; {}", brief(&self.spans)),
            }
        }
        Ok(&self.spans)
    }

    /// Waits for this many spans, no matter which.
    ///
    /// # Errors
    ///
    /// As [`Onlooker::wait_spans`].
    pub fn wait_count(&mut self, count: usize) -> Result<&[Span]> {
        self.wait_spans(|spans| spans.len() >= count, PATIENCE)
    }

    /// Waits until the ledger satisfies the predicate.
    ///
    /// # Errors
    ///
    /// It does not in time, with the ledger as it is.
    pub fn wait_ledger(&self, done: impl Fn(&Ledger) -> bool, limit: Duration) -> Result<Ledger> {
        poll_until("the ledger comes to what is awaited", limit, || self.metrics().ok().filter(&done))
            .with_context(|| format!("{:#?}", self.metrics()))
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        // SAFETY: kill takes no pointers; the child was not waited for yet, so that its id is still its own.
        let result = unsafe { libc::kill(pid, signal) };
        ensure!(result == 0, "kill: {}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Asks it to end, as an init system would, and reads what it leaves behind.
    ///
    /// # Errors
    ///
    /// It does not end in time, or has printed what is not OTLP/JSON.
    pub fn stop(self) -> Result<Finished> {
        self.stop_by(libc::SIGTERM)
    }

    /// As [`Onlooker::stop`], by another signal.
    ///
    /// # Errors
    ///
    /// As [`Onlooker::stop`].
    pub fn stop_by(mut self, signal: i32) -> Result<Finished> {
        self.signal(signal)?;
        self.finish()
    }

    /// SIGKILL: no flush, no ledger.
    ///
    /// # Errors
    ///
    /// The process is gone already.
    pub fn kill(mut self) -> Result<Finished> {
        self.child.kill()?;
        self.finish()
    }

    fn finish(&mut self) -> Result<Finished> {
        let status = poll_until("onlooker ends after SIGTERM", PATIENCE, || self.child.try_wait().ok().flatten())?;
        while let Ok(more) = self.incoming.recv() {
            self.spans.extend(more?);
        }
        let stderr = self.errors.take().context("it was stopped before")?.join().unwrap_or_default();
        Ok(Finished { status, ledger: Ledger::parse(&stderr), spans: std::mem::take(&mut self.spans), stderr })
    }

    /// User and system time that it has used so far.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The name, in brackets, may hold anything; utime and stime are the fields 14 and 15 (proc_pid_stat(5)).
        let fields: Vec<&str> = stat.rsplit_once(')').context("stat has a name")?.1.split_whitespace().collect();
        let ticks: u64 =
            fields.get(11).context("utime")?.parse::<u64>()? + fields.get(12).context("stime")?.parse::<u64>()?;
        // SAFETY: sysconf takes no pointers.
        let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) })?;
        Ok(Duration::from_nanos(ticks * 1_000_000_000 / per_second))
    }

    /// A figure in bytes from its status: `VmRSS` now, `VmHWM` at most so far.
    ///
    /// # Errors
    ///
    /// The process is gone, or knows no such figure.
    pub fn memory_bytes(&self, key: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).context("no such figure")?;
        Ok(line.split_whitespace().next().context("no number")?.parse::<u64>()? * 1024)
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configures_onlooker(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name != "ONLOOKER_BACKEND" && ["ONLOOKER_", "OTEL_", "BEYLA_"].iter().any(|prefix| name.starts_with(prefix))
}

/// A GET over a connection of its own; as HTTP/1.0, so that the body comes in one piece.
fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

fn brief(spans: &[Span]) -> String {
    let last: Vec<String> = spans.iter().rev().take(10).map(|span| format!("{} {}", span.kind, span.name)).collect();
    format!("{} spans, the last ones {last:?}", spans.len())
}
