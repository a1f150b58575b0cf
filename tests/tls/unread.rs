// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What cannot be read is said so: which program, why, since when, and once.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Finished, Ledger, Onlooker, PATIENCE, free_address, poll_until, skip};
use serde_json::{Value, json};

use super::{
    program::{Program, Workshop},
    source,
    web::python_with_packages,
};

fn ran(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Until a program was named for this reason.
fn wait_named(onlooker: &Onlooker, reason: &str) -> Result<()> {
    let is_named = |ledger: &Ledger| ledger.total_of("onlooker_tls_unreadable_total", &[("reason", reason)]) == 1;
    onlooker.wait_ledger(is_named, PATIENCE)?;
    Ok(())
}

/// The line, without which nobody knows.
fn line_of<'a>(finished: &'a Finished, name: &str) -> Result<&'a str> {
    let mut lines = finished.stderr.lines().filter(|line| line.contains("cannot be read") && line.contains(name));
    let line = lines.next().with_context(|| format!("no line: {}", finished.stderr))?;
    ensure!(lines.next().is_none(), "more than one line: {}", finished.stderr);
    ensure!(line.contains(" since ") && line.contains(" UTC "), "{line}");
    Ok(line)
}

#[test]
fn java_is_named_with_the_reason_and_the_way_out() -> Result<()> {
    let workshop = Workshop::new()?;
    let keys = workshop.path().join("keys.p12");
    let mut export = Command::new("openssl");
    export.args(["pkcs12", "-export", "-passout", "pass:onlooker"]).arg("-out").arg(&keys);
    export.arg("-in").arg(&workshop.certificate).arg("-inkey").arg(&workshop.key);
    if !ran(&mut export) || !ran(Command::new("javac").arg("-version")) {
        skip("there is no javac here, or no openssl");
        return Ok(());
    }
    let mut command = Command::new("java");
    command.arg(source("Https.java")).arg(&keys);
    let program = Program::start(command, &workshop)?;
    let url = format!("https://127.0.0.1:{}/", program.port());
    let onlooker = Onlooker::start(&["--pid", &program.pid().to_string()], &[])?;
    for _ in 0..3 {
        ensure!(ran(Command::new("curl").args(["-sk", &url])), "curl was not answered");
    }
    wait_named(&onlooker, "library_not_readable")?;
    let finished = onlooker.stop()?;
    ensure!(line_of(&finished, "what java ")?.contains("Java's own TLS"), "{}", finished.stderr);
    ensure!(finished.spans.is_empty(), "{:#?}", finished.spans);
    Ok(())
}

#[test]
fn a_program_without_symbols_is_named() -> Result<()> {
    let workshop = Workshop::new()?;
    let stripped = workshop.path().join("stripped");
    fs::copy(env!("CARGO_BIN_EXE_tls-rustls"), &stripped)?;
    if !ran(Command::new("strip").arg(&stripped)) {
        skip("there is no strip here");
        return Ok(());
    }
    let mut command = Command::new(&stripped);
    command.args(["1", "4", "2"]);
    let mut program = Program::start(command, &workshop)?;
    let pid = program.pid();
    let onlooker = Onlooker::start(&["--pid", &pid.to_string()], &[])?;
    program.go()?;
    wait_named(&onlooker, "no_symbols")?;
    let finished = onlooker.stop()?;
    ensure!(line_of(&finished, "what stripped ")?.contains(&format!("process {pid}")), "{}", finished.stderr);
    Ok(())
}

/// Envoy as it is shipped: its BoringSSL is a part of it, and has no names.
#[test]
fn envoy_is_named() -> Result<()> {
    let Some(python) = python_with_packages("requirements-envoy.txt")? else { return Ok(()) };
    let workshop = Workshop::new()?;
    let found = Command::new(python).args(["-c", "import envoy; print(envoy.__path__[0])"]).output()?;
    let binary = Path::new(String::from_utf8(found.stdout)?.trim()).join("_bin/envoy");
    let address = free_address();
    let configuration = workshop.path().join("envoy.json");
    fs::write(&configuration, envoy_configuration(&workshop, address.port()).to_string())?;
    let mut envoy = Stopped(Command::new(binary).arg("-c").arg(&configuration).stderr(Stdio::null()).spawn()?);
    poll_until("envoy listens", PATIENCE, || TcpStream::connect(address).ok())?;
    let onlooker = Onlooker::start(&["--pid", &envoy.0.id().to_string()], &[])?;
    ensure!(ran(Command::new("curl").args(["-skf", &format!("https://{address}/")])), "curl was not answered");
    wait_named(&onlooker, "no_symbols")?;
    let finished = onlooker.stop()?;
    line_of(&finished, "what envoy ")?;
    ensure!(envoy.0.try_wait()?.is_none(), "envoy has ended");
    Ok(())
}

/// One listener that answers everything itself.
fn envoy_configuration(workshop: &Workshop, port: u16) -> Value {
    let of = |kind: &str| format!("type.googleapis.com/envoy.extensions.{kind}");
    let certificate = json!({
        "certificate_chain": { "filename": workshop.certificate },
        "private_key": { "filename": workshop.key },
    });
    let connections = json!({
        "@type": of("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "https",
        "http_filters": [{
            "name": "router", "typed_config": { "@type": of("filters.http.router.v3.Router") },
        }],
        "route_config": { "virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }],
        }] },
    });
    json!({ "static_resources": { "listeners": [{
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
        "filter_chains": [{
            "transport_socket": { "name": "tls", "typed_config": {
                "@type": of("transport_sockets.tls.v3.DownstreamTlsContext"),
                "common_tls_context": { "tls_certificates": [certificate] },
            } },
            "filters": [{ "name": "https", "typed_config": connections }],
        }],
    }] } })
}

/// A program that ends with its test.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
