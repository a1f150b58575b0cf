// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask TASK`: one file per task. In: a task's name and its options. Out: an exit status.
//!
//! It is the first thing that is built on a fresh machine, so it leans on nothing but the standard library and anyhow.

use std::{env, process::ExitCode};

use anyhow::{Result, bail};

mod bench;
mod bill;
mod build;
mod ci;
mod cluster;
mod collector;
mod deb;
mod demo;
mod e2e;
mod fuzz;
mod go_program;
mod image;
mod peers;
mod pod_monitors;
mod record_corpus;
mod setup;
mod steps;
mod tally;
mod test;
mod tidy;
mod vm;
mod workspace;

const USAGE: &str = "\
cargo xtask TASK

  setup               install what building and testing need; does nothing where all is there
  build               build the static binary: target/release/onlooker
  image               a container image of it, without a container engine: target/onlooker-image.tar (--arm64: with that
                      machine's binary beside this one's)
  deb                 a Debian package of it: target/onlooker_VERSION_amd64.deb
  demo                start sample services, watch them and show their traces
  test                all tests that this machine allows; says what it skipped and why
  ci                  every check that CI makes (--without-tests: all but the tests)
  tidy                the rules of the code that no compiler knows
  fuzz                the fuzz targets: the kept corpus, then a few seconds of new input
  bench parse         time and allocations of the parsers
  bench replay        instructions of the daemon for one exchange, by function, under valgrind
  bench load          throughput, latency and cost with and without Onlooker, against nginx
  bench cluster       memory and time that a large Kubernetes cluster takes, as a real API server tells of it
  bench uprobe        what probes in TLS libraries cost where we put them, against the functions' entries
  bench cost          instructions a request, exactly, in a guest whose clock counts them (--help)
  vm [KERNEL…]        the kernel tests on other kernels and on every backend, in QEMU (--backend NAME, --test NAME;
                      --update writes docs/KERNELS.md)
  vm KERNEL -- PROGRAM ARGUMENTS…
                      run a static program on another kernel
  record-corpus       make the recordings of the replay tests again (then UPDATE_EXPECTED=1)
  e2e cluster [TEST]  install Onlooker in a real cluster of one node, beside workloads of each kind
  cluster             build Kubernetes, helm, kwok and the Compose reader, and install what a node has beside them, once
                      per machine (about twenty minutes)
  collector           build the OpenTelemetry collector of the end-to-end tests, once per machine
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["setup"] => setup::run(),
        ["build"] => build::run().map(drop),
        ["image"] => image::run().map(drop),
        ["image", "--arm64"] => image::run_for_both().map(drop),
        ["deb"] => deb::run().map(drop),
        ["demo", ..] => demo::run(),
        ["test"] => test::run(),
        ["ci"] => ci::run(ci::Tests::Run),
        ["ci", "--without-tests"] => ci::run(ci::Tests::AlreadyRun),
        ["fuzz"] => fuzz::run(),
        ["tidy"] => tidy::run(),
        ["vm", kernel, "--", program, arguments @ ..] => vm::run_program(kernel, program, arguments),
        ["vm", options @ ..] => vm::run(options),
        ["bench", "parse"] => bench::parse(),
        ["bench", "replay"] => bench::replay(),
        ["bench", "cluster"] => bench::cluster(),
        ["bench", "uprobe"] => bench::uprobe(),
        ["bench", "load", options @ ..] => bench::load(options),
        ["bench", "cost", options @ ..] => bench::cost(options),
        ["record-corpus", scenarios @ ..] => record_corpus::run(scenarios),
        ["e2e", "cluster", filter @ ..] => e2e::run(filter),
        ["cluster"] => cluster::run().map(drop),
        ["collector"] => collector::run().map(drop),
        [] | ["--help" | "-h" | "help"] => {
            print!("{USAGE}");
            Ok(())
        }
        unknown => bail!("there is no task `{}`\n\n{USAGE}", unknown.join(" ")),
    }
}
