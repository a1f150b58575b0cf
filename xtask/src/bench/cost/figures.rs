// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one guest has measured: the lines that it printed in, figures by state out.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result, bail};

/// A size of the response; the request has 80 bytes always.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub name: &'static str,
    pub bytes: usize,
    /// So many that a run is repeated to within 1 %, and that a slow host does it in a minute.
    pub requests: u64,
}

/// The smallest is what most calls between services look like: about 100 bytes each way, heads included.
pub const RESPONSES: [Response; 3] = [
    Response { name: "small", bytes: 70, requests: 4096 },
    Response { name: "10k", bytes: 10_000, requests: 2048 },
    Response { name: "1m", bytes: 1_000_000, requests: 256 },
];

impl Response {
    pub fn named(name: &str) -> Result<&'static Self> {
        let names = RESPONSES.each_ref().map(|response| response.name).join(", ");
        RESPONSES.iter().find(|known| known.name == name).with_context(|| format!("no response {name}: {names}"))
    }
}

/// Where something was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub kernel: &'static str,
    pub backend: &'static str,
    pub response: &'static Response,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "kernel {}, {}, response {}", self.kernel, self.backend, self.response.name)
    }
}

/// In the order of the table.
pub const STATES: [&str; 9] =
    ["nothing", "floor", "unwatched", "uninteresting", "server", "both", "http2_nothing", "http2_server", "http2_both"];

/// A state of HTTP/2 is compared with nothing of its own, and its cost over that with the state of HTTP/1.
const HTTP2: &str = "http2_";

/// The same traffic without Onlooker.
pub fn nothing_of(state: &str) -> &'static str {
    if state.starts_with(HTTP2) { "http2_nothing" } else { "nothing" }
}

/// The state of HTTP/1 that one of HTTP/2 is compared with.
pub fn http1_of(state: &str) -> Option<&str> {
    state.strip_prefix(HTTP2)
}

/// Instructions a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// All that the request caused, the receiver of the spans left out.
    pub total: f64,
    /// Of it, what ran in Onlooker's threads.
    pub agent: f64,
}

/// A kernel program in a state.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub state: String,
    pub name: String,
    pub runs_a_request: f64,
    pub instructions_a_run: f64,
}

/// Where instructions are spent.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// The state, or `start`.
    pub during: String,
    /// The agent or the application, the kernel's work for it included.
    pub process: String,
    /// `all` is the sum.
    pub name: String,
    /// A request, or in all where it is the start.
    pub instructions: u64,
}

#[derive(Clone, Debug)]
pub struct Figures {
    pub place: Place,
    /// `uname -r`.
    pub release: String,
    pub requests: u64,
    pub costs: BTreeMap<String, Cost>,
    /// All requests of a state, those that were not measured too.
    pub asked: BTreeMap<String, u64>,
    pub programs: Vec<Program>,
    pub functions: Vec<Function>,
    /// Bytes, instructions and numbers that are of the run and not of a state.
    pub single: BTreeMap<String, u64>,
    pub ledger: BTreeMap<String, u64>,
}

impl Figures {
    pub fn new(place: Place, release: String, requests: u64) -> Self {
        let (costs, asked, single, ledger) = <_>::default();
        Self { place, release, requests, costs, asked, programs: Vec::new(), functions: Vec::new(), single, ledger }
    }

    /// A line of the guest. What the kernel or Onlooker say between is passed over.
    pub fn read(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["state", state, metric, value] => {
                let cost = self.costs.entry((*state).to_owned()).or_default();
                match *metric {
                    "total" => cost.total = value.parse()?,
                    "agent" => cost.agent = value.parse()?,
                    "asked" => drop(self.asked.insert((*state).to_owned(), value.parse()?)),
                    _ => {}
                }
            }
            ["program", state, name, runs, instructions] => self.programs.push(Program {
                state: (*state).to_owned(),
                name: (*name).to_owned(),
                runs_a_request: runs.parse()?,
                instructions_a_run: instructions.parse()?,
            }),
            ["function", during, process, instructions, name @ ..] => self.functions.push(Function {
                during: (*during).to_owned(),
                process: (*process).to_owned(),
                name: name.join(" "),
                instructions: instructions.parse()?,
            }),
            ["figure", name, value] => drop(self.single.insert((*name).to_owned(), value.parse()?)),
            ["ledger", name, value] => drop(self.ledger.insert((*name).to_owned(), value.parse()?)),
            _ => {}
        }
        Ok(())
    }

    /// Every state was measured as what it is called: the watched requests have their spans, each is delivered, and of
    /// what was left alone there is none.
    pub fn check(&self) -> Result<()> {
        let watched = |state: &str, ends: u64| self.asked.get(state).map_or(0, |asked| ends * asked);
        let of_http2 = watched("http2_server", 1) + watched("http2_both", 2);
        let spans = watched("server", 1) + watched("both", 2) + of_http2;
        for (family, expected) in [
            ("onlooker_spans_total", spans),
            ("onlooker_spans_exported_total", spans),
            ("onlooker_kernel_records_lost_total", 0),
        ] {
            let of_family = |name: &str| name.split('{').next() == Some(family);
            let counters = self.ledger.iter().filter(|(name, _)| of_family(name));
            let counted: u64 = counters.map(|(_, value)| value).sum();
            if counted != expected {
                bail!("{family} is {counted}, and has to be {expected}; the ledger: {:#?}", self.ledger);
            }
        }
        Ok(())
    }

    /// What a state costs over the same traffic without Onlooker.
    pub fn over_nothing(&self, state: &str) -> Option<f64> {
        self.over(state, nothing_of(state))
    }

    /// What a state costs over another.
    pub fn over(&self, state: &str, base: &str) -> Option<f64> {
        Some(self.costs.get(state)?.total - self.costs.get(base)?.total)
    }

    /// Where two runs of the same differ by more than the bench claims.
    pub fn differences(&self, again: &Self) -> Vec<String> {
        const CLAIM: f64 = 0.01;
        let mut differences = Vec::new();
        for (state, cost) in &self.costs {
            let Some(other) = again.costs.get(state) else { continue };
            let difference = (other.total / cost.total - 1.0).abs();
            println!(
                "repeated: {}, {state}: {:.0} and {:.0}, {:.2} %",
                self.place,
                cost.total,
                other.total,
                difference * 100.0
            );
            if difference > CLAIM {
                differences.push(format!("{}, {state}: {:.0}, then {:.0}", self.place, cost.total, other.total));
            }
        }
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(lines: &str) -> Result<Figures> {
        let place = Place { kernel: "6.12", backend: "syscall", response: &RESPONSES[0] };
        let mut figures = Figures::new(place, "6.12.1".to_owned(), 10);
        lines.lines().try_for_each(|line| figures.read(line))?;
        Ok(figures)
    }

    #[test]
    fn what_the_guest_prints_is_read() -> Result<()> {
        let figures = figures(
            "[    1.0] a line of the kernel\n\
             state nothing total 28000.5\nstate server total 30000.5\nstate server agent 1000.0\n\
             program server syscall_exit 4.000 120\nfigure maps 4096\nledger onlooker_spans_total 20",
        )?;
        assert_eq!(figures.over("server", "nothing"), Some(2000.0));
        assert_eq!(figures.costs["server"], Cost { total: 30000.5, agent: 1000.0 });
        assert_eq!(figures.programs[0].instructions_a_run, 120.0);
        assert_eq!(figures.single["maps"], 4096);
        Ok(())
    }

    #[test]
    fn a_state_without_its_spans_is_an_error() -> Result<()> {
        let lines = "state server total 1.0\nstate server asked 20\nledger onlooker_spans_total 20\n";
        let complete = format!("{lines}ledger onlooker_spans_exported_total{{exporter=\"otlp\"}} 20");
        figures(&complete)?.check()?;
        assert!(figures(&complete.replace("asked 20", "asked 21"))?.check().is_err());
        assert!(figures(lines)?.check().is_err());
        Ok(())
    }

    #[test]
    fn runs_that_differ_are_named() -> Result<()> {
        let first = figures("state server total 1000.0")?;
        assert!(first.differences(&figures("state server total 1009.0")?).is_empty());
        assert_eq!(first.differences(&figures("state server total 1011.0")?).len(), 1);
        Ok(())
    }
}
