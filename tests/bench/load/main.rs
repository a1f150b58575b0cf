// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask bench load`: nginx under load, with and without Onlooker in alternation.
//!
//! Out: the machine, the command, ratios of throughput and latency, the agent's processor time a request, its memory, and
//! the ledger against the generator's own count. A request without its span, or a span too many, fails the bench.
//! Alternating pairs (with, without, with, …) are compared with each other, so that a machine that drifts misleads less;
//! the median pair is shown. Generator, server and agent share the processors: the ratios are those of a full machine.

use std::{env, fs, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use onlooker_tests::{Ledger, Load, LoadReport, Onlooker, PATIENCE, load::open_idle, raise_open_files};

mod nginx;

use nginx::Nginx;

const USAGE: &str =
    "cargo xtask bench load [--requests N] [--connections N] [--rounds N] [--idle-connections N]; all have defaults";

struct Options {
    requests: u64,
    connections: usize,
    rounds: usize,
    idle_connections: usize,
}

/// One round with Onlooker.
struct Watched {
    load: LoadReport,
    cpu: Duration,
    peak_bytes: u64,
    ledger: Ledger,
}

fn main() -> Result<()> {
    let options = Options::read()?;
    raise_open_files()?;
    let nginx = Nginx::start()?;
    println!("machine      {}", machine());
    println!(
        "command      cargo xtask bench load --requests {} --connections {} --rounds {} --idle-connections {}",
        options.requests, options.connections, options.rounds, options.idle_connections
    );
    let load = Load::new(nginx.address, options.connections, options.requests, true).prefix("/page.html?n=");

    // The first runs fill caches and start workers; they are not counted.
    load.run()?;
    watched(&nginx, &load)?;
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        let without = load.run()?;
        let with = watched(&nginx, &load)?;
        println!(
            "round {round:<6} without {}   with {}   {:.2} µs of the agent a request",
            shown(&without),
            shown(&with.load),
            with.cpu_micros()
        );
        rounds.push((without, with));
    }

    let ratio = |of: fn(&LoadReport) -> f64| median(rounds.iter().map(|(without, with)| of(&with.load) / of(without)));
    println!("throughput   × {:.3} (median of {} pairs)", ratio(LoadReport::per_second), options.rounds);
    println!("latency p50  × {:.3}", ratio(|report| report.latency(0.5).as_secs_f64()));
    println!("latency p99  × {:.3}", ratio(|report| report.latency(0.99).as_secs_f64()));
    println!("agent CPU    {:.2} µs a request", median(rounds.iter().map(|(_, with)| with.cpu_micros())));
    let peak = rounds.iter().map(|(_, with)| with.peak_bytes).max().unwrap_or_default();
    println!("peak memory  {:.1} MB under load", megabytes(peak));
    memory(&nginx, options.idle_connections)?;

    let mut exact = true;
    for (_, with) in &rounds {
        let spans = with.ledger.total("onlooker_spans_total");
        exact &= spans == with.load.answered;
        let lost = with.ledger.total("onlooker_kernel_records_lost_total");
        println!("ledger       {} requests answered, {spans} spans, {lost} kernel records lost", with.load.answered);
    }
    ensure!(exact, "spans and requests differ");
    Ok(())
}

/// One run of the load with Onlooker watching nginx, up to the last span.
fn watched(nginx: &Nginx, load: &Load) -> Result<Watched> {
    let port = nginx.address.port().to_string();
    let onlooker = Onlooker::start(&["--open-port", &port, "--print", "none"], &[])?;
    let before = onlooker.cpu_time()?;
    let report = load.run()?;
    // Not an error here: what is missing shows in the ledger.
    let complete = onlooker.wait_ledger(|ledger| ledger.total("onlooker_spans_total") >= report.answered, PATIENCE);
    drop(complete);
    let (cpu, peak_bytes) = (onlooker.cpu_time()? - before, onlooker.memory_bytes("VmHWM")?);
    Ok(Watched { load: report, cpu, peak_bytes, ledger: onlooker.stop()?.ledger })
}

/// Memory at rest, and with connections that are open and silent after one request each.
fn memory(nginx: &Nginx, idle_connections: usize) -> Result<()> {
    let port = nginx.address.port().to_string();
    let onlooker = Onlooker::start(&["--open-port", &port, "--print", "none"], &[])?;
    println!("memory idle  {:.1} MB", megabytes(onlooker.memory_bytes("VmRSS")?));
    let open = open_idle(nginx.address, idle_connections)?;
    onlooker.wait_ledger(|ledger| ledger.total("onlooker_spans_total") >= open.len() as u64, PATIENCE)?;
    let (now, peak) = (onlooker.memory_bytes("VmRSS")?, onlooker.memory_bytes("VmHWM")?);
    println!("memory with {} open connections  {:.1} MB, peak {:.1} MB", open.len(), megabytes(now), megabytes(peak));
    drop(open);
    onlooker.stop()?;
    Ok(())
}

impl Watched {
    fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.load.answered as f64
    }
}

impl Options {
    fn read() -> Result<Self> {
        let mut options = Self { requests: 200_000, connections: 64, rounds: 5, idle_connections: 10_000 };
        let mut arguments = env::args().skip(1);
        while let Some(name) = arguments.next() {
            // Given by cargo to every bench.
            if name == "--bench" {
                continue;
            }
            let value = arguments.next().with_context(|| format!("{name} has no value\n{USAGE}"))?;
            let number: usize = value.parse().with_context(|| format!("{name}: `{value}` is no number\n{USAGE}"))?;
            ensure!(number > 0, "{name} is at least 1");
            match name.as_str() {
                "--requests" => options.requests = number as u64,
                "--connections" => options.connections = number,
                "--rounds" => options.rounds = number,
                "--idle-connections" => options.idle_connections = number,
                _ => bail!("there is no option {name}\n{USAGE}"),
            }
        }
        Ok(options)
    }
}

fn shown(report: &LoadReport) -> String {
    format!(
        "{:>7.0} /s, p50 {:>4} µs, p99 {:>5} µs",
        report.per_second(),
        report.latency(0.5).as_micros(),
        report.latency(0.99).as_micros()
    )
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, m)| m);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} × {model}, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}
