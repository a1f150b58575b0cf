// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a function ends, on every way through it: the instructions that return, its own and those of functions that it ends in a
//! jump to, or cheaper ones on the way there.
//!
//! In: a function, and the file. Out: places to probe, at which what it returns is known. A kernel's return probe would do with
//! one place; but it changes the return address on the stack and keeps the true one in a list for each thread, which is wrong for
//! programs that change stacks while they are inside the function, and ends them.
//! Where a way leads to where the code does not tell, there is no answer: it prefers none to one that misses an end.

use std::collections::VecDeque;

use agent_common::plaintext::{Condition, Cookie};

use super::{
    elf::{ElfError, ElfFile, Symbol},
    ranges::Ranges,
    sites::{self, Entered, Leaving, Site},
};

/// Functions that one may end in, jump by jump. Larger: more code to read for functions that are not asked for. Smaller: some
/// need a return probe that could do without.
const FUNCTIONS: usize = 24;

/// Places for one function. Larger: kernel memory, and time at the start, for places that are rarely passed. Smaller: as above.
const ENDS: usize = 64;

/// An instruction by which a function is left.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct End {
    /// In the file.
    pub offset: u64,
    pub instruction: String,
    /// The kernel emulates it.
    pub is_cheap: bool,
    /// Bytes from the stack pointer there to where it was at the entry.
    pub stack: u32,
    /// As of a site.
    #[serde(skip)]
    pub unless: Option<Condition>,
    #[serde(skip)]
    pub result: u8,
}

impl End {
    /// Whether only calls that give nothing pass it, at a price that the others do not pay.
    #[must_use]
    pub fn fails(&self) -> bool {
        !self.is_cheap && self.result == Cookie::NOTHING
    }
}

/// The ends of a function; nothing where not all of them are certain. `tables` are those of methods that it may end in a jump to
/// one of: as many as there are.
///
/// # Errors
/// Where the file cannot be read.
pub fn of(elf: &ElfFile, function: Symbol, tables: &[u64]) -> Result<Option<Vec<End>>, ElfError> {
    let Some(whole) = parts(elf, function, tables, Entered::AtItsBeginning)? else { return Ok(None) };
    let whole = if whole.is_rejoined { parts(elf, function, tables, Entered::Elsewhere)? } else { Some(whole) };
    Ok(whole.map(|whole| whole.ends).filter(|ends| !ends.is_empty()))
}

struct Parts {
    ends: Vec<End>,
    /// One of them jumps into the midst of another one.
    is_rejoined: bool,
}

fn parts(elf: &ElfFile, function: Symbol, tables: &[u64], entered: Entered) -> Result<Option<Parts>, ElfError> {
    let ranges = Ranges::of(elf)?;
    let (mut known, mut waiting) = (Vec::new(), VecDeque::from([function.address]));
    let mut parts = Parts { ends: Vec::new(), is_rejoined: false };
    while let Some(address) = waiting.pop_front() {
        let around = match &ranges {
            Some(ranges) => ranges.around(address)?,
            None => None,
        };
        let told = (address == function.address && function.size > 0).then(|| (address, address + function.size));
        let Some((begin, end)) = told.or(around) else { return Ok(None) };
        parts.is_rejoined |= address != begin;
        if known.contains(&begin) {
            continue;
        }
        known.push(begin);
        let code = elf.whole_code(Symbol { address: begin, size: end - begin })?;
        let Some(leaving) = code.and_then(|code| sites::leaving(elf.machine(), &code, begin, entered)) else {
            return Ok(None);
        };
        let Some(methods) = methods(elf, tables, &leaving)? else { return Ok(None) };
        for site in leaving.sites {
            let offset = elf.file_offset(begin + site.offset).ok_or(ElfError::Damaged("a function"))?;
            let Site { instruction, is_cheap, stack, unless, result, .. } = site;
            parts.ends.push(End { offset, instruction, is_cheap, stack, unless, result });
        }
        waiting.extend(leaving.jumps.into_iter().chain(methods));
        if known.len() > FUNCTIONS || parts.ends.len() > ENDS {
            return Ok(None);
        }
    }
    parts.ends.sort_by_key(|end| end.offset);
    parts.ends.dedup();
    Ok(Some(parts))
}

/// The methods that a function may end in a jump to; nothing where one of them is not known.
fn methods(elf: &ElfFile, tables: &[u64], leaving: &Leaving) -> Result<Option<Vec<u64>>, ElfError> {
    if !leaving.methods.is_empty() && tables.is_empty() {
        return Ok(None);
    }
    let slots = leaving.methods.iter().flat_map(|method| tables.iter().map(|table| table + u64::from(*method)));
    let methods: Option<Vec<u64>> = elf.pointers(&slots.collect::<Vec<u64>>())?.into_iter().collect();
    // A table that lacks a method is no object's that has it called.
    Ok(methods.map(|methods| methods.into_iter().filter(|method| *method != 0).collect()))
}
