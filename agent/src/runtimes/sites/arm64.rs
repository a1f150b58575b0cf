// SPDX-License-Identifier: Apache-2.0 OR MIT
//! arm64: what the kernel simulates, and the walk over a function's beginning.
//!
//! Simulated are (arch/arm64/kernel/probes/decode-insn.c, `arm_probe_decode_insn`): `b`, `bl`, `b.cond`, `cbz`, `cbnz`, `tbz`,
//! `tbnz`, `br`, `blr`, `ret`, `adr`, `adrp`, and loads relative to the program counter. Instructions have four bytes and few
//! shapes, so that a dozen masks do what a disassembler would; a shape that is not known ends the walk.
//! A return is caught at the first instruction only: later ones may have signed or saved the return address.

use agent_common::plaintext::Condition;

use super::{Arguments, CallSite, Convention, Leaving, Purpose, Site};

/// Instructions that are walked for a site, as on x86-64.
const WALK: usize = 16;

/// A mask and what it leaves, of C4.1 of the Arm architecture reference manual.
type Shape = (u32, u32);

const B: Shape = (0xfc00_0000, 0x1400_0000);
const BL: Shape = (0xfc00_0000, 0x9400_0000);
const B_COND: Shape = (0xff00_0010, 0x5400_0000);
const COMPARE_BRANCH: Shape = (0x7e00_0000, 0x3400_0000);
const TEST_BRANCH: Shape = (0x7e00_0000, 0x3600_0000);
const ADR: Shape = (0x1f00_0000, 0x1000_0000);
const RET: Shape = (0xffff_fc1f, 0xd65f_0000);
/// `retaa` and `retab`, which check the return address's signature.
const RET_SIGNED: Shape = (0xffff_fbff, 0xd65f_0bff);
/// `br`, and its forms with a signature.
const BRANCH_REGISTER: Shape = (0xfeff_f000, 0xd61f_0000);
const ADD_EXTENDED: Shape = (0xffe0_0000, 0x8b20_0000);
const HINT: Shape = (0xffff_f01f, 0xd503_201f);
/// `stp`, before, after or without a change of the base register.
const STORE_PAIR: Shape = (0x3e40_0000, 0x2800_0000);
/// `str` and `ldr` of general registers, by an immediate of either kind.
const LOAD_STORE: Shape = (0x3e00_0000, 0x3800_0000);
const LOAD_BIT: u32 = 0x00c0_0000;
const ADD_SUBTRACT_IMMEDIATE: Shape = (0x1f80_0000, 0x1100_0000);
const ADD_SUBTRACT_REGISTER: Shape = (0x1f00_0000, 0x0b00_0000);
const LOGICAL_REGISTER: Shape = (0x1f00_0000, 0x0a00_0000);
const MOVE_WIDE: Shape = (0x1f80_0000, 0x1280_0000);

const STACK_POINTER: u32 = 31;

const fn is(word: u32, shape: Shape) -> bool {
    word & shape.0 == shape.1
}

fn words(code: &[u8]) -> impl Iterator<Item = (u64, u32)> {
    let (words, _) = code.as_chunks::<4>();
    (0..).step_by(4).zip(words.iter().map(|bytes| u32::from_le_bytes(*bytes)))
}

pub fn find(code: &[u8], address: u64, convention: Convention, needed: Arguments, purpose: Purpose) -> Site {
    if purpose == Purpose::EntryAndReturn {
        return describe(code, address);
    }
    let targets: Vec<u64> = words(code).filter_map(|(offset, word)| branch_target(word, address + offset)).collect();
    for (offset, word) in words(code).take(WALK) {
        if targets.iter().any(|target| (address + 1..=address + offset).contains(target)) {
            break;
        }
        if is_simulated(word) {
            let unless = if convention == Convention::Go { stack_check(word) } else { None };
            return Site {
                offset,
                unless,
                ..describe(code.get(offset as usize..).unwrap_or_default(), address + offset)
            };
        }
        match written(word) {
            Some(register) if register == STACK_POINTER || needed >> register.min(7) & 1 == 0 => {}
            _ => break,
        }
    }
    describe(code, address)
}

pub fn describe(code: &[u8], _address: u64) -> Site {
    let Some((_, word)) = words(code).next() else { return Site::entry(String::new()) };
    Site { is_cheap: is_simulated(word), ..Site::entry(name(word).map_or(format!("{word:#010x}"), str::to_owned)) }
}

/// As on x86-64: `ls` and `lo`.
fn stack_check(word: u32) -> Option<Condition> {
    let condition = (word & 0xf) as u8;
    (is(word, B_COND) && matches!(condition, 0b1001 | 0b0011)).then_some(Condition(condition))
}

pub fn calls(code: &[u8], address: u64) -> Vec<CallSite> {
    let calls = words(code).filter(|(_, word)| is(*word, BL));
    calls.map(|(offset, word)| CallSite { offset, target: relative(address + offset, word, 0, 26) }).collect()
}

pub fn leaving(code: &[u8], address: u64) -> Option<Leaving> {
    let inside = address..address + code.len() as u64;
    let instructions: Vec<(u64, u32)> = words(code).collect();
    let mut leaving = Leaving::default();
    for (index, &(offset, word)) in instructions.iter().enumerate() {
        if is(word, RET) || is(word, RET_SIGNED) {
            leaving.sites.push(Site { offset, ..describe(&code[offset as usize..], address + offset) });
        } else if is(word, BRANCH_REGISTER) {
            // By a table of the function's own: its place was added up just before.
            let before = &instructions[index.saturating_sub(3)..index];
            if !before.iter().any(|(_, word)| is(*word, ADD_EXTENDED)) {
                return None;
            }
        } else if let Some(target) = branch_target(word, address + offset).filter(|target| !inside.contains(target)) {
            leaving.jumps.push(target);
        }
    }
    Some(leaving)
}

fn is_simulated(word: u32) -> bool {
    [B, BL, B_COND, COMPARE_BRANCH, TEST_BRANCH, ADR, RET].into_iter().any(|shape| is(word, shape))
}

fn name(word: u32) -> Option<&'static str> {
    const NAMES: [(Shape, &str); 11] = [
        (B, "b"),
        (BL, "bl"),
        (B_COND, "b.cond"),
        (COMPARE_BRANCH, "cbz"),
        (TEST_BRANCH, "tbz"),
        (ADR, "adr"),
        (RET, "ret"),
        (HINT, "hint"),
        (STORE_PAIR, "stp"),
        (ADD_SUBTRACT_IMMEDIATE, "add"),
        (LOGICAL_REGISTER, "mov"),
    ];
    NAMES.iter().find(|(shape, _)| is(word, *shape)).map(|(_, name)| *name)
}

/// The register that is written; the stack pointer's number where none of the others is. Absent for shapes that are not known.
fn written(word: u32) -> Option<u32> {
    if is(word, HINT) || is(word, STORE_PAIR) {
        return Some(STACK_POINTER);
    }
    if is(word, LOAD_STORE) {
        return Some(if word & LOAD_BIT == 0 { STACK_POINTER } else { word & 0x1f });
    }
    let computes = [ADD_SUBTRACT_IMMEDIATE, ADD_SUBTRACT_REGISTER, LOGICAL_REGISTER, MOVE_WIDE];
    computes.into_iter().any(|shape| is(word, shape)).then_some(word & 0x1f)
}

fn branch_target(word: u32, at: u64) -> Option<u64> {
    if is(word, B) {
        Some(relative(at, word, 0, 26))
    } else if is(word, B_COND) || is(word, COMPARE_BRANCH) {
        Some(relative(at, word, 5, 19))
    } else if is(word, TEST_BRANCH) {
        Some(relative(at, word, 5, 14))
    } else {
        None
    }
}

/// A signed number of instructions, in `bits` bits from `shift` on.
fn relative(at: u64, word: u32, shift: u32, bits: u32) -> u64 {
    let moved = (word << (32 - shift - bits)) as i32 >> (32 - bits);
    at.wrapping_add_signed(i64::from(moved) * 4)
}
