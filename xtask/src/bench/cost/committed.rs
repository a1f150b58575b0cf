// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The figures that are committed, `docs/cost.tsv`: what a run is compared with, and what `docs/COST.md` shows.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{
    figures::{Cost, Figures, STATES, nothing_of},
    page, table,
};
use crate::workspace::root;

/// More is a problem, of what a state costs over nothing.
const GROWTH: f64 = 0.05;

/// What two runs of the same may differ by, in instructions a request: thirty measured, doubled. Larger: small costs grow
/// unnoticed. Smaller: the check fails by chance.
const NOISE: f64 = 60.0;

const HEAD: &str = "kernel\tbackend\tresponse\tstate\tinstructions\tagent\trelease";

/// Costs by kernel, backend, response and state.
#[derive(Debug, Default)]
pub struct Committed {
    lines: BTreeMap<[String; 4], (Cost, String)>,
}

impl Committed {
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string(file()).unwrap_or_default();
        Self::parse(&text).with_context(|| format!("{} is not as --update writes it", file().display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = BTreeMap::new();
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [kernel, backend, response, state, total, agent, release] = columns.as_slice() else {
                bail!("a line of {} columns", columns.len());
            };
            let key = [*kernel, *backend, *response, *state].map(str::to_owned);
            lines.insert(key, (Cost { total: total.parse()?, agent: agent.parse()? }, (*release).to_owned()));
        }
        Ok(Self { lines })
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for (key, (cost, release)) in &self.lines {
            let _ = writeln!(text, "{}\t{:.0}\t{:.0}\t{release}", key.join("\t"), cost.total, cost.agent);
        }
        text
    }

    /// What of the figures has grown. A state that is not committed is one too.
    pub fn growth(&self, figures: &Figures) -> Vec<String> {
        let mut problems = Vec::new();
        let committed = |state: &str| self.lines.get(&key(figures, state));
        let Some((_, release)) = committed("nothing") else {
            return vec![format!("{}: docs/cost.tsv has no figures", figures.place)];
        };
        if *release != figures.release {
            println!("{}: the committed figures are of {release}, these of {}", figures.place, figures.release);
        }
        for state in STATES.into_iter().filter(|state| *state != nothing_of(state) && *state != "floor") {
            let Some(over) = figures.over_nothing(state) else { continue };
            let Some(((before, _), (nothing, _))) = committed(state).zip(committed(nothing_of(state))) else {
                problems.push(format!("{}, {state}: docs/cost.tsv has no figure", figures.place));
                continue;
            };
            let before = before.total - nothing.total;
            let most = before * (1.0 + GROWTH) + NOISE;
            // So that a gain is not lost again unnoticed.
            let hint = if over < before * (1.0 - GROWTH) - NOISE { ": less; --update writes it down" } else { "" };
            println!("{}, {state}: {over:+.0} over nothing, committed {before:+.0}{hint}", figures.place);
            if over > most {
                problems.push(format!("{}, {state}: {over:+.0} over nothing, committed {before:+.0}", figures.place));
            }
        }
        problems
    }

    /// Takes these figures in, and writes them into both files: all that are known into the one, these into the other.
    pub fn update(mut self, all: &[Figures]) -> Result<()> {
        for figures in all {
            for (state, cost) in &figures.costs {
                self.lines.insert(key(figures, state), (*cost, figures.release.clone()));
            }
        }
        fs::write(file(), self.text())?;
        let tables: Vec<String> = all.iter().map(table::text).collect();
        page::replace("figures", &tables.join("\n"))
    }
}

fn file() -> PathBuf {
    root().join("docs/cost.tsv")
}

fn key(figures: &Figures, state: &str) -> [String; 4] {
    let place = figures.place;
    [place.kernel, place.backend, place.response.name, state].map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{
        super::figures::{Place, RESPONSES},
        *,
    };

    fn figures(server: f64) -> Figures {
        let place = Place { kernel: "6.12", backend: "fentry", response: &RESPONSES[0] };
        let mut figures = Figures::new(place, "6.12.1".to_owned(), 1);
        figures.costs.insert("nothing".to_owned(), Cost { total: 28_000.0, agent: 0.0 });
        figures.costs.insert("server".to_owned(), Cost { total: server, agent: 3_000.0 });
        figures
    }

    fn committed(of: &Figures) -> Committed {
        let lines = of.costs.iter().map(|(state, cost)| (key(of, state), (*cost, of.release.clone())));
        Committed { lines: lines.collect() }
    }

    #[test]
    fn growth_by_five_percent_of_what_is_over_nothing_is_a_problem() {
        let before = committed(&figures(38_000.0));
        assert!(before.growth(&figures(38_500.0)).is_empty());
        assert!(before.growth(&figures(30_000.0)).is_empty());
        assert_eq!(before.growth(&figures(38_600.0)).len(), 1);
    }

    #[test]
    fn what_is_not_committed_is_a_problem() {
        assert_eq!(Committed::default().growth(&figures(38_000.0)).len(), 1);
    }

    #[test]
    fn what_is_written_is_read() -> Result<()> {
        let before = committed(&figures(38_000.0));
        assert_eq!(Committed::parse(&before.text())?.lines, before.lines);
        Ok(())
    }
}
