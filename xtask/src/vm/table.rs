// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `docs/programs.tsv`: how many instructions the verifier walks in each program, on each kernel. In: what the kernel
//! tests print of it. Out: the file, or what differs from it.
//!
//! A program that does not load fails its test. A difference fails nothing: it is there to be looked at.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};

use crate::{steps::say, workspace::root};

/// What a line of a test run begins with that is a row here; tests/kernel/programs.rs prints them.
const ROW: &str = "program: ";

const FILE: &str = "docs/programs.tsv";
const HEADING: &str = "kernel\tbackend\tprogram\tcombination\twalked by the verifier\tinstructions";

/// Rows by kernel, backend, program and combination, with their two figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(BTreeMap<[String; 4], [u64; 2]>);

impl Table {
    /// Takes in one line of a test run on a kernel.
    pub fn read(&mut self, series: &str, line: &str) {
        if let Some(row) = line.strip_prefix(ROW) {
            self.insert(&format!("{series}\t{row}"));
        }
    }

    fn insert(&mut self, row: &str) -> Option<()> {
        let cells: Vec<&str> = row.split('\t').collect();
        let [kernel, backend, program, combination, walked, instructions] = cells.as_slice() else { return None };
        let key = [kernel, backend, program, combination].map(|&cell| cell.to_owned());
        self.0.insert(key, [walked.parse().ok()?, instructions.parse().ok()?]);
        Some(())
    }

    /// The committed one.
    pub fn committed() -> Result<Self> {
        let text = fs::read_to_string(root().join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
        let mut table = Self::default();
        text.lines().skip(1).for_each(|row| {
            table.insert(row);
        });
        Ok(table)
    }

    /// With the rows of what was run now in place of those that it had.
    #[must_use]
    pub fn renewed(mut self, ran: &Self) -> Self {
        self.0.retain(|key, _| !ran.has_run(key));
        self.0.extend(ran.0.clone());
        self
    }

    fn has_run(&self, key: &[String; 4]) -> bool {
        self.0.keys().any(|has| has[..2] == key[..2])
    }

    /// Writes it where the committed one is.
    pub fn write(&self) -> Result<()> {
        let rows = self
            .0
            .iter()
            .map(|(key, [walked, instructions])| format!("{}\t{walked}\t{instructions}\n", key.join("\t")));
        fs::write(root().join(FILE), format!("{HEADING}\n{}", rows.collect::<String>()))?;
        say(format!("vm: {FILE} is written"));
        Ok(())
    }

    /// A line for each program that is not as it was; of kernels and backends that were run only.
    pub fn differences(&self, committed: &Self) -> Vec<String> {
        let changed = self.0.iter().filter_map(|(key, new)| match committed.0.get(key) {
            Some(old) if old == new => None,
            Some(old) => Some(format!("{}: {} walked, {} before", key.join(", "), new[0], old[0])),
            None => Some(format!("{}: {} walked, new", key.join(", "), new[0])),
        });
        let gone = committed.0.keys().filter(|key| self.has_run(key) && !self.0.contains_key(*key));
        changed.chain(gone.map(|key| format!("{}: no longer there", key.join(", ")))).collect()
    }
}

impl FromIterator<Self> for Table {
    fn from_iter<T: IntoIterator<Item = Self>>(tables: T) -> Self {
        Self(tables.into_iter().flat_map(|table| table.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_run_can_differ() {
        let table = |rows: &[&str]| {
            let mut table = Table::default();
            rows.iter().for_each(|row| table.read("6.1", &format!("program: {row}")));
            table
        };
        let old =
            table(&["kprobe\tsend\tall fields\t100\t50", "kprobe\tgone\tall fields\t7\t7", "syscall\tx\ty\t1\t1"]);
        let new = table(&["kprobe\tsend\tall fields\t120\t50", "kprobe\tmore\tall fields\t9\t9"]);
        let expected = [
            "6.1, kprobe, more, all fields: 9 walked, new",
            "6.1, kprobe, send, all fields: 120 walked, 100 before",
            "6.1, kprobe, gone, all fields: no longer there",
        ];
        assert_eq!(new.differences(&old), expected);
        assert!(new.differences(&new).is_empty());
        assert!(new.differences(&old.clone().renewed(&new)).is_empty());
        assert_eq!(old.renewed(&new).0.len(), 3, "the row of syscall stays");
    }
}
