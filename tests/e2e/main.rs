// SPDX-License-Identifier: Apache-2.0 OR MIT
//! End to end: a load generator, a server that is watched, Onlooker, and a real OpenTelemetry collector.
//!
//! What the generator was answered is what the collector must have, exactly; and what the ledger says, too.

use std::path::Path;

use anyhow::Result;
use onlooker_tests::{Collector, Onlooker, ServerProcess, collector::Tls};
use tempfile::TempDir;

mod authority;
mod beside;
mod exact_counts;
mod http2;
mod outage;
mod peer;
mod tls;

/// The two encodings of OTLP that Onlooker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
}

/// A server, the collector, and Onlooker between them.
#[derive(Debug)]
struct Stage {
    server: ServerProcess,
    collector: Collector,
    onlooker: Onlooker,
    _folder: TempDir,
}

impl Stage {
    /// `environment` is added to what names the collector. Batches leave every 100 ms.
    fn set(protocol: Protocol, environment: &[(&str, &str)]) -> Result<Self> {
        Self::set_in(tempfile::tempdir()?, protocol, None, environment)
    }

    fn set_in(folder: TempDir, protocol: Protocol, tls: Option<Tls<'_>>, environment: &[(&str, &str)]) -> Result<Self> {
        let server = ServerProcess::start()?;
        let collector = Collector::start(folder.path(), tls)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (address, name) = match protocol {
            Protocol::Grpc => (collector.grpc, "grpc"),
            Protocol::Http => (collector.http, "http/protobuf"),
        };
        let endpoint = format!("{scheme}://{address}");
        let mut all = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", name),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ];
        all.extend_from_slice(environment);
        let port = server.address().port().to_string();
        let onlooker = Onlooker::start(&["--open-port", &port, "--print", "none"], &all)?;
        Ok(Self { server, collector, onlooker, _folder: folder })
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
