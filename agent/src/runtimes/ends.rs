// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a function ends, on every way through it: the instructions that return, its own and those of functions that it ends in a
//! jump to.
//!
//! In: a function, and the file. Out: places to probe, at which what it returns is known. A kernel's return probe would do with
//! one place; but it changes the return address on the stack and keeps the true one in a list for each thread, which is wrong for
//! programs that change stacks while they are inside the function, and ends them.
//! Where a way leads to where the code does not tell, there is no answer: it prefers none to one that misses an end.

use std::collections::VecDeque;

use super::{
    elf::{ElfError, ElfFile, Symbol},
    ranges::Ranges,
    sites::{self, Leaving},
};

/// Functions that one may end in, jump by jump. Larger: more code to read for functions that are not asked for. Smaller: some
/// need a return probe that could do without.
const FUNCTIONS: usize = 12;

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
}

/// The ends of a function; nothing where not all of them are certain.
///
/// # Errors
/// Where the file cannot be read.
pub fn of(elf: &ElfFile, function: Symbol) -> Result<Option<Vec<End>>, ElfError> {
    let ranges = Ranges::of(elf)?;
    let (mut known, mut waiting, mut ends) = (Vec::new(), VecDeque::from([function.address]), Vec::new());
    while let Some(address) = waiting.pop_front() {
        let around = match &ranges {
            Some(ranges) => ranges.around(address)?,
            None => None,
        };
        let told = (address == function.address && function.size > 0).then(|| (address, address + function.size));
        let Some((begin, end)) = told.or(around) else { return Ok(None) };
        if known.contains(&begin) {
            continue;
        }
        known.push(begin);
        let code = elf.whole_code(Symbol { address: begin, size: end - begin })?;
        let Some(Leaving { sites, jumps }) = code.and_then(|code| sites::leaving(elf.machine(), &code, begin)) else {
            return Ok(None);
        };
        for site in sites {
            let offset = elf.file_offset(begin + site.offset).ok_or(ElfError::Damaged("a function"))?;
            let (instruction, is_cheap, stack) = (site.instruction, site.is_cheap, site.stack);
            ends.push(End { offset, instruction, is_cheap, stack });
        }
        waiting.extend(jumps);
        if known.len() > FUNCTIONS || ends.len() > ENDS {
            return Ok(None);
        }
    }
    ends.sort_by_key(|end| end.offset);
    ends.dedup();
    Ok((!ends.is_empty()).then_some(ends))
}
