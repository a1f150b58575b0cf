// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TLS tests: real programs that speak HTTPS to themselves or to each other, by each library that is read.
//!
//! A program waits, says what it has done, and ends when it is told to; what it asked for must come out exactly once on each
//! end, from the plaintext. Each test needs the program that it is about, and says so where the machine has none.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use onlooker_tests::{Finished, Onlooker, PATIENCE, Span, skip};

mod containers;
mod doctor;
mod early;
mod kernels;
mod libraries;
mod life;
mod multiplexed;
mod program;
mod scale;
mod unread;
mod web;

use program::{Program, Workshop};

/// What a program did while it was watched.
struct Told {
    finished: Finished,
    /// Paths that it has asked for.
    paths: BTreeSet<String>,
}

/// Watches a program while it does what it does.
fn watch(program: &mut Program) -> Result<Told> {
    let mut onlooker = Onlooker::start(&["--pid", &program.pid().to_string()], &[])?;
    let paths = program.go()?;
    finish(&mut onlooker, &paths, 2)?;
    Ok(Told { finished: onlooker.stop()?, paths })
}

/// Waits until each path has come as often as it has watched ends.
fn finish(onlooker: &mut Onlooker, paths: &BTreeSet<String>, ends: usize) -> Result<()> {
    let own = |spans: &[Span]| spans.iter().filter(|span| path(span).is_some_and(|path| paths.contains(path))).count();
    // Too few is told by who compares.
    let _ = onlooker.wait_spans(|spans| own(spans) >= ends * paths.len(), PATIENCE / 4);
    Ok(())
}

/// What was asked for: a path, or the method that was called.
fn path(span: &Span) -> Option<&str> {
    span.path().or_else(|| span.text("rpc.method"))
}

/// It was asked over TLS, and answered.
fn is_answered(span: &Span) -> bool {
    if span.text("rpc.system.name").is_some() {
        return span.text("rpc.response.status_code") == Some("OK") && span.text("tls.protocol.version").is_some();
    }
    let is_https = span.text("url.scheme") == Some("https")
        || span.text("url.full").is_some_and(|url| url.starts_with("https://"));
    let is_get = span.text("http.request.method") == Some("GET");
    is_https && is_get && span.integer("http.response.status_code") == Some(200)
}

impl Told {
    /// Every path once on each of these ends, as HTTPS, with nothing lost.
    #[track_caller]
    fn assert_exact(&self, kinds: &[&str]) {
        for kind in kinds {
            let by_path = self.by_path(kind);
            let missing: Vec<&String> = self.paths.iter().filter(|path| !by_path.contains_key(path.as_str())).collect();
            assert!(missing.is_empty(), "{kind} spans are missing: {missing:#?}\n{}", self.finished.stderr);
            for span in by_path.values() {
                assert!(is_answered(span), "{span:#?}");
            }
        }
        self.finished.ledger.assert_conserved("stdout");
        assert_eq!(self.finished.ledger.total("onlooker_kernel_records_lost_total"), 0, "{}", self.finished.stderr);
    }

    fn by_path(&self, kind: &str) -> BTreeMap<&str, &Span> {
        let mut by_path = BTreeMap::new();
        for span in self.finished.spans.iter().filter(|span| span.kind == kind) {
            let path = path(span).unwrap_or_default();
            if self.paths.contains(path) {
                assert!(by_path.insert(path, span).is_none(), "{path} twice as {kind}");
            }
        }
        by_path
    }

    /// The peer is the one that the request itself names, and the two ends know each other.
    #[track_caller]
    fn assert_bound(&self) {
        let (servers, clients) = (self.by_path("SERVER"), self.by_path("CLIENT"));
        for (path, client) in &clients {
            let named = client.integer("server.port");
            assert!(named.is_some() && client.integer("network.peer.port") == named, "{client:#?}");
            let server = servers[path];
            assert_eq!(server.parent_span_id, client.span_id, "{path}: {server:#?}\n{client:#?}");
        }
    }

    /// The version is known from the handshake, which was seen on the socket.
    #[track_caller]
    fn assert_handshakes(&self) {
        for kind in ["SERVER", "CLIENT"] {
            for span in self.by_path(kind).values() {
                assert_eq!(span.text("tls.protocol.version"), Some("1.3"), "{span:#?}");
            }
        }
    }

    /// All of it, on both ends.
    #[track_caller]
    fn assert_whole(&self) {
        self.assert_exact(&["SERVER", "CLIENT"]);
        self.assert_bound();
        self.assert_handshakes();
    }
}

/// Where a program that the tests run, or its sources, lies.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tls/programs").join(name)
}

fn python(workshop: &Workshop, script: &str, arguments: &[&str]) -> Result<Option<Program>> {
    program_of("python3", workshop, script, arguments)
}

/// A script beside this file, run by an interpreter if the machine has it.
fn program_of(interpreter: &str, workshop: &Workshop, script: &str, arguments: &[&str]) -> Result<Option<Program>> {
    if Command::new(interpreter).arg("--version").output().is_err() {
        skip(&format!("there is no {interpreter} here"));
        return Ok(None);
    }

    let mut command = Command::new(interpreter);
    command.arg(source(script)).args(arguments);
    Program::start(command, workshop).map(Some)
}

#[test]
fn openssl_by_threads_on_both_ends() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(mut program) = python(&workshop, "threads.py", &["50", "6"])? else { return Ok(()) };
    let told = watch(&mut program)?;
    told.assert_exact(&["SERVER", "CLIENT"]);
    told.assert_bound();
    Ok(())
}

/// One thread writes and reads two sessions in turns, byte by byte.
#[test]
fn two_connections_of_one_thread_come_out_unmixed() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(mut program) = python(&workshop, "interleaved.py", &[])? else { return Ok(()) };
    let told = watch(&mut program)?;
    told.assert_exact(&["SERVER", "CLIENT"]);
    told.assert_bound();
    Ok(())
}

/// The same with records that the program carries to the sockets itself, in the other order than they were made.
#[test]
fn records_that_a_program_carries_itself_are_bound_by_their_bytes() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(mut program) = python(&workshop, "carried.py", &[])? else { return Ok(()) };
    let told = carried(&mut program)?;
    told.assert_exact(&["SERVER", "CLIENT"]);
    told.assert_bound();
    Ok(())
}

/// Known by what it has mapped for one that carries its records itself, as Node and uvicorn are: bound from its first session on.
#[test]
fn an_event_loop_with_fifty_sessions() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(mut program) = python(&workshop, "event_loop.py", &["50", "4"])? else { return Ok(()) };
    let told = watch(&mut program)?;
    told.assert_exact(&["SERVER", "CLIENT"]);
    told.assert_bound();
    Ok(())
}

#[test]
fn node_has_openssl_in_itself() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(mut program) = program_of("node", &workshop, "node.js", &["50", "4"])? else { return Ok(()) };
    let told = watch(&mut program)?;
    told.assert_exact(&["SERVER", "CLIENT"]);
    told.assert_bound();
    Ok(())
}

/// Where nothing that it has mapped tells, the first exchange shows that a program carries its records itself; from then on
/// sockets are known.
fn carried(program: &mut Program) -> Result<Told> {
    let mut onlooker = Onlooker::start(&["--pid", &program.pid().to_string()], &[])?;
    let known = onlooker.metrics()?.total("onlooker_tls_files_total");
    let first = program.go()?;
    finish(&mut onlooker, &first, 2)?;
    onlooker.wait_ledger(|ledger| ledger.total("onlooker_tls_files_total") > known, PATIENCE)?;
    let paths = program.go()?;
    finish(&mut onlooker, &paths, 2)?;
    Ok(Told { finished: onlooker.stop()?, paths })
}

#[test]
fn go_stripped_and_at_any_address() -> Result<()> {
    for (version, flags) in [
        ("local", &["-ldflags=-s -w"][..]),
        ("local", &["-buildmode=pie", "-ldflags=-s -w"]),
        ("go1.21.13", &[]),
        ("go1.17.13", &[]),
    ] {
        let workshop = Workshop::new()?;
        let Some(binary) = build_go(&workshop, "https", version, flags)? else { continue };
        let mut command = Command::new(binary);
        command.args(["50", "4"]);
        let mut program = Program::start(command, &workshop)?;
        let told = watch(&mut program)?;
        told.assert_whole();
    }
    Ok(())
}

/// A folder of sources beside this file, built by a version of Go.
fn build_go(workshop: &Workshop, program: &str, version: &str, flags: &[&str]) -> Result<Option<PathBuf>> {
    let binary = workshop.path().join(program);
    let mut build = Command::new("go");
    build.arg("build").args(flags).arg("-o").arg(&binary).current_dir(source(program));
    // What the machine's own configuration asks for, older versions may not know.
    let built = build.env("GOTOOLCHAIN", version).env("GOFLAGS", "-mod=readonly").env("CGO_ENABLED", "0").output();
    if built.is_ok_and(|built| built.status.success()) {
        return Ok(Some(binary));
    }
    skip(&format!("Go ({version}) cannot build here"));
    Ok(None)
}

#[test]
fn gnutls_is_read_in_wget() -> Result<()> {
    let workshop = Workshop::new()?;
    let uses_gnutls = Command::new("wget").arg("--version").output();
    if !uses_gnutls.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("+ssl/gnutls")) {
        skip("there is no wget with GnuTLS here");
        return Ok(());
    }
    let Some(mut server) = python(&workshop, "threads.py", &["0", "0"])? else { return Ok(()) };
    let mut onlooker = Onlooker::start(&["--exe", "*/wget", "--pid", &server.pid().to_string()], &[])?;
    let paths: BTreeSet<String> = (0..5).map(|number| format!("/wget/{number}")).collect();
    let urls = paths.iter().map(|path| format!("https://127.0.0.1:{}{path}", server.port()));
    let mut wget = Command::new("wget");
    let got = wget.args(["-q", "-O", "-", "--no-check-certificate"]).args(urls).output()?;
    ensure!(got.status.success(), "{got:?}");
    finish(&mut onlooker, &paths, 2)?;
    server.go()?;
    let told = Told { finished: onlooker.stop()?, paths };
    told.assert_whole();
    Ok(())
}
