// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The conformance tests of h2spec through a watched server: well over a hundred connections on which the client does what
//! it may, and what it must not.
//!
//! As many requests are told as answered as the server says it has answered, none is told that was not made, and the
//! next client is told as if nothing had been.

use std::process::Command;

use anyhow::Result;
use onlooker_tests::{PATIENCE, Span, skip};

use super::{
    outline,
    packages::{installed, missing, run_in},
};
use crate::peer::Peer;

/// Requests of the client that comes after all of it.
const AFTERWARDS: usize = 100;

#[test]
fn what_no_peer_may_do_is_told_as_it_was() -> Result<()> {
    if let Some(program) = missing(&["go"]) {
        skip(&format!("h2spec: {program} is not installed"));
        return Ok(());
    }
    let build =
        ["build", "-mod=readonly", "-buildvcs=false", "-o", "h2spec", "github.com/summerwind/h2spec/cmd/h2spec"];
    let folder = installed("conformance", |folder| run_in(folder, "go", &build))?;
    let mut server = Peer::start(Command::new(env!("CARGO_BIN_EXE_http2-load")).arg("serve"))?;
    let port = server.port()?.to_string();
    let mut onlooker = super::watch(&[&server])?;

    let specification =
        Command::new(folder.join("h2spec")).args(["-h", "127.0.0.1", "-p", &port, "-o", "1"]).output()?;
    let said = String::from_utf8_lossy(&specification.stdout);
    let tests = said.lines().rev().find(|line| line.contains(" tests, ")).unwrap_or_default();
    assert!(tests.starts_with("14"), "all tests have run, and what they gave is the server's concern: {said}");
    let answered: usize = server.ask("answered")?.parse()?;
    assert!(answered > 30, "{answered} requests were answered");
    let is_answered = |span: &Span| span.attributes.contains_key("http.response.status_code");

    let mut client = Peer::start(Command::new(env!("CARGO_BIN_EXE_http2-load")).args(["call", &port, "1", "10"]))?;
    client.order(&format!("0 {AFTERWARDS}"))?;
    client.end()?;
    let is_afterwards = |span: &Span| span.text("url.path").is_some_and(|path| path.starts_with("/n/"));
    let all_there = |spans: &[Span]| spans.iter().filter(|span| is_afterwards(span)).count() >= AFTERWARDS;
    let _ = onlooker.wait_spans(all_there, PATIENCE);
    let finished = onlooker.stop()?;
    assert!(finished.status.success(), "{}", finished.stderr);
    finished.ledger.assert_conserved("stdout");
    let (afterwards, spans): (Vec<Span>, Vec<Span>) = finished.spans.into_iter().partition(is_afterwards);
    assert_eq!(afterwards.len(), AFTERWARDS, "{}", finished.stderr);
    let is_whole = |span: &Span| is_answered(span) && !span.attributes.contains_key("onlooker.partial");
    assert!(afterwards.iter().all(is_whole), "{}", outline(&afterwards));

    assert_eq!(spans.iter().filter(|span| is_answered(span)).count(), answered, "{}", outline(&spans));
    for span in &spans {
        assert_eq!((span.kind, span.text("network.protocol.version")), ("SERVER", Some("2")), "{span:?}");
        assert!(is_answered(span) || span.is_error, "an answer, or why there is none: {span:?}");
    }
    println!("{} and {answered} of {} requests answered", tests.trim(), spans.len());
    Ok(())
}
