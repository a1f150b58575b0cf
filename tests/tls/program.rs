// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs under watch: started with a certificate, told when to go on, asked what they have done.
//!
//! They speak on stdin and stdout: `ready PORT`; for each line that they get, some work, then the paths that they have asked
//! for, a line each, and an empty line; they end when stdin does.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{PATIENCE, free_address, poll_until, skip};
use tempfile::TempDir;

/// A folder with a certificate for loopback in it.
pub struct Workshop {
    folder: TempDir,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Workshop {
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        fs::write(&certificate, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        Ok(Self { folder, certificate, key })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A program that is told what to do. Dropped, it is killed.
pub struct Program {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    port: u16,
}

impl Program {
    /// Starts it, and waits until it is ready.
    pub fn start(mut command: Command, workshop: &Workshop) -> Result<Self> {
        command.env("CERTIFICATE", &workshop.certificate).env("KEY", &workshop.key);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let port = line.strip_prefix("ready ").and_then(|port| port.trim().parse().ok());
        let port = port.with_context(|| format!("the program said {line:?}"))?;
        Ok(Self { child, orders, answers, port })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Lets it do its work, and answers with the paths that it has asked for.
    pub fn go(&mut self) -> Result<BTreeSet<String>> {
        self.begin()?;
        self.answer()
    }

    /// Lets it begin.
    pub fn begin(&mut self) -> Result<()> {
        let orders = self.orders.as_mut().context("it was told to end")?;
        orders.write_all(b"go\n")?;
        Ok(orders.flush()?)
    }

    /// What it has done since it was let to begin.
    pub fn answer(&mut self) -> Result<BTreeSet<String>> {
        let mut paths = BTreeSet::new();
        loop {
            let mut line = String::new();
            ensure!(self.answers.read_line(&mut line)? > 0, "the program has ended: {:?}", self.child.wait());
            match line.trim() {
                "" => return Ok(paths),
                path => paths.insert(path.to_owned()),
            };
        }
    }

    /// Tells it to end, and answers how it did.
    pub fn finish(mut self) -> Result<bool> {
        self.orders = None;
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an nginx answers to paths below `/large/`: more than a few streams may be copied of.
pub const LARGE_BYTES: usize = 40_000;

/// An nginx that answers every path, with itself where it is not below `/large/`. Dropped, it is stopped.
pub struct Nginx {
    child: Child,
    pub port: u16,
}

impl Nginx {
    /// Nothing where the machine has none.
    pub fn start(workshop: &Workshop) -> Result<Option<Self>> {
        let folder = workshop.path().display();
        let address = free_address();
        let configuration = format!(
            "daemon off; user root; worker_processes 2; pid {folder}/pid; error_log stderr; events {{}}\n\
             http {{ access_log off; keepalive_requests 100000; server {{ listen {address} ssl http2;\n\
             ssl_certificate {}; ssl_certificate_key {}; location / {{ return 200 \"$uri\"; }}\n\
             location /large/ {{ root {folder}; try_files /large.txt =404; }} }} }}\n",
            workshop.certificate.display(),
            workshop.key.display()
        );
        fs::write(workshop.path().join("large.txt"), vec![b'x'; LARGE_BYTES])?;
        let file = workshop.path().join("nginx.conf");
        fs::write(&file, configuration)?;
        let Ok(child) = Command::new("nginx").arg("-c").arg(&file).stderr(Stdio::null()).spawn() else {
            skip("there is no nginx here");
            return Ok(None);
        };
        poll_until("nginx listens", PATIENCE, || TcpStream::connect(address).ok())?;
        Ok(Some(Self { child, port: address.port() }))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SAFETY: kill takes no pointers, and the child was not waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let _ = self.child.wait();
    }
}
