// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask bench cost --scale`: a request's cost by connections and by watched processes, memory a connection, and
//! Onlooker's share of the processor while everything is quiet.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::{
    figures::Place,
    guest::Programs,
    page,
    table::{aligned, grouped},
};
use crate::{steps::say, vm};

/// A cost over nothing that grows by more, from the smallest number to the largest, is not flat.
const FLAT: f64 = 1.15;

/// What quiet processes may take of a processor, in millionths: 0.1 %.
const IDLE_PPM: f64 = 1_000.0;

/// Figures by subject and number, then by metric.
type Rows = BTreeMap<(String, u64), BTreeMap<String, f64>>;

pub fn run(programs: &Programs, places: &[Place], update: bool) -> Result<()> {
    let (mut tables, mut problems) = (Vec::new(), Vec::new());
    for place in places {
        let release = vm::series(place.kernel)?.fetch()?.release;
        say(format!("bench cost: scale, kernel {}, {}", place.kernel, place.backend));
        let parameters = [format!("backend={}", place.backend)];
        let rows = read(&programs.boot(place.kernel, "scale", &parameters)?)?;
        tables.push(format!("Linux {release}, {}, small requests\n\n{}", place.backend, text(&rows)?));
        problems.extend(verdicts(&rows)?.into_iter().map(|problem| format!("{}: {problem}", place.backend)));
    }
    println!("\n{}", tables.join("\n"));
    if update {
        page::replace("scale", &tables.join("\n"))?;
    }
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    ensure!(problems.is_empty(), "{} figures do not scale", problems.len());
    Ok(())
}

fn read(lines: &[String]) -> Result<Rows> {
    let mut rows = Rows::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["scale", subject, number, metric, value] = words.as_slice() {
            let row = rows.entry(((*subject).to_owned(), number.parse()?)).or_default();
            row.insert((*metric).to_owned(), value.parse()?);
        }
    }
    Ok(rows)
}

fn text(rows: &Rows) -> Result<String> {
    let head = ["watched", "nothing", "over nothing", "agent", "memory KiB", "maps KiB", "idle, % of a core"];
    let mut cells = vec![head.map(str::to_owned)];
    for ((subject, number), row) in rows {
        let get =
            |metric: &str| row.get(metric).copied().with_context(|| format!("{number} {subject} have no {metric}"));
        cells.push([
            format!("{subject}: {}", grouped(*number as f64)),
            grouped(get("nothing")?),
            grouped(get("total")? - get("nothing")?),
            grouped(get("agent")?),
            grouped(get("memory")? / 1024.0),
            grouped(get("maps")? / 1024.0),
            row.get("idle_ppm").map_or(String::new(), |ppm| format!("{:.4}", ppm / 10_000.0)),
        ]);
    }
    let each = bytes_a_connection(rows)?;
    Ok(format!("{}\n{} bytes of memory and kernel maps a connection\n", aligned(&cells), grouped(each)))
}

fn bytes_a_connection(rows: &Rows) -> Result<f64> {
    let ((few, least), (many, most)) = ends(rows, "connections")?;
    let grown = |metric: &str| Some(most.get(metric)? - least.get(metric)?);
    let grown = grown("memory").zip(grown("maps")).context("there is no memory")?;
    Ok((grown.0 + grown.1) / (many - few) as f64)
}

fn verdicts(rows: &Rows) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for subject in ["connections", "processes"] {
        let ((few, least), (many, most)) = ends(rows, subject)?;
        let over = |row: &BTreeMap<String, f64>| Some(row.get("total")? - row.get("nothing")?);
        let (first, last) = over(least).zip(over(most)).context("a row without its total")?;
        if last > first * FLAT {
            problems.push(format!("{first:.0} over nothing with {few} {subject}, {last:.0} with {many}"));
        }
    }
    for ((subject, number), row) in rows {
        if row.get("idle_ppm").is_some_and(|ppm| *ppm > IDLE_PPM) {
            problems.push(format!("{number} quiet {subject} take more than 0.1 % of a core"));
        }
    }
    Ok(problems)
}

type Row<'a> = (u64, &'a BTreeMap<String, f64>);

/// The rows of a subject with the least and the most of it.
fn ends<'a>(rows: &'a Rows, subject: &str) -> Result<(Row<'a>, Row<'a>)> {
    let mut of_subject = rows.iter().filter(|((name, _), _)| name == subject).map(|((_, number), row)| (*number, row));
    let first = of_subject.next().with_context(|| format!("no {subject} were measured"))?;
    Ok((first, of_subject.next_back().unwrap_or(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(many: u64, idle: u64) -> Result<Rows> {
        let lines = format!(
            "scale connections 1 nothing 100\nscale connections 1 total 200\nscale connections 1 agent 50\n\
             scale connections 1 memory 1000\nscale connections 1 maps 500\n\
             scale connections 11 nothing 100\nscale connections 11 total {many}\nscale connections 11 agent 50\n\
             scale connections 11 memory 2000\nscale connections 11 maps 500\n\
             scale processes 1 nothing 100\nscale processes 1 total 200\nscale processes 1 agent 50\n\
             scale processes 1 memory 1000\nscale processes 1 maps 500\nscale processes 1 idle_ppm {idle}"
        );
        read(&lines.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn growth_and_restlessness_are_problems() -> Result<()> {
        assert!(verdicts(&rows(214, 1000)?)?.is_empty());
        assert_eq!(verdicts(&rows(216, 1000)?)?.len(), 1);
        assert_eq!(verdicts(&rows(214, 1001)?)?.len(), 1);
        Ok(())
    }

    #[test]
    fn memory_is_that_of_the_connections_between() -> Result<()> {
        assert_eq!(bytes_a_connection(&rows(200, 0)?)?, 100.0);
        assert!(text(&rows(200, 0)?)?.contains("100 bytes of memory"));
        Ok(())
    }
}
