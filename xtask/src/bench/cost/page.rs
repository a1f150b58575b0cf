// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `docs/COST.md`: the parts between marks are written by the bench, the rest by people.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::workspace::root;

/// Writes what is between the marks of this name.
pub fn replace(name: &str, text: &str) -> Result<()> {
    let page = root().join("docs/COST.md");
    let before = fs::read_to_string(&page)?;
    fs::write(&page, between_marks(&before, name, text)?)?;
    Ok(())
}

fn between_marks(page: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let from = page.find(&begin).with_context(|| format!("the page has no mark where the {name} begin"))? + begin.len();
    let to = page.find(&end).with_context(|| format!("the page has no mark where the {name} end"))?;
    ensure!(from <= to, "the marks of the {name} are in the wrong order");
    Ok(format!("{}\n{}\n\n{}", &page[..from], text.trim_end(), &page[to..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() -> Result<()> {
        let page = "above\n<!-- a: begin -->\nold\n<!-- a: end -->\nbelow\n<!-- b: begin -->\nother\n<!-- b: end -->\n";
        let expected =
            "above\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\nbelow\n<!-- b: begin -->\nother\n<!-- b: end -->\n";
        assert_eq!(between_marks(page, "a", "new")?, expected);
        assert_eq!(between_marks(expected, "a", "new")?, expected);
        assert!(between_marks(page, "c", "new").is_err());
        Ok(())
    }
}
