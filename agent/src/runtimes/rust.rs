// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Functions of Rust, by parts of their mangled names: what a name says is spread over it, in one of two ways, between hashes
//! that nobody knows beforehand.
//!
//! In: an executable with symbols, and the parts that a name must have. Out: every function that has them.
//! Does not: demangle, or read debug information.

use memchr::memmem;

use super::elf::{ElfError, ElfFile, Symbol};

/// Bytes of a name that are looked at. Larger: a window that holds less beside. Smaller: methods of long generic types would
/// not be recognised; those that are looked for have none.
const NAME_BYTES: usize = 1024;

/// For each list of parts the functions whose names have all of them. The last part is searched for; it must be rare.
///
/// # Errors
/// Where the file cannot be read.
pub fn functions(elf: &ElfFile, wanted: &[&[String]]) -> Result<Vec<Vec<Symbol>>, ElfError> {
    let mut found = vec![Vec::new(); wanted.len()];
    for table in elf.symbol_tables() {
        let places = places(elf, table.names, wanted)?;
        if places.is_empty() {
            continue;
        }
        elf.each_symbol(table, |name, symbol| {
            let from = places.partition_point(|(place, _)| *place < name);
            for (_, number) in places[from..].iter().take_while(|(place, _)| *place == name) {
                let functions: &mut Vec<Symbol> = &mut found[*number];
                if !functions.iter().any(|known| known.address == symbol.address) {
                    functions.push(symbol);
                }
            }
        })?;
    }
    Ok(found)
}

/// Where names with these parts begin in a table of names, sorted, each with its number.
fn places(elf: &ElfFile, names: &super::elf::Section, wanted: &[&[String]]) -> Result<Vec<(u64, usize)>, ElfError> {
    let mut last: Vec<&str> = wanted.iter().filter_map(|parts| parts.last().map(String::as_str)).collect();
    last.sort_unstable();
    last.dedup();
    let finders: Vec<_> = last.iter().map(|part| memmem::Finder::new(part.as_bytes())).collect();
    let mut places = Vec::new();
    elf.windows(names.offset, names.size, 1, NAME_BYTES, |at, window| {
        for place in finders.iter().flat_map(|finder| finder.find_iter(window)) {
            let begin = memchr::memrchr(0, &window[..place]).map_or(0, |zero| zero + 1);
            let Some(length) = memchr::memchr(0, &window[begin..]) else { continue };
            let name = &window[begin..begin + length];
            let has_all = |parts: &[String]| parts.iter().all(|part| memmem::find(name, part.as_bytes()).is_some());
            let numbers = (0..wanted.len()).filter(|number| has_all(wanted[*number]));
            places.extend(numbers.map(|number| (at + begin as u64, number)));
        }
        true
    })?;
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// This test's own executable has rustls in it, which sends what is exported.
    #[test]
    fn methods_of_a_trait_are_found_by_parts_of_their_names() {
        let elf = ElfFile::open(File::open("/proc/self/exe").expect("it runs")).expect("it is an ELF file");
        let parts = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        let encrypt = parts(&["rustls", "tls13", "MessageEncrypter", "7encrypt"]);
        let nothing = parts(&["rustls", "tls14", "MessageEncrypter", "7encrypt"]);
        let found = functions(&elf, &[&encrypt, &nothing]).expect("readable");
        assert_eq!((found[0].len(), found[1].len()), (1, 0), "{found:?}");
        let code = elf.code(found[0][0]).expect("it lies in the code");
        assert!(!code.is_empty());
    }
}
