// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The licences of everything that is linked in: each package must offer one from the list in deny.toml.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use super::{Problem, source::Source};
use crate::{steps::output_of, workspace::cargo};

pub fn check(sources: &[Source]) -> Result<Vec<Problem>> {
    let list = sources.iter().find(|source| source.path == "deny.toml").context("deny.toml lists the licences")?;
    let allowed = allowed_licences(&list.text);
    ensure!(!allowed.is_empty(), "deny.toml allows no licence at all");
    let tree = output_of(
        cargo(["tree", "--workspace", "--edges", "normal,build", "--prefix", "none"]).args(["--format", "{p}\t{l}"]),
    )?;
    let packages: BTreeSet<(&str, &str)> = tree.lines().filter_map(|line| line.split_once('\t')).collect();
    let refused = packages.into_iter().filter(|(_, licence)| !is_met(licence.trim_end_matches(" (*)"), &allowed));
    Ok(refused
        .map(|(name, licence)| Problem(format!("{name} is under `{licence}`, which deny.toml does not allow")))
        .collect())
}

/// The strings of `allow = […]`.
fn allowed_licences(text: &str) -> Vec<&str> {
    let list = text.split_once("\nallow = [").and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
    list.split('"').skip(1).step_by(2).collect()
}

/// An SPDX expression: `AND` binds tighter than `OR`, and the old `/` means `OR`. What is not understood is refused.
fn is_met(expression: &str, allowed: &[&str]) -> bool {
    let outer = split_outside_brackets(expression, &[" OR ", "/"]);
    if outer.len() > 1 {
        return outer.iter().any(|part| is_met(part, allowed));
    }
    let inner = split_outside_brackets(expression, &[" AND "]);
    if inner.len() > 1 {
        return inner.iter().all(|part| is_met(part, allowed));
    }
    let expression = expression.trim();
    match expression.strip_prefix('(').and_then(|inside| inside.strip_suffix(')')) {
        Some(inside) => is_met(inside, allowed),
        None => allowed.contains(&expression),
    }
}

fn split_outside_brackets<'a>(text: &'a str, separators: &[&str]) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start, mut at) = (Vec::new(), 0usize, 0, 0);
    while let Some(character) = text[at..].chars().next() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match separators.iter().find(|separator| depth == 0 && text[at..].starts_with(**separator)) {
            Some(separator) => {
                parts.push(&text[start..at]);
                at += separator.len();
                start = at;
            }
            None => at += character.len_utf8(),
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"];
        for met in
            ["MIT", "GPL-2.0 OR MIT", "MIT/Unlicense", "(MIT OR GPL-2.0) AND ISC", "Apache-2.0 WITH LLVM-exception"]
        {
            assert!(is_met(met, &allowed), "{met}");
        }
        for refused in
            ["", "GPL-2.0", "MIT AND GPL-2.0", "GPL-2.0 AND MIT OR LGPL-2.1", "(GPL-2.0 OR AGPL-3.0) AND MIT"]
        {
            assert!(!is_met(refused, &allowed), "{refused}");
        }
    }

    #[test]
    fn the_list() {
        assert_eq!(allowed_licences("[licenses]\nallow = [\n  \"MIT\",\n  \"ISC\",\n]\n"), ["MIT", "ISC"]);
    }
}
