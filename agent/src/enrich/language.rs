// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The language that a program is written in, where that is certain.
//!
//! In: names of programs and libraries, and executables. Out: the language, or nothing.
//! Does not: read more of an executable than its headers and two small sections, so that 300 MB cost what 3 KB do. C++
//! is never told: its library is mapped into programs of every language.

use std::fs::File;

use object::{
    Endianness, FileKind,
    elf::{FileHeader32, FileHeader64},
    read::{
        ReadCache, ReadRef,
        elf::{FileHeader, SectionHeader as _},
    },
};
use serde::{Deserialize, Serialize};

/// Bytes of a `.comment` section that are read; compilers write a line each. Larger: a crafted file costs memory.
/// Smaller: many compilers' lines hide the one that is looked for.
const COMMENT_BYTES: u64 = 4096;

/// Sections of an executable. Larger: a crafted file costs memory, 64 bytes each. Smaller: unusual builds are not
/// recognised.
const SECTIONS: u32 = 4096;

/// The languages that have a well-known name in `telemetry.sdk.language`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Dotnet,
    Erlang,
    Go,
    Java,
    Nodejs,
    Php,
    Python,
    Ruby,
    Rust,
}

impl Language {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dotnet => "dotnet",
            Self::Erlang => "erlang",
            Self::Go => "go",
            Self::Java => "java",
            Self::Nodejs => "nodejs",
            Self::Php => "php",
            Self::Python => "python",
            Self::Ruby => "ruby",
            Self::Rust => "rust",
        }
    }
}

/// Interpreters and virtual machines, by the file name of the executable.
#[must_use]
pub fn of_program_name(name: &str) -> Option<Language> {
    // `python3.12`, `ruby3.1`, `php8.2`, `php-fpm8.2`.
    let bare = name.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.');
    Some(match bare {
        "java" => Language::Java,
        "node" | "nodejs" => Language::Nodejs,
        "python" | "pypy" => Language::Python,
        "ruby" | "jruby" | "truffleruby" => Language::Ruby,
        "php" | "php-fpm" | "php-cgi" | "frankenphp" => Language::Php,
        "dotnet" => Language::Dotnet,
        "beam.smp" => Language::Erlang,
        _ => return None,
    })
}

/// Runtimes inside other executables, by the file name of a mapped library.
#[must_use]
pub fn of_mapped_file(name: &str) -> Option<Language> {
    let begins = |prefix: &str| name.starts_with(prefix);
    Some(match name {
        "libjvm.so" => Language::Java,
        "libcoreclr.so" => Language::Dotnet,
        _ if begins("libnode.so") => Language::Nodejs,
        _ if begins("libpython2.") || begins("libpython3.") => Language::Python,
        _ if begins("libruby.so") || begins("libruby-") => Language::Ruby,
        _ if begins("libphp.so") || begins("libphp8") => Language::Php,
        _ => return None,
    })
}

/// Compiled programs, by what their executable says of itself.
#[must_use]
pub fn of_executable(file: &File) -> Option<Language> {
    of_bytes(&ReadCache::new(file))
}

fn of_bytes<'data, R: ReadRef<'data>>(bytes: R) -> Option<Language> {
    match FileKind::parse(bytes).ok()? {
        FileKind::Elf64 => of_elf::<FileHeader64<Endianness>, R>(bytes),
        FileKind::Elf32 => of_elf::<FileHeader32<Endianness>, R>(bytes),
        _ => None,
    }
}

/// Go's linker writes `.go.buildinfo` and keeps it when stripping. The Rust compiler names itself in `.comment`, and so do
/// those of any C in the same program: Rust wins, because a C program does not hold Rust without being told to.
fn of_elf<'data, Elf: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(bytes: R) -> Option<Language> {
    let header = Elf::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    if header.shnum(endian, bytes).ok()? > SECTIONS {
        return None;
    }
    let sections = header.sections(endian, bytes).ok()?;
    if sections.section_by_name(endian, b".go.buildinfo").is_some() {
        return Some(Language::Go);
    }
    let (_, comment) = sections.section_by_name(endian, b".comment")?;
    let (offset, size) = comment.file_range(endian)?;
    let text = bytes.read_bytes_at(offset, size.min(COMMENT_BYTES)).ok()?;
    text.split(|byte| *byte == 0).any(|line| line.starts_with(b"rustc version ")).then_some(Language::Rust)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_by_name() {
        for (name, expected) in [
            ("java", Some(Language::Java)),
            ("node", Some(Language::Nodejs)),
            ("python3.12", Some(Language::Python)),
            ("php-fpm8.2", Some(Language::Php)),
            ("ruby3.1", Some(Language::Ruby)),
            ("beam.smp", Some(Language::Erlang)),
            ("nginx", None),
            ("pythonic", None),
            ("3.1", None),
        ] {
            assert_eq!(of_program_name(name), expected, "{name}");
        }
    }

    #[test]
    fn runtimes_by_library() {
        for (name, expected) in [
            ("libjvm.so", Some(Language::Java)),
            ("libpython3.12.so.1.0", Some(Language::Python)),
            ("libcoreclr.so", Some(Language::Dotnet)),
            ("libruby-3.1.so.3.1.2", Some(Language::Ruby)),
            ("libstdc++.so.6", None),
            ("libpythonic.so", None),
        ] {
            assert_eq!(of_mapped_file(name), expected, "{name}");
        }
    }

    #[test]
    fn files_that_say_nothing() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for path in [source, "/bin/sh", "/dev/null"] {
            let found = File::open(path).map(|file| of_executable(&file));
            assert_eq!(found.ok().flatten(), None, "{path}");
        }
    }

    /// The head of this very program with its numbers spoiled: nothing found, and nothing large read.
    #[test]
    fn crafted_headers() {
        let path = std::env::current_exe().expect("this program has a file");
        let mut head = Vec::new();
        let file = File::open(path).expect("it can be read");
        std::io::Read::read_to_end(&mut std::io::Read::take(file, 4096), &mut head).expect("it is a file");
        for cut in 0..head.len() {
            assert_eq!(of_bytes(&head[..cut]), None);
        }
        for byte in 16..64 {
            let mut spoiled = head.clone();
            spoiled[byte] = !spoiled[byte];
            assert_eq!(of_bytes(spoiled.as_slice()), None);
        }
    }
}
