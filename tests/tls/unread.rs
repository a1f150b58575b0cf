// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What cannot be read is said so: which program, why, since when, and once.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Finished, Ledger, Onlooker, PATIENCE, skip};

use super::{
    program::{Program, Workshop},
    source,
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
