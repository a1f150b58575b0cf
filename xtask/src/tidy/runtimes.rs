// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The libraries that are read are data, in `agent/runtimes/`: each file is compiled in, is in the page that users read, and
//! says of each function what it is for. What the fields mean is checked where they are read.

use super::{Problem, source::Source};

const FOLDER: &str = "agent/runtimes/";
const READER: &str = "agent/src/runtimes/catalogue.rs";
const PAGE: &str = "docs/TLS.md";

/// Words that must stand in every library's file, and in every function's table of it.
const OF_LIBRARIES: [&str; 6] = ["name", "title", "files", "executables", "kind", "needs"];
const OF_FUNCTIONS: [&str; 2] = ["symbol", "role"];

pub fn are_described_whole(sources: &[Source]) -> Vec<Problem> {
    let text_of = |path: &str| sources.iter().find(|source| source.path == path).map_or("", |source| &source.text);
    let (reader, page) = (text_of(READER), text_of(PAGE));
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with(FOLDER)) {
        let mut say = |line: usize, sentence: String| problems.push(Problem::at(source, line, sentence));
        if !reader.contains(source.path.trim_start_matches("agent/")) {
            say(0, format!("{READER} does not read this file"));
        }
        for title in source.text.lines().filter_map(|line| line.strip_prefix("title = ")) {
            let words = title.trim_matches('"').split([' ', ',']);
            if !words.clone().any(|word| word.len() > 1 && page.contains(word)) {
                say(0, format!("{PAGE} does not tell of {title}"));
            }
        }
        if source.text.contains("[[unreadable]]") {
            continue;
        }
        let (head, functions) = source.text.split_once("[[function]]").unwrap_or((&source.text, ""));
        for word in OF_LIBRARIES.iter().filter(|word| !has_key(head, word)) {
            say(0, format!("`{word}` is missing"));
        }
        for function in functions.split("[[function]]") {
            for word in OF_FUNCTIONS.iter().filter(|word| !has_key(function, word)) {
                say(0, format!("a function has no `{word}`"));
            }
        }
    }
    problems
}

fn has_key(text: &str, key: &str) -> bool {
    text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "name = \"a\"\ntitle = \"Alpha\"\nfiles = []\nexecutables = true\nkind = \"calls\"\n\
                         needs = []\n[[function]]\nsymbol = \"f\"\nrole = \"read\"\n";

    #[track_caller]
    fn check(text: &str, reader: &str, problems: usize) {
        let source = |path: &str, text: &str| Source::new(path, text.to_owned());
        let sources = [source("agent/runtimes/a.toml", text), source(READER, reader), source(PAGE, "Alpha is read")];
        assert_eq!(are_described_whole(&sources).len(), problems, "{text}");
    }

    #[test]
    fn a_library_is_whole_read_and_told_of() {
        const READS: &str = "include_str!(\"../../runtimes/a.toml\")";
        check(WHOLE, READS, 0);
        check(WHOLE, "", 1);
        check(&WHOLE.replace("role", "roll"), READS, 1);
        check(&WHOLE.replace("Alpha", "Beta"), READS, 1);
        check(&WHOLE.replace("needs = []\n", ""), READS, 1);
    }
}
