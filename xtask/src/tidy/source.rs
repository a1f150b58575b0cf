// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files of the checkout as the rules read them: the text, and the code alone without comments and strings.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{steps::output_of, workspace::root};

/// A tracked text file.
#[derive(Debug)]
pub struct Source {
    /// Relative to the checkout.
    pub path: String,
    pub text: String,
    /// The text with every comment and literal blanked, line for line; empty for what is not Rust.
    pub code: String,
    /// The line that the unit tests begin at; files of tests are tests from their first line.
    pub tests_from: usize,
}

impl Source {
    pub fn new(path: &str, text: String) -> Self {
        let is_rust = path.ends_with(".rs");
        let code = if is_rust { code_only(&text) } else { String::new() };
        let is_test = path.starts_with("tests/")
            || path.ends_with("tests.rs")
            || ["/tests/", "/benches/", "/fuzz/"].iter().any(|folder| path.contains(folder));
        let tests_from = match code.lines().position(|line| line.trim_start().starts_with("#[cfg(test)]")) {
            _ if is_test => 0,
            Some(line) => line,
            None => usize::MAX,
        };
        Self { path: path.to_owned(), text, code, tests_from }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Lines of code that are not tests, numbered from zero.
    pub fn shipped_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().take(self.tests_from)
    }
}

/// Whether the word stands in the line as an identifier of its own.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part))
}

/// Every file that git tracks or would track, if it is text.
pub fn read_all() -> Result<Vec<Source>> {
    let list = output_of(
        Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
            .current_dir(root()),
    )
    .context("tidy reads the files that git tracks")?;
    let mut sources = Vec::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        let file: PathBuf = root().join(path);
        // Recordings and corpora are not text; a file may be deleted and not yet committed as such.
        let Ok(bytes) = fs::read(&file) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source::new(path, text));
        }
    }
    Ok(sources)
}

/// Blanks comments, strings and character literals, and keeps line breaks. Lifetimes are told from characters by the
/// quote that closes these.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let length = skipped_length(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        for byte in &mut code[at..at + length] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length.max(1);
    }
    String::from_utf8(code).expect("whole literals and comments were blanked, and these end at character bounds")
}

/// The length of the comment or literal that begins here; zero where code goes on.
fn skipped_length(rest: &[u8], before: Option<u8>) -> usize {
    let end_of = |open: usize, close: &[u8]| {
        rest[open..]
            .windows(close.len())
            .position(|window| window == close)
            .map_or(rest.len(), |at| open + at + close.len())
    };
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => end_of(2, b"*/"),
        [b'r', b'"' | b'#', ..] if !in_word || before == Some(b'b') => {
            let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
            // `r#name` is an identifier.
            if rest.get(1 + hashes) != Some(&b'"') {
                return 0;
            }
            let close = format!("\"{}", "#".repeat(hashes));
            end_of(2 + hashes, close.as_bytes())
        }
        [b'"', ..] => {
            let mut at = 1;
            while at < rest.len() && rest[at] != b'"' {
                at += if rest[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(rest.len())
        }
        [b'\'', b'\\', _, tail @ ..] => tail.iter().position(|byte| *byte == b'\'').map_or(0, |at| at + 4),
        [b'\'', first, tail @ ..] if *first != b'\'' => {
            // One character of up to four bytes, then the closing quote.
            let more = match first {
                0xf0.. => 3,
                0xe0.. => 2,
                0xc0.. => 1,
                _ => 0,
            };
            if tail.get(more) == Some(&b'\'') { more + 3 } else { 0 }
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: &str) {
        assert_eq!(code_only(text).split_whitespace().collect::<Vec<_>>().join(" "), code);
        assert_eq!(code_only(text).lines().count(), text.lines().count());
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check("a // b\nc", "a c");
        check("a /* b\n */ c", "a c");
        check(r#"f("x\"y", 'z', '\n', '\'') + 1"#, "f( , , , ) + 1");
        check("f(r#\"x\"y\"#, b\"z\", r\"\\\")", "f( , b , )");
        check("r#type: &'a str = 'ä'", "r#type: &'a str =");
        check("impl<'a> X<'a> for Y", "impl<'a> X<'a> for Y");
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use aya::Ebpf;", "aya"));
        assert!(!has_word("use aya_ebpf::x;", "aya"));
    }
}
