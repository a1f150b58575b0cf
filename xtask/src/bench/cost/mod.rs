// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask bench cost`: instructions a request with and without Onlooker, in guests whose clocks count them.
//!
//! In: options. Out: a table for each kernel, backend and size of response, and the comparison with `docs/cost.tsv`. The
//! counting is `tests/bench/cost/`'s, in the guest; what the figures mean is said in `docs/COST.md`.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Mutex,
    thread::{self, available_parallelism},
};

use anyhow::{Context as _, Result, bail, ensure};

mod aims;
mod committed;
mod figures;
mod guest;
mod page;
mod scale;
mod start;
mod table;

use committed::Committed;
use figures::{Figures, Place, RESPONSES, Response};
use guest::{Programs, Run};

use crate::{build, steps::say, vm};

const USAGE: &str = "\
cargo xtask bench cost [OPTION…]

  --kernel NAME     a kernel of `cargo xtask vm` (6.12); more than one separated by commas
  --backend NAME    fentry, kprobe or syscall (all)
  --response SIZE   small, 10k or 1m (small)
  --state NAME      nothing, floor, unwatched, uninteresting, server, both, http2_nothing, http2_server or http2_both
                    (all); the first two are cheap
  --requests N      instead of what the size of the response suggests
  --binary FILE     a static Onlooker, instead of this checkout's
  --profile         each kernel program's runs a request and instructions a run too
  --twice           every run a second time; fails where the two differ by 1 %
  --check           fails where a figure has grown by 5 % over docs/cost.tsv, or is more than it must be
  --update          writes docs/cost.tsv and the tables of docs/COST.md, or with --scale that one's
  --all             kernels 6.1 and 6.12, every size, twice
  --scale           connections, processes, memory and idleness instead
  --start           how long it takes to start, and to the first span, on this machine; needs root
";

const BACKENDS: [&str; 3] = ["fentry", "kprobe", "syscall"];

struct Options {
    places: Vec<Place>,
    states: String,
    requests: Option<u64>,
    binary: Option<PathBuf>,
    profile: bool,
    twice: bool,
    check: bool,
    update: bool,
    scale: bool,
    start: bool,
}

pub fn run(options: &[&str]) -> Result<()> {
    if options.contains(&"--help") {
        print!("{USAGE}");
        return Ok(());
    }
    let options = Options::read(options)?;
    let onlooker = match &options.binary {
        Some(binary) => binary.clone(),
        None => build::run()?,
    };
    let programs = Programs::build(onlooker)?;
    if options.scale {
        return scale::run(&programs, &options.places, options.update);
    }
    if options.start {
        return start::run(&programs, &options.places);
    }
    let mut figures = all(&programs, &options.runs())?;
    let mut problems = Vec::new();
    if options.twice {
        let second = figures.split_off(figures.len() / 2);
        for (first, second) in figures.iter().zip(&second) {
            problems.extend(first.differences(second));
        }
    }
    for figures in &figures {
        print!("\n{}", table::text(figures));
    }
    if options.update {
        Committed::read()?.update(&figures)?;
    }
    if options.check {
        let committed = Committed::read()?;
        problems.extend(figures.iter().flat_map(|figures| committed.growth(figures)));
        problems.extend(figures.iter().flat_map(aims::missed));
    }
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    ensure!(problems.is_empty(), "{} figures are not what they should be", problems.len());
    Ok(())
}

/// Runs as many guests at once as there are processors: they count instructions, and do not notice each other.
fn all(programs: &Programs, runs: &[Run]) -> Result<Vec<Figures>> {
    for run in runs {
        // Before the others: a fetch writes into the folder that the next one reads.
        vm::series(run.place.kernel)?.fetch()?;
    }
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..runs.len()).collect());
    let measure = || -> Result<Vec<(usize, Figures)>> {
        let mut measured = Vec::new();
        let next = || waiting.lock().expect("nobody panics with it").pop_front();
        while let Some(index) = next() {
            let run = &runs[index];
            say(format!("bench cost: {}", run.place));
            let figures = programs.measure(run).with_context(|| run.place.to_string());
            // The first failure is the bench's: the others need not begin.
            measured.push((index, figures.inspect_err(|_| waiting.lock().expect("as above").clear())?));
        }
        Ok(measured)
    };
    let mut measured = thread::scope(|scope| -> Result<Vec<(usize, Figures)>> {
        let workers: Vec<_> =
            (0..available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(measure)).collect();
        let results = workers.into_iter().map(|worker| worker.join().expect("it returns its errors"));
        Ok(results.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })?;
    measured.sort_by_key(|(index, _)| *index);
    Ok(measured.into_iter().map(|(_, figures)| figures).collect())
}

impl Options {
    fn read(options: &[&str]) -> Result<Self> {
        let (mut kernels, mut backends, mut responses) = (vec!["6.12"], BACKENDS.to_vec(), vec![&RESPONSES[0]]);
        let mut read = Self {
            places: Vec::new(),
            states: "all".to_owned(),
            requests: None,
            binary: None,
            profile: false,
            twice: false,
            check: false,
            update: false,
            scale: false,
            start: false,
        };
        let mut options = options.iter().copied();
        while let Some(option) = options.next() {
            let mut value = || options.next().with_context(|| format!("{option} needs a value\n\n{USAGE}"));
            match option {
                "--kernel" => kernels = value()?.split(',').collect(),
                "--backend" => backends = value()?.split(',').collect(),
                "--response" => responses = value()?.split(',').map(Response::named).collect::<Result<_>>()?,
                "--state" => read.states = value()?.to_owned(),
                "--requests" => read.requests = Some(value()?.parse().context("--requests")?),
                "--binary" => read.binary = Some(value()?.into()),
                "--profile" => read.profile = true,
                "--twice" => read.twice = true,
                "--check" => read.check = true,
                "--update" => read.update = true,
                "--scale" => read.scale = true,
                "--start" => read.start = true,
                "--all" => {
                    (kernels, responses) = (vec!["6.1", "6.12"], RESPONSES.iter().collect());
                    read.twice = true;
                }
                unknown => bail!("there is no option {unknown}\n\n{USAGE}"),
            }
        }
        for kernel in kernels {
            let kernel = vm::series(kernel)?.name;
            for &response in &responses {
                for backend in &backends {
                    let known = BACKENDS.iter().find(|known| *known == backend);
                    let backend = known.with_context(|| format!("no backend {backend}\n\n{USAGE}"))?;
                    read.places.push(Place { kernel, backend, response });
                }
            }
        }
        Ok(read)
    }

    /// Each place once, then each a second time where that is wanted.
    fn runs(&self) -> Vec<Run> {
        let run = |place: &Place| Run {
            place: *place,
            states: self.states.clone(),
            requests: self.requests.unwrap_or(place.response.requests),
            profile: self.profile,
        };
        let times = if self.twice { 2 } else { 1 };
        (0..times).flat_map(|_| self.places.iter().map(run)).collect()
    }
}
