// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask bench replay`: instructions of the daemon for one exchange, from its records to its bytes for the collector.
//!
//! In: conversations made up here, of two lengths, and the binary under valgrind, which counts instructions. Out: the
//! difference, so that the start falls out, whole and by function; the same within 0.1 % on every run.
//! Does not: count the kernel programs, system calls, or what a cache miss costs: `bench cost` and `bench load` do.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, ensure};

mod conversation;

use conversation::Talk;

/// Exchanges of the two runs. What fits into the exporter's queue, so that none is dropped however late its sender comes.
const FEW: u64 = 5_000;
const MANY: u64 = 15_000;

/// Functions shown. The others are each below a hundredth.
const FUNCTIONS: usize = 40;

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    println!("{:<48}{:>14}", "instructions an exchange", "");
    let talks = [
        (Talk::Same, "the same"),
        (Talk::Differing, "all different"),
        (Talk::TenStreams, "HTTP/2, ten streams at once"),
    ];
    for (talk, says) in talks {
        for (ends, watched) in [(1, "one end"), (2, "both ends")] {
            for (exporter, with) in [(false, "no exporter"), (true, "OTLP")] {
                let few = run(folder.path(), talk, FEW, ends, exporter)?;
                let many = run(folder.path(), talk, MANY, ends, exporter)?;
                let total = (many.values().sum::<u64>() - few.values().sum::<u64>()) as f64 / (MANY - FEW) as f64;
                println!("{:<48}{total:>14.0}", format!("{says}, {watched}, {with}"));
                if ends == 1 && exporter {
                    by_function(&few, &many);
                }
            }
        }
    }
    Ok(())
}

fn by_function(few: &BTreeMap<String, u64>, many: &BTreeMap<String, u64>) {
    let before = |name| few.get(name).copied().unwrap_or_default();
    let mut rows: Vec<(f64, &String)> =
        many.iter().map(|(name, count)| ((*count as f64 - before(name) as f64) / (MANY - FEW) as f64, name)).collect();
    rows.sort_by(|one, other| other.0.total_cmp(&one.0));
    for (count, name) in rows.iter().take(FUNCTIONS) {
        println!("    {count:>8.0}  {}", name.chars().take(100).collect::<String>());
    }
}

/// Instructions by function, of a replay of so many exchanges.
fn run(folder: &Path, talk: Talk, exchanges: u64, ends: u32, exporter: bool) -> Result<BTreeMap<String, u64>> {
    let (recording, profile) = (folder.join("recording"), folder.join("profile"));
    conversation::write(&recording, talk, exchanges, ends)?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--fair-sched=yes", "--quiet"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(env::var_os("ONLOOKER_BINARY").context("ONLOOKER_BINARY names the binary")?)
        .args(["replay", "--print", "none"])
        .arg(&recording)
        // Onlooker refuses variables of its own name space that it does not know.
        .env_remove("ONLOOKER_BINARY")
        // Of a build with glibc: large copies as loops, not as one instruction that valgrind counts once a byte.
        .env(
            "GLIBC_TUNABLES",
            "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000",
        )
        .env("OTEL_BSP_MAX_QUEUE_SIZE", (2 * MANY).to_string());
    if exporter {
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", sink()?))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    }
    let output = command.output().context("bench replay needs valgrind (the package of that name)")?;
    let ledger = String::from_utf8_lossy(&output.stderr);
    let spans = format!("onlooker_spans_total {}\n", exchanges * u64::from(ends));
    ensure!(output.status.success() && ledger.contains(&spans), "the replay failed:\n{ledger}");
    ensure!(!exporter || !ledger.contains("onlooker_spans_dropped_total"), "spans were dropped:\n{ledger}");

    let annotate = ["--threshold=100", "--show-percs=no", "--auto=no", "--tree=none"];
    let output = Command::new("callgrind_annotate").args(annotate).arg(&profile).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut functions = BTreeMap::new();
    // `count  file:function [object]`, below a line that says so.
    for line in text.lines().skip_while(|line| !line.contains("file:function")).skip(1) {
        let Some((count, place)) = line.trim().split_once("  ") else { continue };
        let (Ok(count), Some((_, function))) = (count.replace(',', "").parse::<u64>(), place.split_once(':')) else {
            continue;
        };
        let function = function.rsplit_once(" [").map_or(function, |(function, _)| function);
        *functions.entry(function.to_owned()).or_default() += count;
    }
    Ok(functions)
}

/// A collector that takes everything and keeps nothing.
fn sink() -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || listener.incoming().flatten().try_for_each(answer));
    Ok(address)
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line)? > 0 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        } else if line.trim().is_empty() {
            std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
            reader
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")?;
        }
        line.clear();
    }
    Ok(())
}
