// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Functions of a Go program, by the table that every one carries for its own tracebacks: it is there in stripped programs
//! too, and in those of any kind of linking.
//!
//! In: an ELF file. Out: its version of Go, and functions by name. The table is read window by window, as symbols are.
//! Formats: src/internal/abi/symtab.go and src/debug/gosym/pclntab.go, of Go 1.16, 1.18 and 1.20.

use memchr::memmem;

use super::elf::{ElfError, ElfFile, Section, Symbol};

/// `pclntab` magics of Go 1.18 and 1.20 on; 1.17 has the one before.
const MAGIC_116: u32 = 0xffff_fffa;
const MAGIC_118: u32 = 0xffff_fff0;
const MAGIC_120: u32 = 0xffff_fff1;

/// Where the sections are called otherwise: position-independent programs keep the table where it can be relocated.
const TABLES: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
const BUILD_INFORMATION: &str = ".go.buildinfo";

/// Version strings are short; a longer one is damage.
const VERSION_BYTES: usize = 64;

/// The table's parts, in the file.
struct Table {
    /// Where names lie, and how far they may reach.
    names: (u64, u64),
    /// Pairs of a function's place in the code and its description's place, counted from here.
    functions: u64,
    end: u64,
    count: u64,
    /// What places in the code are counted from; 1.17 has addresses.
    text: u64,
    /// Bytes of each of the pair: 4, and in 1.17 as many as a pointer has.
    word: usize,
}

/// The version, such as `go1.26.8`; absent where this is no Go program.
///
/// # Errors
/// Where the file cannot be read.
pub fn version(elf: &ElfFile) -> Result<Option<String>, ElfError> {
    let Some(section) = elf.section(BUILD_INFORMATION) else { return Ok(None) };
    let bytes = elf.bytes(section.address, section.size.min(32 + 2 + VERSION_BYTES as u64))?;
    // src/debug/buildinfo: the magic, the size of a pointer, flags; from Go 1.18 on (bit 1) the text follows with its length.
    let inline = bytes.starts_with(b"\xff Go buildinf:") && bytes.get(15).is_some_and(|flags| flags & 2 != 0);
    let text = bytes.get(32..).and_then(|rest| rest.split_first());
    Ok(Some(match text {
        Some((&length, text)) if inline && usize::from(length) <= text.len().min(VERSION_BYTES) => {
            String::from_utf8_lossy(&text[..usize::from(length)]).into_owned()
        }
        _ => "go".to_owned(),
    }))
}

/// The functions of these names, a place for each; absent where this is no Go program that we can read.
///
/// # Errors
/// Where the file cannot be read.
pub fn functions(elf: &ElfFile, names: &[&str]) -> Result<Option<Vec<Option<Symbol>>>, ElfError> {
    let Some(section) = TABLES.iter().find_map(|name| elf.section(name)) else { return Ok(None) };
    let Some(table) = Table::read(elf, section)? else { return Ok(None) };
    let mut found = vec![None; names.len()];
    let offsets = name_offsets(elf, &table, names)?;
    if offsets.is_empty() {
        return Ok(Some(found));
    }
    let descriptions = descriptions(elf, &table, &offsets)?;
    addresses(elf, &table, &descriptions, &mut found)?;
    Ok(Some(found))
}

impl Table {
    fn read(elf: &ElfFile, section: &Section) -> Result<Option<Self>, ElfError> {
        let header = elf.bytes(section.address, 80)?;
        let Some((&magic, _)) = header.split_first_chunk::<4>() else { return Ok(None) };
        let word = |index: usize| {
            let bytes = header.get(8 + index * 8..).and_then(|rest| rest.first_chunk::<8>());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        if header.get(7) != Some(&8) {
            return Ok(None);
        }
        let place = |index: usize| section.offset.saturating_add(word(index));
        let end = section.offset.saturating_add(section.size);
        Ok(match u32::from_le_bytes(magic) {
            // magic, 2 × 0, quantum, pointer size, functions, files, [text,] names, units, files, counters, functions
            MAGIC_118 | MAGIC_120 => Some(Self {
                names: (place(3), word(4).saturating_sub(word(3))),
                functions: place(7),
                end,
                count: word(0),
                text: text_start(elf, word(2))?,
                word: 4,
            }),
            MAGIC_116 => Some(Self {
                names: (place(2), word(3).saturating_sub(word(2))),
                functions: place(6),
                end,
                count: word(0),
                text: 0,
                word: 8,
            }),
            _ => None,
        })
    }

    fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.functions)
    }
}

/// Where Go's own code begins. Programs linked by the system's linker begin with code that is not Go's, position-independent
/// ones learn it when they are loaded, and Go 1.26 does not write it any more.
fn text_start(elf: &ElfFile, told: u64) -> Result<u64, ElfError> {
    if told != 0 {
        return Ok(told);
    }
    let symbol = elf.symbols(&["runtime.text"])?[0].map(|symbol| symbol.address);
    Ok(symbol.or_else(|| elf.section(".text").map(|section| section.address)).unwrap_or(0))
}

/// Where the names lie among the names, each with its number.
fn name_offsets(elf: &ElfFile, table: &Table, names: &[&str]) -> Result<Vec<(u32, usize)>, ElfError> {
    // A name begins behind the end of the one before it.
    let whole: Vec<Vec<u8>> = names.iter().map(|name| [b"\0", name.as_bytes(), b"\0"].concat()).collect();
    let longest = whole.iter().map(Vec::len).max().unwrap_or(0);
    let mut offsets = Vec::new();
    elf.windows(table.names.0, table.names.1, 1, longest, |at, window| {
        for (number, name) in whole.iter().enumerate() {
            if let Some(place) = memmem::find(window, name) {
                offsets.push(((at + place as u64 + 1) as u32, number));
            }
        }
        true
    })?;
    offsets.sort_unstable();
    offsets.dedup();
    Ok(offsets)
}

/// Where the functions are described that have these names, by their numbers: entry and name are the first words of each.
fn descriptions(elf: &ElfFile, table: &Table, names: &[(u32, usize)]) -> Result<Vec<(u64, usize)>, ElfError> {
    let pair = 2 * table.word as u64;
    let places = table.count.saturating_mul(pair);
    let mut found = Vec::new();
    // The descriptions follow the pairs, at multiples of four; a function's name is its third word, in 1.17 its second
    // after an address. What looks like one and is none has no pair that leads to it.
    let first = places + table.word as u64;
    let name_at = if table.word == 4 { 4 } else { 8 };
    elf.windows(table.functions + first, table.bytes().saturating_sub(first), 4, 0, |at, window| {
        for (index, bytes) in window.as_chunks::<4>().0.iter().enumerate() {
            let name = u32::from_le_bytes(*bytes);
            if let Ok(known) = names.binary_search_by_key(&name, |(offset, _)| *offset) {
                let place = (first + at + index as u64 * 4).wrapping_sub(name_at);
                found.push((place, names[known].1));
            }
        }
        true
    })?;
    found.sort_unstable();
    Ok(found)
}

/// The pairs lead from addresses to descriptions, in the order of addresses: the next one's is a function's end.
fn addresses(
    elf: &ElfFile,
    table: &Table,
    descriptions: &[(u64, usize)],
    found: &mut [Option<Symbol>],
) -> Result<(), ElfError> {
    let pair = 2 * table.word;
    let mut open: Option<usize> = None;
    let word = |bytes: &[u8]| {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(whole)
    };
    elf.windows(table.functions, (table.count + 1).saturating_mul(pair as u64), pair, 0, |_, window| {
        for entry in window.chunks_exact(pair) {
            let (address, place) = entry.split_at(table.word);
            let (address, place) = (table.text.wrapping_add(word(address)), word(place));
            if let Some(symbol) = open.take().and_then(|number: usize| found[number].as_mut()) {
                symbol.size = address.saturating_sub(symbol.address);
            }
            if let Ok(index) = descriptions.binary_search_by_key(&place, |(place, _)| *place) {
                let number = descriptions[index].1;
                found[number].get_or_insert(Symbol { address, size: 0 });
                open = Some(number);
            }
        }
        true
    })
}
