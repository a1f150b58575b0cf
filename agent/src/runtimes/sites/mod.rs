// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a function is probed: a breakpoint costs ten times less on an instruction that the kernel can emulate than on one
//! that it must step over.
//!
//! In: a function's code. Out: the place in it, with what stands there. Only straight code from the entry on is walked, while
//! no argument that is needed has been written, so that the same values are read there as at the entry.
//! Where nothing better is sure the entry itself is taken: it prefers a dear probe to a wrong one.

mod arm64;
mod x86_64;

use agent_common::plaintext::Condition;

use super::elf::Machine;

/// A place to probe.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Site {
    /// From the function's first byte.
    pub offset: u64,
    /// What stands there.
    pub instruction: String,
    /// The kernel emulates it.
    pub is_cheap: bool,
    /// Bytes that the stack has grown by since the entry.
    pub stack: u32,
    /// A hit is none where this holds: Go's check of the stack's size jumps away and comes back to the entry, and what stands
    /// before one end of a function may lead elsewhere.
    #[serde(skip)]
    pub unless: Option<Condition>,
    /// Where the kernel keeps the register that has the result; 0 for the usual one.
    #[serde(skip)]
    pub result: u8,
}

/// What is asked of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Arguments are read.
    Entry,
    /// Arguments are read, and the return is caught: the return address must be where it was at the entry.
    EntryAndReturn,
}

/// Integer arguments that must be untouched, by their number, as bits.
pub type Arguments = u8;

/// How arguments are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    C,
    Go,
}

/// A call in a function's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSite {
    pub offset: u64,
    pub target: u64,
}

/// The place for a probe in a function that begins with `code` at `address`.
#[must_use]
pub fn find(
    machine: Machine,
    code: &[u8],
    address: u64,
    convention: Convention,
    needed: Arguments,
    purpose: Purpose,
) -> Site {
    match machine {
        Machine::X86_64 => x86_64::find(code, address, convention, needed, purpose),
        Machine::Arm64 => arm64::find(code, address, convention, needed, purpose),
        Machine::Other => Site::entry(String::new()),
    }
}

/// The calls in a function's code whose target it names, in order.
#[must_use]
pub fn calls(machine: Machine, code: &[u8], address: u64) -> Vec<CallSite> {
    match machine {
        Machine::X86_64 => x86_64::calls(code, address),
        Machine::Arm64 => arm64::calls(code, address),
        Machine::Other => Vec::new(),
    }
}

/// How a function is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Where it returns. A site's `stack` is what the stack pointer will have gone up by when it does.
    pub sites: Vec<Site>,
    /// Where it jumps to outside of itself: what is there returns in its place, or is a part of it that lies elsewhere.
    pub jumps: Vec<u64>,
    /// Places in a table of methods that it jumps to one of.
    pub methods: Vec<u32>,
}

/// From where a function is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    AtItsBeginning,
    /// Parts of it that lie elsewhere jump back into it, too.
    Elsewhere,
}

/// How the function is left whose whole code this is; nothing where it jumps to where the code does not tell.
#[must_use]
pub fn leaving(machine: Machine, code: &[u8], address: u64, entered: Entered) -> Option<Leaving> {
    match machine {
        Machine::X86_64 => x86_64::leaving(code, address, entered),
        // Returning is emulated itself.
        Machine::Arm64 => arm64::leaving(code, address),
        Machine::Other => None,
    }
}

/// A function that another one hands its arguments on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOn {
    pub target: u64,
    /// It does not jump there.
    pub is_call: bool,
    /// Which argument tells the number of bytes there, from 0 on.
    pub told: usize,
}

/// What a function calls or jumps to first, if until then it only hands on its first two arguments and the one that tells the
/// number of bytes.
#[must_use]
pub fn handed_on(machine: Machine, code: &[u8], address: u64, told: usize) -> Option<HandedOn> {
    match machine {
        Machine::X86_64 => x86_64::handed_on(code, address, told),
        // Nothing is gained there: functions are left cheaply as they are.
        Machine::Arm64 | Machine::Other => None,
    }
}

/// The address that a function gives which does nothing else.
#[must_use]
pub fn given_address(machine: Machine, code: &[u8], address: u64) -> Option<u64> {
    match machine {
        Machine::X86_64 => x86_64::given_address(code, address),
        Machine::Arm64 | Machine::Other => None,
    }
}

/// What stands at a place in a function's code.
#[must_use]
pub fn describe(machine: Machine, code: &[u8], address: u64, offset: u64) -> Site {
    let rest = usize::try_from(offset).ok().and_then(|offset| code.get(offset..)).unwrap_or_default();
    let at_entry = match machine {
        Machine::X86_64 => x86_64::describe(rest, address + offset),
        Machine::Arm64 => arm64::describe(rest, address + offset),
        Machine::Other => Site::entry(String::new()),
    };
    Site { offset, ..at_entry }
}

impl Site {
    fn entry(instruction: String) -> Self {
        Self { offset: 0, instruction, is_cheap: false, stack: 0, unless: None, result: 0 }
    }
}

#[cfg(test)]
mod tests;
