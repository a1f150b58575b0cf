// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An executable or shared file: where named functions begin in it, and their code.
//!
//! In: an open file. Out: symbols by name, bytes at addresses, places in the file. Everything is read through one small
//! window: files of hundreds of megabytes with as many symbols cost the memory of one window, and their pages are not
//! held. Does not: load debug information, demangle, or keep what it read.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use memchr::memmem;
use object::{
    LittleEndian as Le,
    elf::{
        EM_AARCH64, EM_X86_64, FileHeader64, PF_X, PT_LOAD, ProgramHeader64, R_AARCH64_RELATIVE, R_X86_64_RELATIVE,
        Rela64, RelocationType, SHT_DYNSYM, SHT_NOBITS, SHT_RELA, SHT_SYMTAB, SectionHeader64, Sym64,
    },
    pod,
};

use super::file_id::FileId;

/// Bytes read at a time. Larger: memory. Smaller: more system calls for a large table.
const WINDOW_BYTES: usize = 256 * 1024;

/// Section and program headers that are looked at. Larger: a damaged header makes us read for long. Smaller: programs
/// built with a section for each function would not be read; linkers merge those.
const HEADERS: u64 = 65_536;

/// Bytes of one function that are read: the code that decides stands at its beginning, or, for Go, in the whole of it.
/// Larger: more to decode. Smaller: what a long function does late is not found.
const FUNCTION_BYTES: u64 = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is no ELF file of 64 bits in this machine's byte order")]
    NotElf,
    #[error("is damaged: {0} lies outside of it")]
    Damaged(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Machine {
    X86_64,
    Arm64,
    Other,
}

impl Machine {
    /// The one that this program is built for.
    pub const OWN: Self = if cfg!(target_arch = "x86_64") {
        Self::X86_64
    } else if cfg!(target_arch = "aarch64") {
        Self::Arm64
    } else {
        Self::Other
    };

    /// Whether a relocation of this type puts an address of the file's own in its place.
    fn is_relative(self, kind: RelocationType) -> bool {
        match self {
            Self::X86_64 => kind == R_X86_64_RELATIVE,
            Self::Arm64 => kind == R_AARCH64_RELATIVE,
            Self::Other => false,
        }
    }
}

#[derive(Debug)]
pub struct ElfFile {
    file: File,
    id: FileId,
    machine: Machine,
    sections: Vec<Section>,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
pub struct Section {
    name: String,
    kind: u32,
    link: u32,
    pub address: u64,
    pub offset: u64,
    pub size: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct SymbolTable<'a> {
    symbols: &'a Section,
    pub names: &'a Section,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    address: u64,
    offset: u64,
    bytes: u64,
    is_code: bool,
}

/// A function, at an address of the file's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub address: u64,
    /// 0 where it is not known.
    pub size: u64,
}

impl ElfFile {
    /// # Errors
    /// Where it is something else, or cannot be read.
    pub fn open(file: File) -> Result<Self, ElfError> {
        let id = FileId::of(&file)?;
        let mut bytes = [0; size_of::<FileHeader64<Le>>()];
        file.read_exact_at(&mut bytes, 0).map_err(|_| ElfError::NotElf)?;
        let (header, _) = pod::from_bytes::<FileHeader64<Le>>(&bytes).map_err(|()| ElfError::NotElf)?;
        // \x7fELF, 64 bits, little endian.
        if bytes[..6] != *b"\x7fELF\x02\x01" {
            return Err(ElfError::NotElf);
        }
        let machine = match header.e_machine.get(Le) {
            EM_X86_64 => Machine::X86_64,
            EM_AARCH64 => Machine::Arm64,
            _ => Machine::Other,
        };
        let segments = table::<ProgramHeader64<Le>>(&file, header.e_phoff.get(Le), header.e_phnum.get(Le).into())?;
        let segments = segments.iter().filter(|segment| segment.p_type.get(Le) == PT_LOAD).map(Segment::new).collect();
        let mut elf = Self { file, id, machine, sections: Vec::new(), segments };
        elf.sections = elf.read_sections(header)?;
        Ok(elf)
    }

    #[must_use]
    pub const fn id(&self) -> FileId {
        self.id
    }

    #[must_use]
    pub const fn machine(&self) -> Machine {
        self.machine
    }

    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name && section.kind != SHT_NOBITS.0)
    }

    /// Whether it has more symbols than are needed to run it.
    #[must_use]
    pub fn has_symbols(&self) -> bool {
        self.sections.iter().any(|section| section.kind == SHT_SYMTAB.0 && section.size > 0)
    }

    /// The functions of these names, by the table for linking at run time, else by the full one; a place for each.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn symbols(&self, names: &[&str]) -> Result<Vec<Option<Symbol>>, ElfError> {
        let mut found = vec![None; names.len()];
        for table in self.symbol_tables() {
            if found.iter().any(Option::is_none) {
                self.search(table, names, &mut found)?;
            }
        }
        Ok(found)
    }

    /// The table for linking at run time, and then the full one.
    pub fn symbol_tables(&self) -> impl Iterator<Item = SymbolTable<'_>> {
        let tables = [SHT_DYNSYM.0, SHT_SYMTAB.0].into_iter();
        let tables = tables.flat_map(|kind| self.sections.iter().filter(move |section| section.kind == kind));
        tables.filter_map(|symbols| Some(SymbolTable { symbols, names: self.sections.get(symbols.link as usize)? }))
    }

    /// First the names, by their bytes; then the symbols, by where their names lie. Neither table is ever whole in memory.
    fn search(&self, table: SymbolTable<'_>, names: &[&str], found: &mut [Option<Symbol>]) -> Result<(), ElfError> {
        let places = self.places(table.names, names)?;
        if places.is_empty() {
            return Ok(());
        }
        self.each_symbol(table, |name, symbol| {
            if let Ok(index) = places.binary_search_by_key(&name, |(place, _)| *place) {
                found[places[index].1].get_or_insert(symbol);
            }
        })
    }

    /// Hands out every symbol that lies somewhere, with the place of its name in the table of names.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn each_symbol(&self, table: SymbolTable<'_>, mut handle: impl FnMut(u64, Symbol)) -> Result<(), ElfError> {
        const SYMBOL_BYTES: usize = size_of::<Sym64<Le>>();
        self.windows(table.symbols.offset, table.symbols.size, SYMBOL_BYTES, 0, |_, window| {
            let symbols = pod::slice_from_bytes::<Sym64<Le>>(window, window.len() / SYMBOL_BYTES);
            let (symbols, _) = symbols.expect("as many as there is room for, with no alignment");
            for symbol in symbols.iter().filter(|symbol| symbol.st_value.get(Le) != 0) {
                let (address, size) = (symbol.st_value.get(Le), symbol.st_size.get(Le));
                handle(symbol.st_name.get(Le).into(), Symbol { address, size });
            }
            true
        })
    }

    /// Where the names lie in a table of names, sorted, each with its number. Linkers let a name be the end of a longer one.
    fn places(&self, strings: &Section, names: &[&str]) -> Result<Vec<(u64, usize)>, ElfError> {
        let ended: Vec<Vec<u8>> = names.iter().map(|name| [name.as_bytes(), b"\0"].concat()).collect();
        let finders: Vec<memmem::Finder<'_>> = ended.iter().map(memmem::Finder::new).collect();
        let longest = ended.iter().map(Vec::len).max().unwrap_or(0);
        let mut places = Vec::new();
        self.windows(strings.offset, strings.size, 1, longest, |at, window| {
            for (number, finder) in finders.iter().enumerate() {
                places.extend(finder.find_iter(window).map(|place| (at + place as u64, number)));
            }
            true
        })?;
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// Hands out `size` bytes from `offset` on, window by window, in whole units of `unit` bytes, each window beginning
    /// with the last `overlap` bytes of the one before. Told with each: where it begins, from the first byte. Until `false`.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn windows(
        &self,
        offset: u64,
        size: u64,
        unit: usize,
        overlap: usize,
        mut handle: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), ElfError> {
        let mut window = vec![0; WINDOW_BYTES / unit * unit];
        let mut done = 0;
        while done < size {
            let wanted = usize::try_from(size - done).unwrap_or(usize::MAX).min(window.len());
            let read = read_up_to(&self.file, &mut window[..wanted], offset.saturating_add(done))?;
            if read < unit || !handle(done, &window[..read / unit * unit]) {
                break;
            }
            if done + read as u64 >= size || read <= overlap {
                break;
            }
            done += (read - overlap) as u64 / unit as u64 * unit as u64;
        }
        Ok(())
    }

    /// A function's code: `size` bytes, or where that is 0 as many as a function is looked at.
    ///
    /// # Errors
    /// Where it lies outside of the code.
    pub fn code(&self, symbol: Symbol) -> Result<Vec<u8>, ElfError> {
        let segment = self.segment(symbol.address).filter(|segment| segment.is_code);
        let segment = segment.ok_or(ElfError::Damaged("a function"))?;
        let left = segment.address + segment.bytes - symbol.address;
        let size = if symbol.size == 0 { FUNCTION_BYTES } else { symbol.size.min(FUNCTION_BYTES) };
        self.bytes(symbol.address, size.min(left))
    }

    /// The same from the first byte to the last; nothing where it is too long to be looked at.
    ///
    /// # Errors
    /// Where it lies outside of the code.
    pub fn whole_code(&self, symbol: Symbol) -> Result<Option<Vec<u8>>, ElfError> {
        if symbol.size > FUNCTION_BYTES {
            return Ok(None);
        }
        let code = self.code(symbol)?;
        Ok((code.len() as u64 == symbol.size).then_some(code))
    }

    /// Bytes at an address.
    ///
    /// # Errors
    /// Where the file has none there.
    pub fn bytes(&self, address: u64, size: u64) -> Result<Vec<u8>, ElfError> {
        let offset = self.file_offset(address).ok_or(ElfError::Damaged("an address"))?;
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| ElfError::Damaged("an address"))?];
        let read = read_up_to(&self.file, &mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// The addresses that lie at these places once the file has been loaded; nothing for those that other files decide.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn pointers(&self, places: &[u64]) -> Result<Vec<Option<u64>>, ElfError> {
        const ENTRY_BYTES: usize = size_of::<Rela64<Le>>();
        let mut pointers = Vec::new();
        for place in places {
            // Files that are loaded where they say, and those with the shorter table of relocations, hold them as they are.
            pointers.push(self.bytes(*place, 8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)));
        }
        for table in self.sections.iter().filter(|section| section.kind == SHT_RELA.0) {
            self.windows(table.offset, table.size, ENTRY_BYTES, 0, |_, window| {
                let entries = pod::slice_from_bytes::<Rela64<Le>>(window, window.len() / ENTRY_BYTES);
                let (entries, _) = entries.expect("as many as there is room for, with no alignment");
                for entry in entries {
                    for (_, pointer) in
                        places.iter().zip(&mut pointers).filter(|(at, _)| **at == entry.r_offset.get(Le))
                    {
                        let is_relative = self.machine.is_relative(entry.r_type(Le, false));
                        *pointer = u64::try_from(entry.r_addend.get(Le)).ok().filter(|_| is_relative);
                    }
                }
                true
            })?;
        }
        Ok(pointers)
    }

    /// Where in the file an address lies: what the kernel calls a probe by.
    #[must_use]
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        self.segment(address).map(|segment| address - segment.address + segment.offset)
    }

    fn segment(&self, address: u64) -> Option<&Segment> {
        let inside = |segment: &&Segment| address.checked_sub(segment.address).is_some_and(|at| at < segment.bytes);
        self.segments.iter().find(inside)
    }

    fn read_sections(&self, header: &FileHeader64<Le>) -> Result<Vec<Section>, ElfError> {
        let (offset, count) = (header.e_shoff.get(Le), header.e_shnum.get(Le).into());
        let headers = table::<SectionHeader64<Le>>(&self.file, offset, count)?;
        let names = headers.get(usize::from(header.e_shstrndx.get(Le).0));
        let mut text = vec![0; names.map_or(0, |names| names.sh_size.get(Le)).min(WINDOW_BYTES as u64) as usize];
        let read = read_up_to(&self.file, &mut text, names.map_or(0, |names| names.sh_offset.get(Le)))?;
        text.truncate(read);
        let name = |at: u32| {
            let rest = text.get(at as usize..).unwrap_or_default();
            String::from_utf8_lossy(rest.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
        };
        let section = |section: &SectionHeader64<Le>| Section {
            name: name(section.sh_name.get(Le)),
            kind: section.sh_type.get(Le).0,
            link: section.sh_link.get(Le),
            address: section.sh_addr.get(Le),
            offset: section.sh_offset.get(Le),
            size: section.sh_size.get(Le),
        };
        Ok(headers.iter().map(section).collect())
    }
}

impl Segment {
    fn new(header: &ProgramHeader64<Le>) -> Self {
        Self {
            address: header.p_vaddr.get(Le),
            offset: header.p_offset.get(Le),
            bytes: header.p_filesz.get(Le),
            is_code: header.p_flags.get(Le).0 & PF_X.0 != 0,
        }
    }
}

fn table<T: pod::Pod + Clone>(file: &File, offset: u64, count: u64) -> Result<Vec<T>, ElfError> {
    let count = count.min(HEADERS) as usize;
    let mut bytes = vec![0; count * size_of::<T>()];
    let read = read_up_to(file, &mut bytes, offset)?;
    let (entries, _) = pod::slice_from_bytes(&bytes[..read], count).map_err(|()| ElfError::Damaged("a table"))?;
    Ok(entries.to_vec())
}

/// As much as there is.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset.saturating_add(read as u64)) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> ElfFile {
        ElfFile::open(File::open("/proc/self/exe").expect("it runs")).expect("it is an ELF file")
    }

    #[test]
    fn functions_are_found_by_name_with_their_code() {
        let elf = own();
        assert_eq!(elf.machine(), Machine::OWN);
        // A name that is the end of many others.
        let found = elf.symbols(&["main", "no_such_function_anywhere"]).expect("readable");
        assert_eq!(found[1], None);
        let main = found[0].expect("it is in the symbols");
        let code = elf.code(main).expect("it lies in the code");
        assert!(!code.is_empty() && code.len() as u64 == main.size.min(FUNCTION_BYTES), "{main:?}");
        let outside = Symbol { address: u64::MAX - 8, size: 4 };
        assert!(matches!(elf.code(outside), Err(ElfError::Damaged(_))));
    }

    #[test]
    fn windows_overlap_and_cover_everything() {
        let elf = own();
        let section = elf.section(".text").expect("it has code");
        let mut next = 0;
        elf.windows(section.offset, section.size, 1, 10, |at, window| {
            assert!(at == 0 || at + 10 == next, "{at} {next}");
            next = at + window.len() as u64;
            true
        })
        .expect("readable");
        assert_eq!(next, section.size);
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        let text = File::open("/proc/self/status").expect("it is there");
        assert!(matches!(ElfFile::open(text), Err(ElfError::NotElf)));
    }
}
