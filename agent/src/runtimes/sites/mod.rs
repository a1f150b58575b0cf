// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a function is probed: a breakpoint costs ten times less on an instruction that the kernel can emulate than on one
//! that it must step over.
//!
//! In: a function's code. Out: the place in it, with what stands there. Only straight code from the entry on is walked, while
//! no argument that is needed has been written, so that the same values are read there as at the entry.
//! Where nothing better is sure the entry itself is taken: it prefers a dear probe to a wrong one.

mod arm64;
mod x86_64;

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
    /// It jumps away where these conditions hold, and is not to be counted then: Go's check of the stack's size, which
    /// comes back to the entry.
    pub leaves: Option<Leaves>,
}

/// When a conditional jump is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaves {
    /// x86's `jbe`, arm64's `b.ls`.
    BelowOrSame,
    /// x86's `jb`, arm64's `b.lo`.
    Below,
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
        Machine::Arm64 => arm64::find(code, address, needed, purpose),
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
}

/// How the function is left whose whole code this is; nothing where it jumps to where the code does not tell.
#[must_use]
pub fn leaving(machine: Machine, code: &[u8], address: u64) -> Option<Leaving> {
    match machine {
        Machine::X86_64 => x86_64::leaving(code, address),
        Machine::Arm64 => arm64::leaving(code, address),
        Machine::Other => None,
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
        Self { offset: 0, instruction, is_cheap: false, stack: 0, leaves: None }
    }
}

#[cfg(test)]
mod tests;
