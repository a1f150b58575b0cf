// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `onlooker doctor --pid`: what it says of real programs, against the very bytes of their files.

use std::{collections::BTreeSet, fs::File, os::unix::fs::FileExt as _, process::Command};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::onlooker::{binary, command};
use serde_json::Value;

use super::{
    build_go,
    program::{Program, Workshop},
    program_of, python,
};

/// What it says about a process, for a person and for a program.
struct Said {
    text: String,
    report: Value,
}

impl Said {
    fn of(pid: u32) -> Result<Self> {
        let ask = |options: &[&str]| -> Result<String> {
            let output = command(binary()).args(["doctor", "--pid", &pid.to_string()]).args(options).output()?;
            ensure!(output.status.success(), "{output:?}");
            Ok(String::from_utf8(output.stdout)?)
        };
        let (text, report) = (ask(&[])?, ask(&["--json"])?);
        let (_, text) = text.split_once(&format!("\nprocess {pid}\n")).context("it tells of the process")?;
        let report: Value = serde_json::from_str(&report)?;
        ensure!(report["processes"][0]["pid"] == pid, "{report:#}");
        Ok(Self { text: text.to_owned(), report: report["processes"][0].clone() })
    }

    fn files(&self) -> impl Iterator<Item = &Value> {
        self.report["files"].as_array().into_iter().flatten()
    }

    /// Every probe of a library, with where it is entered and where it is left.
    fn places<'a>(&'a self, library: &'a str) -> impl Iterator<Item = Place<'a>> {
        let libraries = self.files().flat_map(|file| {
            let path = file["file"].as_str().unwrap_or_default();
            file["libraries"].as_array().into_iter().flatten().map(move |found| (path, found))
        });
        let probes = libraries
            .filter(move |(_, found)| found["library"] == library)
            .flat_map(|(path, found)| found["probes"].as_array().into_iter().flatten().map(move |probe| (path, probe)));
        probes.flat_map(|(path, probe)| {
            let ends = probe["returns"]["at"].as_array().into_iter().flatten();
            std::iter::once(probe).chain(ends).map(move |place| Place { path, symbol: &probe["symbol"], place })
        })
    }

    /// Each place holds the instruction that is told, costs what is told, and stands in the text.
    fn check(&self, library: &str, symbols: &[&str]) -> Result<()> {
        let mut found = BTreeSet::new();
        for place in self.places(library) {
            let offset = place.place["offset"].as_u64().context("a place in the file")?;
            let instruction = place.place["instruction"].as_str().context("what stands there")?;
            let is_cheap = place.place["is_cheap"].as_bool().context("what it costs")?;
            let mut code = [0; 8];
            File::open(place.path)?.read_exact_at(&mut code, offset)?;
            ensure!(is_emulated(&code) == is_cheap, "{instruction} at {offset:#x} of {}: {code:x?}", place.path);
            if !instruction.is_empty() && place.place["action"] != "create" {
                let line = self.text.lines().find(|line| {
                    line.contains(&format!("{offset:#x} "))
                        && line.contains(instruction)
                        && line.contains(cost(is_cheap))
                });
                ensure!(line.is_some(), "{instruction} at {offset:#x} is not told:\n{}", self.text);
            }
            found.insert(place.symbol.as_str().unwrap_or_default());
        }
        for symbol in symbols {
            ensure!(found.iter().any(|found| found.contains(symbol)), "{symbol} is not told:\n{}", self.text);
        }
        Ok(())
    }
}

struct Place<'a> {
    path: &'a str,
    symbol: &'a Value,
    place: &'a Value,
}

const fn cost(is_cheap: bool) -> &'static str {
    if is_cheap { "cheap" } else { "dear" }
}

/// By the bytes alone: `push` of a register, `nop`, `call`, `jmp` and the conditional jumps.
fn is_emulated(code: &[u8]) -> bool {
    matches!(
        code,
        [0x50..=0x57 | 0x70..=0x7f | 0x90 | 0xe8 | 0xe9 | 0xeb, ..]
            | [0x41, 0x50..=0x57, ..]
            | [0x0f, 0x80..=0x8f, ..]
    )
}

#[test]
#[cfg(target_arch = "x86_64")]
fn doctor_names_each_place_in_openssl() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(program) = python(&workshop, "threads.py", &["1", "1"])? else { return Ok(()) };
    let said = Said::of(program.pid())?;
    said.check("openssl", &["SSL_new", "SSL_free", "SSL_do_handshake", "SSL_read", "SSL_write"])?;
    ensure!(said.text.contains("OpenSSL or BoringSSL in /"), "{}", said.text);
    Ok(())
}

#[test]
#[cfg(target_arch = "x86_64")]
fn doctor_names_each_place_in_node() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(program) = program_of("node", &workshop, "node.js", &["1", "1"])? else { return Ok(()) };
    let said = Said::of(program.pid())?;
    said.check("openssl", &["SSL_new", "SSL_read", "SSL_write"])?;
    ensure!(said.text.contains(" and return  "), "{}", said.text);
    Ok(())
}

#[test]
#[cfg(target_arch = "x86_64")]
fn doctor_names_each_place_in_go() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(binary) = build_go(&workshop, "https", "local", &["-ldflags=-s -w"])? else { return Ok(()) };
    let mut command = Command::new(&binary);
    command.args(["1", "1"]);
    let program = Program::start(command, &workshop)?;
    let said = Said::of(program.pid())?;
    said.check("go", &["crypto/tls.(*Conn).Read", "crypto/tls.(*Conn).Write"])?;
    // In Go nothing is dear, and no return is caught.
    ensure!(said.places("go").all(|place| place.place["is_cheap"] == true), "{}", said.text);
    ensure!(!said.text.contains("return"), "{}", said.text);
    ensure!(said.text.contains(&format!("in {}, go1.", binary.display())), "{}", said.text);
    Ok(())
}

#[test]
fn doctor_says_where_nothing_speaks_tls() -> Result<()> {
    let mut silent = Command::new("sleep").arg("infinity").spawn()?;
    let said = Said::of(silent.id());
    silent.kill()?;
    silent.wait()?;
    let text = said?.text;
    ensure!(text.contains("no library that speaks TLS is mapped"), "{text}");
    Ok(())
}
