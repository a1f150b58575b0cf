// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A real OpenTelemetry collector: receives OTLP over gRPC and HTTP, with TLS or without, and writes it to a file.
//!
//! `ONLOOKER_COLLECTOR` names the program, which `cargo xtask collector` builds and `cargo xtask test` sets.

use std::{
    env, fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{PATIENCE, Span, free_address, poll_until, spans};

/// Where it listens and what it trusts; kept over a stop and a start.
#[derive(Debug)]
pub struct Collector {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    folder: PathBuf,
    child: Option<Child>,
}

/// PEM files of the collector's end of TLS.
#[derive(Clone, Copy, Debug)]
pub struct Tls<'a> {
    pub certificate: &'a Path,
    pub key: &'a Path,
    /// Clients must show a certificate of this authority.
    pub client_authority: &'a Path,
}

impl Collector {
    /// Starts it in a folder of its own, and waits until it listens.
    ///
    /// # Errors
    ///
    /// It is not built, does not start or does not listen in time.
    pub fn start(folder: &Path, tls: Option<Tls<'_>>) -> Result<Self> {
        let (grpc, http) = (free_address(), free_address());
        let tls = tls.map_or_else(String::new, |tls| {
            let files = [tls.certificate, tls.key, tls.client_authority].map(|file| file.display().to_string());
            format!(r#", tls: {{cert_file: "{}", key_file: "{}", client_ca_file: "{}"}}"#, files[0], files[1], files[2])
        });
        // Appended to: what was received before a restart stays.
        let configuration = format!(
            r#"receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "{grpc}"{tls}}}, http: {{endpoint: "{http}"{tls}}}}}}}
exporters:
  file: {{path: "{}", append: true, flush_interval: 50ms}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}
"#,
            folder.join("received.jsonl").display()
        );
        fs::create_dir_all(folder)?;
        fs::write(folder.join("collector.yaml"), configuration)?;
        let mut collector = Self { grpc, http, folder: folder.to_owned(), child: None };
        collector.restart()?;
        Ok(collector)
    }

    /// Starts it again at the same addresses.
    ///
    /// # Errors
    ///
    /// As [`Collector::start`].
    pub fn restart(&mut self) -> Result<()> {
        let program =
            env::var_os("ONLOOKER_COLLECTOR").context("ONLOOKER_COLLECTOR is not set: use `cargo xtask test`")?;
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("collector.log"))?;
        let child = Command::new(program)
            .args(["--config", &format!("file:{}", self.folder.join("collector.yaml").display())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("the collector does not start")?;
        self.child = Some(child);
        for address in [self.grpc, self.http] {
            poll_until("the collector listens", PATIENCE, || TcpStream::connect(address).ok())
                .with_context(|| fs::read_to_string(self.folder.join("collector.log")).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Ends it as an init system would: what it has answered for is in the file.
    ///
    /// # Errors
    ///
    /// It does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let pid = i32::try_from(child.id())?;
        // SAFETY: kill takes no pointers; the child was not waited for yet, so that its id is still its own.
        ensure!(unsafe { libc::kill(pid, libc::SIGTERM) } == 0, "the collector was gone");
        poll_until("the collector ends", PATIENCE, || child.try_wait().ok().flatten())?;
        Ok(())
    }

    /// All that it has received.
    ///
    /// # Errors
    ///
    /// The file holds what is not OTLP/JSON.
    pub fn received(&self) -> Result<Vec<Span>> {
        let text = fs::read_to_string(self.folder.join("received.jsonl")).unwrap_or_default();
        let mut received = Vec::new();
        // The last line may still be on its way.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            received.extend(spans::parse_line(line)?);
        }
        Ok(received)
    }

    /// Waits until it has received this many spans.
    ///
    /// # Errors
    ///
    /// It has not in time.
    pub fn wait_count(&self, count: usize, limit: Duration) -> Result<Vec<Span>> {
        let mut seen = 0;
        poll_until("the collector has received all spans", limit, || {
            let received = self.received().ok()?;
            seen = received.len();
            (received.len() >= count).then_some(received)
        })
        .with_context(|| format!("{seen} of {count} spans"))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
