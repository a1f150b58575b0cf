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
const SECTIONS: usize = 4096;

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
    let cache = ReadCache::new(file);
    match FileKind::parse(&cache).ok()? {
        FileKind::Elf64 => of_elf::<FileHeader64<Endianness>>(&cache),
        FileKind::Elf32 => of_elf::<FileHeader32<Endianness>>(&cache),
        _ => None,
    }
}

/// Go's linker writes `.go.buildinfo` and keeps it when stripping. The Rust compiler names itself in `.comment`, and so do
/// those of any C in the same program: Rust wins, because a C program does not hold Rust without being told to.
fn of_elf<Elf: FileHeader<Endian = Endianness>>(data: &ReadCache<&File>) -> Option<Language> {
    let header = Elf::parse(data).ok()?;
    let endian = header.endian().ok()?;
    if header.shnum(endian, data).ok()? as usize > SECTIONS {
        return None;
    }
    let sections = header.sections(endian, data).ok()?;
    if sections.section_by_name(endian, b".go.buildinfo").is_some() {
        return Some(Language::Go);
    }
    let (_, comment) = sections.section_by_name(endian, b".comment")?;
    let (offset, size) = comment.file_range(endian)?;
    let text = data.read_bytes_at(offset, size.min(COMMENT_BYTES)).ok()?;
    text.split(|byte| *byte == 0).any(|line| line.starts_with(b"rustc version ")).then_some(Language::Rust)
}
