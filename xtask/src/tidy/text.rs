// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about files as such: how they begin, how long they are, what they are called and what may not stay in them.

use std::{env, path::Path};

use super::{Problem, Source};
use crate::workspace::root;

/// Nobody reads a longer one as a whole.
const LONGEST_FILE: usize = 600;

/// Every Rust file names its licence and says what it is for.
pub fn licence_and_purpose_come_first(source: &Source) -> Vec<Problem> {
    if !source.is_rust() {
        return Vec::new();
    }
    let licence = if source.path.starts_with("agent-ebpf/") { "MIT OR GPL-2.0-only" } else { "Apache-2.0 OR MIT" };
    let mut lines = source.text.lines();
    let mut problems = Vec::new();
    if lines.next() != Some(&format!("// SPDX-License-Identifier: {licence}")) {
        problems.push(Problem::at(source, 0, format!("the first line is `// SPDX-License-Identifier: {licence}`")));
    }
    if !lines.next().is_some_and(|line| line.starts_with("//! ")) {
        problems.push(Problem::at(source, 1, "the second line is `//!` and says what goes in and what comes out"));
    }
    problems
}

pub fn files_stay_short(source: &Source) -> Vec<Problem> {
    let lines = source.text.lines().count();
    if !source.is_rust() || lines <= LONGEST_FILE {
        return Vec::new();
    }
    vec![Problem::at(source, LONGEST_FILE, format!("{lines} lines; the longest file has {LONGEST_FILE}"))]
}

/// Folders and modules are named after stages and things, never after layers. `agent-common` is the one exception.
pub fn folders_name_things(source: &Source) -> Vec<Problem> {
    const LAYERS: [&str; 8] = ["utils", "util", "helpers", "common", "core", "manager", "misc", "lib"];
    let (folders, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let module = file.strip_suffix(".rs").filter(|module| *module != "lib");
    let name = folders.split('/').chain(module).find(|part| LAYERS.contains(part));
    name.map(|name| Problem::at(source, 0, format!("`{name}` names no stage and no thing"))).into_iter().collect()
}

/// No ignored tests, no reminders, no code that was commented out.
pub fn nothing_is_left_over(source: &Source) -> Vec<Problem> {
    if !source.is_rust() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (number, (line, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
        if code.trim_start().starts_with("#[ignore") {
            problems.push(Problem::at(source, number, "a test that does not run is no test"));
        }
        // Only what the lexer took for a comment is one.
        let comment = line.trim_start().strip_prefix("//").filter(|_| code.trim().is_empty());
        let Some(comment) = comment.filter(|comment| !comment.starts_with(['/', '!'])) else { continue };
        if ["TODO", "FIXME", "XXX"].iter().any(|reminder| super::source::has_word(comment, reminder)) {
            problems.push(Problem::at(source, number, "a reminder: do it, or open an issue"));
        }
        if is_code(comment.trim()) {
            problems.push(Problem::at(source, number, "code that was commented out: git remembers it"));
        }
    }
    problems
}

/// Bias: a line of code that reads like a sentence is let through; prose is never refused for ending in a full stop.
fn is_code(comment: &str) -> bool {
    const OPENINGS: [&str; 9] = ["let ", "use ", "fn ", "pub ", "impl ", "if ", "for ", "match ", "return "];
    let ends_like_code = comment.ends_with([';', '{']) || comment == "}";
    ends_like_code && (comment.contains('(') || comment == "}" || OPENINGS.iter().any(|word| comment.starts_with(word)))
}

/// `#[expect]` goes away when its cause does; `#[allow]` stays for ever.
pub fn lints_are_expected_not_allowed(source: &Source) -> Vec<Problem> {
    let allowed =
        source.code.lines().enumerate().filter(|(_, line)| line.contains("#[allow(") || line.contains("#![allow("));
    allowed.map(|(line, _)| Problem::at(source, line, "say `#[expect(lint, reason = \"…\")]`")).collect()
}

/// Nothing names the folder of this checkout or the home of whoever wrote it.
pub fn paths_of_one_machine_stay_there(source: &Source) -> Vec<Problem> {
    let checkout = root().display().to_string();
    let home = env::var("HOME").unwrap_or_default();
    let marks = [
        Some(checkout).filter(|path| path.len() > 2).map(|path| path + "/"),
        Some(home).filter(|path| path.len() > 2).map(|path| path + "/."),
        Some("/.cargo/registry/".to_owned()),
        Some("/.rustup/toolchains/".to_owned()),
    ];
    let mut problems = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        // The last two are looked for by this very file.
        if marks.iter().flatten().any(|mark| line.contains(mark.as_str())) && source.path != "xtask/src/tidy/text.rs" {
            problems.push(Problem::at(source, number, "a path that exists on one machine only"));
        }
    }
    problems
}

pub fn packages_take_the_lints_of_the_workspace(source: &Source) -> Vec<Problem> {
    let is_package = source.path.ends_with("/Cargo.toml") && source.text.contains("[package]");
    // A package of its own workspace, as fuzz targets are, has none to take.
    if !is_package || source.text.contains("[workspace]") || source.text.contains("[lints]\nworkspace = true") {
        return Vec::new();
    }
    vec![Problem::at(source, 0, "the package does not say `[lints] workspace = true`")]
}

/// A path in a document, in backquotes or as a link, leads somewhere. Decisions are let be: they tell of the past.
pub fn documents_name_what_is_there(source: &Source) -> Vec<Problem> {
    if !source.path.ends_with(".md") || source.path.starts_with("docs/adr/") {
        return Vec::new();
    }
    let folder = root().join(&source.path).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut problems = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let quoted =
            line.split('`').skip(1).step_by(2).filter(|text| is_path(text)).map(|path| (path, root().join(path)));
        let linked = line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        let linked =
            linked.filter(|link| !link.contains(':') && !link.starts_with('#')).map(|link| (link, folder.join(link)));
        for (name, _) in quoted.chain(linked).filter(|(_, path)| !path.exists()) {
            problems.push(Problem::at(source, number, format!("{name} is not there")));
        }
    }
    problems
}

/// Paths begin with a folder of the checkout; other words with a slash in them do not.
fn is_path(text: &str) -> bool {
    let is_plain = text.chars().all(|character| character.is_ascii_alphanumeric() || "/._-".contains(character));
    let first = text.split_once('/').map(|(first, _)| first);
    // Built, not tracked.
    is_plain && first.is_some_and(|first| !first.is_empty() && first != "target" && root().join(first).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: super::super::Rule, path: &str, text: &str, problems: usize) {
        assert_eq!(rule(&Source::new(path, text.to_owned())).len(), problems, "{text}");
    }

    #[test]
    fn heads() {
        let head = "// SPDX-License-Identifier: Apache-2.0 OR MIT\n//! Says it.\n";
        check(licence_and_purpose_come_first, "agent/src/x.rs", head, 0);
        check(licence_and_purpose_come_first, "agent-ebpf/src/x.rs", head, 1);
        check(licence_and_purpose_come_first, "agent/src/x.rs", "fn main() {}\n", 2);
    }

    #[test]
    fn names() {
        check(folders_name_things, "agent/src/lib.rs", "", 0);
        check(folders_name_things, "agent-common/src/records.rs", "", 0);
        check(folders_name_things, "agent/src/utils.rs", "", 1);
        check(folders_name_things, "agent/src/helpers/time.rs", "", 1);
    }

    #[test]
    fn leftovers() {
        check(nothing_is_left_over, "a.rs", "// Why it is so; see RFC 9110.\nlet url = \"http://x\";\n", 0);
        check(nothing_is_left_over, "a.rs", "// let x = f();\n", 1);
        check(nothing_is_left_over, "a.rs", "// TODO: later\n", 1);
        check(nothing_is_left_over, "a.rs", "#[ignore]\nfn t() {}\n", 1);
        check(lints_are_expected_not_allowed, "a.rs", "#[allow(dead_code)]\n", 1);
    }

    #[test]
    fn documents() {
        check(
            documents_name_what_is_there,
            "x.md",
            "`xtask/src/main.rs`, `http/protobuf`, [it](Cargo.toml), [web](http://x)",
            0,
        );
        check(documents_name_what_is_there, "x.md", "`xtask/src/absent.rs` and [it](absent.md)", 2);
        check(documents_name_what_is_there, "docs/x.md", "[up](../Cargo.toml)", 0);
    }

    #[test]
    fn lengths() {
        check(files_stay_short, "a.rs", &"x\n".repeat(LONGEST_FILE), 0);
        check(files_stay_short, "a.rs", &"x\n".repeat(LONGEST_FILE + 1), 1);
    }
}
