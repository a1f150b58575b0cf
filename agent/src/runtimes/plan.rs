// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is probed in a file: the libraries in it, their functions, and for each the cheapest place that is certain.
//!
//! In: a file and the catalogue. Out: probes by their place in the file, or why there are none. Does not: attach them.

use std::fs::File;

use agent_common::plaintext::Condition;

use super::{
    catalogue::{Catalogue, Function, Kind, Length, Library, Record, Role, SessionFrom},
    elf::{ElfError, ElfFile, Machine, Symbol},
    ends::{self, End},
    file_id::FileId,
    go, rust,
    sites::{self, Convention, Purpose, Site},
};

/// A file that was looked into.
#[derive(Clone, Debug)]
pub struct Plan {
    pub file: FileId,
    pub libraries: Vec<LibraryPlan>,
}

/// A library in it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LibraryPlan {
    pub library: String,
    pub title: String,
    /// As the file says it; empty where it does not.
    pub version: String,
    pub probes: Vec<Probe>,
}

/// A place in a file, and what is to be done there.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Probe {
    pub symbol: String,
    /// In the file.
    pub offset: u64,
    /// From the function's first byte.
    pub offset_in_function: u64,
    pub instruction: String,
    pub is_cheap: bool,
    pub action: Action,
    pub returns: Returns,
    pub length: Length,
    pub session: SessionFrom,
    pub record: Option<Record>,
    pub stack: u32,
    /// As of a site.
    #[serde(skip)]
    pub unless: Option<Condition>,
}

impl Probe {
    /// Whether a hit is wanted where the function is entered: of some it is only asked what they return.
    #[must_use]
    pub fn is_entered(&self) -> bool {
        self.action != Action::Create || self.session != SessionFrom::Returned
    }
}

/// How it is seen that the function returns, and what.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Returns {
    /// Not at all.
    Unseen,
    /// Where it is left.
    At(Vec<End>),
    /// By a return probe: no other stack comes between, or it ends in a jump to where its code does not tell.
    Caught,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Create,
    Destroy,
    /// It is given its socket.
    Descriptor,
    Handshake,
    Read,
    Write,
    GoCreate,
    GoWrite,
    /// A read begins: whose it is.
    GoRead,
    /// It hands over bytes: `bytes.(*Reader).Read`.
    GoCopyReader,
    /// The same by `memmove`.
    GoCopyMemory,
    Ciphertext,
    Encrypt,
    Decrypt,
}

impl Plan {
    /// Looks into a file for the libraries that it may hold, by its name: those that are probed for all processes, or the
    /// others.
    ///
    /// # Errors
    /// Where it is no ELF file, or cannot be read.
    pub fn make(
        catalogue: &Catalogue,
        file: File,
        name: &str,
        is_executable: bool,
        per_process: bool,
    ) -> Result<Self, ElfError> {
        let elf = ElfFile::open(file)?;
        let mut plan = Self { file: elf.id(), libraries: Vec::new() };
        if elf.machine() != Machine::OWN {
            return Ok(plan);
        }
        for library in catalogue.candidates(name, is_executable, per_process) {
            let keeps_stack = is_executable && library.keeps_to_one_stack(name);
            plan.libraries.extend(LibraryPlan::make(library, &elf, keeps_stack)?);
        }
        Ok(plan)
    }
}

impl LibraryPlan {
    /// Nothing where the file does not hold the library.
    fn make(library: &Library, elf: &ElfFile, keeps_stack: bool) -> Result<Option<Self>, ElfError> {
        let mut version = String::new();
        let probes = match library.kind {
            Kind::Calls => match Found::find(library, elf)? {
                Some(found) => found.calls(library, keeps_stack)?,
                None => return Ok(None),
            },
            Kind::Go => match (go::version(elf)?, Found::find(library, elf)?) {
                (Some(known), Some(found)) => {
                    version = known;
                    found.go(library)?
                }
                _ => return Ok(None),
            },
            Kind::Rust => match methods(library, elf, keeps_stack)? {
                Some(probes) => probes,
                None => return Ok(None),
            },
        };
        Ok(Some(Self { library: library.name.clone(), title: library.title.clone(), version, probes }))
    }
}

/// Methods of Rust, of each as many as there are; nothing where one is missing that is needed.
fn methods(library: &Library, elf: &ElfFile, keeps_stack: bool) -> Result<Option<Vec<Probe>>, ElfError> {
    let wanted: Vec<&[String]> = library.functions.iter().map(|function| function.parts.as_slice()).collect();
    let found = rust::functions(elf, &wanted)?;
    let mut probes = Vec::new();
    for (function, symbols) in library.functions.iter().zip(found) {
        if symbols.is_empty() && library.needs.contains(&function.symbol) {
            return Ok(None);
        }
        for symbol in symbols {
            probes.push(call(elf, function, symbol, &[], keeps_stack)?);
        }
    }
    Ok(Some(probes))
}

fn call(
    elf: &ElfFile,
    function: &Function,
    symbol: Symbol,
    tables: &[u64],
    keeps_stack: bool,
) -> Result<Probe, ElfError> {
    let code = elf.code(symbol)?;
    let (action, needed, is_followed) = match function.role {
        Role::Create => (Action::Create, 0b1, function.session != SessionFrom::FirstArgument),
        Role::Destroy => (Action::Destroy, 0b1, false),
        Role::Descriptor => (Action::Descriptor, 0b11, false),
        Role::Handshake => (Action::Handshake, 0b1, true),
        Role::Ciphertext => (Action::Ciphertext, 0b110, false),
        Role::Read => (Action::Read, needed_for(function.length), true),
        Role::Write => (Action::Write, needed_for(function.length), true),
        Role::Encrypt => (Action::Encrypt, 0b1111, true),
        Role::Decrypt => (Action::Decrypt, 0b1111, true),
    };
    let ends = if is_followed && !keeps_stack { ends::of(elf, symbol, tables)? } else { None };
    let returns = match ends {
        _ if !is_followed => Returns::Unseen,
        Some(ends) => Returns::At(ends),
        None if keeps_stack => Returns::Caught,
        // It moves no plaintext: that it has ended is not worth a probe that may do harm.
        None if function.role == Role::Handshake => Returns::Unseen,
        None => Returns::Caught,
    };
    let purpose = if returns == Returns::Caught { Purpose::EntryAndReturn } else { Purpose::Entry };
    let site = sites::find(elf.machine(), &code, symbol.address, Convention::C, needed, purpose);
    probe(elf, function, symbol, site, action, returns)
}

fn probe(
    elf: &ElfFile,
    function: &Function,
    symbol: Symbol,
    site: Site,
    action: Action,
    returns: Returns,
) -> Result<Probe, ElfError> {
    let offset = elf.file_offset(symbol.address + site.offset).ok_or(ElfError::Damaged("a function"))?;
    Ok(Probe {
        symbol: function.symbol.clone(),
        offset,
        offset_in_function: site.offset,
        instruction: site.instruction,
        is_cheap: site.is_cheap,
        action,
        returns,
        length: function.length,
        session: function.session,
        record: function.record,
        stack: site.stack,
        unless: site.unless,
    })
}

/// A library's functions in a file.
struct Found<'a> {
    elf: &'a ElfFile,
    names: Vec<&'a str>,
    symbols: Vec<Option<Symbol>>,
}

impl<'a> Found<'a> {
    fn find(library: &'a Library, elf: &'a ElfFile) -> Result<Option<Self>, ElfError> {
        // Most files are without it, and some have hundreds of megabytes of names: one name is enough to tell.
        if let (Kind::Calls, Some(first)) = (library.kind, library.needs.first())
            && elf.symbols(&[first])?[0].is_none()
        {
            return Ok(None);
        }
        let copies = library.functions.iter().flat_map(|function| &function.copies_by);
        let names = library
            .functions
            .iter()
            .map(|function| &function.symbol)
            .chain(copies)
            .chain(library.methods.iter().flatten());
        let names: Vec<&str> = names.map(String::as_str).collect();
        let symbols = match library.kind {
            Kind::Calls => Some(elf.symbols(&names)?),
            Kind::Go => go::functions(elf, &names)?,
            // By parts of their names: `methods`.
            Kind::Rust => None,
        };
        let Some(symbols) = symbols else { return Ok(None) };
        let found = Self { elf, names, symbols };
        Ok(library.needs.iter().all(|name| found.get(name).is_some()).then_some(found))
    }

    fn get(&self, name: &str) -> Option<Symbol> {
        self.names.iter().position(|known| *known == name).and_then(|index| self.symbols[index])
    }

    /// Functions in the machine's usual convention.
    fn calls(&self, library: &Library, keeps_stack: bool) -> Result<Vec<Probe>, ElfError> {
        let tables = self.tables(library)?;
        let (mut probes, mut covered) = (Vec::new(), Vec::new());
        for function in library.functions.iter().filter(|_| !keeps_stack) {
            let Some(shared) = self.shared(function, &tables)? else { continue };
            covered.extend(shared.covers);
            probes.push(shared.probe);
        }
        for function in library.functions.iter().filter(|function| !covered.contains(&function.symbol.as_str())) {
            let Some(symbol) = self.get(&function.symbol) else { continue };
            if function.unless.as_deref().is_some_and(|other| self.get(other).is_some()) {
                continue;
            }
            probes.push(call(self.elf, function, symbol, &tables, keeps_stack)?);
        }
        Ok(probes)
    }

    /// The function that this one and perhaps another one only hand their arguments on to, if it is certain where it ends: its
    /// return must not be caught.
    fn shared<'b>(&self, function: &'b Function, tables: &[u64]) -> Result<Option<Shared<'b>>, ElfError> {
        let Some(other) = &function.shares_with else { return Ok(None) };
        let Some(mut symbol) = self.get(&function.symbol) else { return Ok(None) };
        let machine = self.elf.machine();
        let mut told = FOURTH;
        for hop in 0.. {
            let code = self.elf.code(symbol)?;
            let handed = sites::handed_on(machine, &code, symbol.address, told).filter(|_| hop < HOPS);
            let Some(handed) = handed else { return Ok(None) };
            (symbol, told) = (Symbol { address: handed.target, size: 0 }, handed.told);
            if handed.is_call {
                break;
            }
        }
        let length = if told == FOURTH { Length::FourthArgument } else { Length::FifthArgument };
        let inner = Function { symbol: format!("callee of {}", function.symbol), length, ..function.clone() };
        let probe = call(self.elf, &inner, symbol, tables, false)?;
        if !matches!(probe.returns, Returns::At(_)) {
            return Ok(None);
        }
        let mut covers = vec![function.symbol.as_str()];
        if let Some(wrapper) = self.get(other) {
            let calls = sites::calls(machine, &self.elf.code(wrapper)?, wrapper.address);
            covers.extend(calls.iter().any(|call| call.target == symbol.address).then_some(other.as_str()));
        }
        Ok(Some(Shared { probe, covers }))
    }

    /// The library's tables of methods; none where one of them is not told.
    fn tables(&self, library: &Library) -> Result<Vec<u64>, ElfError> {
        let mut tables = Vec::new();
        let is_there = |list: &&Vec<String>| list.first().is_some_and(|first| self.get(first).is_some());
        let Some(list) = library.methods.iter().find(is_there) else { return Ok(tables) };
        for symbol in list.iter().filter_map(|name| self.get(name)) {
            let code = self.elf.code(symbol)?;
            let Some(table) = sites::given_address(self.elf.machine(), &code, symbol.address) else {
                return Ok(Vec::new());
            };
            tables.push(table);
        }
        tables.sort_unstable();
        tables.dedup();
        Ok(tables)
    }

    /// Functions of Go, which never have their return caught: its stacks move.
    fn go(&self, library: &Library) -> Result<Vec<Probe>, ElfError> {
        let mut probes = Vec::new();
        for function in &library.functions {
            let Some(symbol) = self.get(&function.symbol) else { continue };
            let code = self.elf.code(symbol)?;
            let (action, needed) = match function.role {
                Role::Write => (Action::GoWrite, 0b111),
                Role::Read => (Action::GoRead, 0b1),
                _ => (Action::GoCreate, 0b1),
            };
            let machine = self.elf.machine();
            let site = sites::find(machine, &code, symbol.address, Convention::Go, needed, Purpose::Entry);
            probes.push(probe(self.elf, function, symbol, site, action, Returns::Unseen)?);
            probes.extend(self.copies(function, symbol, &code)?);
        }
        Ok(probes)
    }

    /// The calls by which a function of Go copies bytes to its caller.
    fn copies(&self, function: &Function, symbol: Symbol, code: &[u8]) -> Result<Vec<Probe>, ElfError> {
        let machine = self.elf.machine();
        let calls = sites::calls(machine, code, symbol.address);
        for (index, name) in function.copies_by.iter().enumerate() {
            let Some(target) = self.get(name) else { continue };
            let here = calls.iter().filter(|call| call.target == target.address);
            let action = if index == 0 { Action::GoCopyReader } else { Action::GoCopyMemory };
            let probes: Vec<Probe> = here
                .map(|call| {
                    let site = sites::describe(machine, code, symbol.address, call.offset);
                    probe(self.elf, function, symbol, site, action, Returns::Unseen)
                })
                .collect::<Result<_, _>>()?;
            if !probes.is_empty() {
                return Ok(probes);
            }
        }
        Ok(Vec::new())
    }
}

/// A probe that stands for others.
struct Shared<'a> {
    probe: Probe,
    covers: Vec<&'a str>,
}

/// Wrappers of wrappers. Larger: more code to read. Smaller: newer libraries, with more of them, cost more.
const HOPS: u32 = 3;

/// The number of the argument that tells how many bytes were moved, in functions that give only whether they were.
const FOURTH: usize = 3;

/// The session, the buffer, and where the number of bytes is told by an argument that one.
const fn needed_for(length: Length) -> sites::Arguments {
    match length {
        Length::None => 0b1,
        Length::Returned | Length::Copied => 0b11,
        Length::ThirdArgument => 0b111,
        Length::FourthArgument => 0b1011,
        Length::FifthArgument => 0b1_0011,
    }
}

#[cfg(test)]
mod tests;
