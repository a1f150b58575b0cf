// SPDX-License-Identifier: Apache-2.0 OR MIT
//! x86-64: what the kernel emulates, and the walk over a function's beginning.
//!
//! Emulated are (arch/x86/kernel/uprobes.c, `branch_setup_xol_ops` and `push_setup_xol_ops`): `nop` of one byte with
//! prefixes, `jmp` and `jcc` with a relative target and without the operand-size prefix, `call` with a relative target, and
//! `push` of a register in one byte, or in two with the prefix for the upper eight. Newer kernels emulate more, which is
//! not counted on.

use iced_x86::{
    Code, Decoder, DecoderOptions, FastFormatter, FlowControl, Instruction, InstructionInfoFactory, OpAccess, Register,
};

use super::{Arguments, CallSite, Convention, Leaves, Leaving, Purpose, Site};

/// Instructions that are walked for a site. Larger: a site far from the entry that other ways may lead around.
/// Smaller: long prologues end at their entry.
const WALK: usize = 24;

/// System V: rdi, rsi, rdx, rcx. Go's convention (src/cmd/compile/abi-internal.md): rax, rbx, rcx, rdi.
const C_ARGUMENTS: [Register; 4] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX];
const GO_ARGUMENTS: [Register; 4] = [Register::RAX, Register::RBX, Register::RCX, Register::RDI];

const fn registers(convention: Convention) -> &'static [Register; 4] {
    match convention {
        Convention::C => &C_ARGUMENTS,
        Convention::Go => &GO_ARGUMENTS,
    }
}

fn decode(code: &[u8], address: u64) -> Decoder<'_> {
    Decoder::with_ip(64, code, address, DecoderOptions::NONE)
}

pub fn find(code: &[u8], address: u64, convention: Convention, needed: Arguments, purpose: Purpose) -> Site {
    let mut information = InstructionInfoFactory::new();
    let mut stack = 0;
    let targets = jump_targets(code, address);
    for instruction in decode(code, address).iter().take(WALK) {
        if instruction.is_invalid() || (stack != 0 && purpose == Purpose::EntryAndReturn) {
            break;
        }
        let offset = instruction.ip() - address;
        // A jump to this place, or between it and the entry, would be taken for an entry.
        let is_reached_otherwise = targets.iter().any(|target| (address + 1..=instruction.ip()).contains(target));
        if is_reached_otherwise {
            break;
        }
        if is_emulated(&instruction, code, offset) {
            return Site { offset, stack, ..site(&instruction, true) };
        }
        if instruction.flow_control() != FlowControl::Next
            || instruction.is_stack_instruction()
            || writes_any(&mut information, &instruction, registers(convention), needed)
        {
            break;
        }
        match stack_growth(&instruction) {
            Some(growth) => stack += growth,
            None => break,
        }
    }
    describe(code, address)
}

/// What stands at the beginning of the code.
pub fn describe(code: &[u8], address: u64) -> Site {
    let instruction = decode(code, address).decode();
    let is_cheap = is_emulated(&instruction, code, 0);
    site(&instruction, is_cheap)
}

fn site(instruction: &Instruction, is_cheap: bool) -> Site {
    let leaves = match instruction.code() {
        Code::Jbe_rel8_64 | Code::Jbe_rel32_64 => Some(Leaves::BelowOrSame),
        Code::Jb_rel8_64 | Code::Jb_rel32_64 => Some(Leaves::Below),
        _ => None,
    };
    let mut text = String::new();
    FastFormatter::new().format(instruction, &mut text);
    Site { offset: 0, instruction: text, is_cheap, stack: 0, leaves }
}

pub fn calls(code: &[u8], address: u64) -> Vec<CallSite> {
    let calls = decode(code, address).into_iter().filter(|instruction| instruction.code() == Code::Call_rel32_64);
    calls.map(|call| CallSite { offset: call.ip() - address, target: call.near_branch_target() }).collect()
}

pub fn leaving(code: &[u8], address: u64) -> Option<Leaving> {
    let instructions: Vec<Instruction> = decode(code, address).into_iter().collect();
    let inside = address..address + code.len() as u64;
    let targets = jump_targets(code, address);
    let mut leaving = Leaving::default();
    for (index, instruction) in instructions.iter().enumerate() {
        let before = &instructions[..index];
        match instruction.flow_control() {
            FlowControl::Return => leaving.sites.push(leaving_site(before, instruction, &targets, address)),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                let target = instruction.near_branch_target();
                if !inside.contains(&target) {
                    leaving.jumps.push(target);
                }
            }
            FlowControl::IndirectBranch if !is_by_table(before, instruction) => return None,
            _ if instruction.is_invalid() => return None,
            _ => {}
        }
    }
    Some(leaving)
}

/// The check that the stack is whole, just before a return, is a jump that the kernel emulates, and is never taken by a
/// program that goes on.
fn leaving_site(before: &[Instruction], end: &Instruction, targets: &[u64], address: u64) -> Site {
    let mut information = InstructionInfoFactory::new();
    let mut stack = 0;
    for (index, instruction) in before.iter().enumerate().rev().take(WALK) {
        let next = instruction.next_ip();
        if targets.iter().any(|target| (next..=end.ip()).contains(target)) {
            break;
        }
        let is_check = instruction.is_jcc_short_or_near() && index > 0 && reads_guard(&before[index - 1]);
        if is_check {
            return Site { offset: instruction.ip() - address, stack, ..site(instruction, true) };
        }
        let released = match instruction.code() {
            Code::Pop_r64 => 8,
            Code::Add_rm64_imm8 | Code::Add_rm64_imm32 if instruction.op0_register() == Register::RSP => {
                instruction.immediate(1) as u32
            }
            _ if writes(&mut information, instruction, Register::RSP) => break,
            _ => 0,
        };
        let is_plain = instruction.flow_control() == FlowControl::Next;
        if !is_plain || writes(&mut information, instruction, Register::RAX) {
            break;
        }
        stack += released;
    }
    Site { offset: end.ip() - address, ..site(end, false) }
}

/// The stack's guard lies at this place of the thread's own memory, in glibc and in musl (x86-64 psABI, 3.4.6 of GCC's manual:
/// `-mstack-protector-guard`).
fn reads_guard(instruction: &Instruction) -> bool {
    instruction.memory_segment() == Register::FS && instruction.memory_displacement64() == 0x28
}

/// A jump by a table of the function's own, and not to another function: a place in a table, or one that was added up just
/// before; or marked to be one, where other jumps are watched by the processor.
fn is_by_table(before: &[Instruction], jump: &Instruction) -> bool {
    let is_added = |instruction: &Instruction| {
        matches!(instruction.code(), Code::Add_r64_rm64 | Code::Add_rm64_r64)
            && instruction.op0_register() == jump.op0_register()
    };
    jump.memory_index() != Register::None
        || jump.segment_prefix() == Register::DS
        || before.iter().rev().take(3).any(is_added)
}

/// Where the function's own jumps lead.
fn jump_targets(code: &[u8], address: u64) -> Vec<u64> {
    let jumps = decode(code, address).into_iter().filter(|instruction| {
        matches!(instruction.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch)
    });
    jumps.map(|jump| jump.near_branch_target()).collect()
}

fn is_emulated(instruction: &Instruction, code: &[u8], offset: u64) -> bool {
    let first = code.get(offset as usize).copied().unwrap_or_default();
    let has_size_prefix = first == 0x66;
    match instruction.code() {
        Code::Push_r64 => instruction.len() == 1 || (instruction.len() == 2 && first == 0x41),
        Code::Nopd => instruction.len() == 1,
        Code::Call_rel32_64 => !has_size_prefix,
        _ => !has_size_prefix && (instruction.is_jcc_short_or_near() || instruction.is_jmp_short_or_near()),
    }
}

/// By how much the stack grows; absent where that is not told by the instruction alone.
fn stack_growth(instruction: &Instruction) -> Option<u32> {
    if matches!(instruction.code(), Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32)
        && instruction.op0_register() == Register::RSP
    {
        return u32::try_from(instruction.immediate(1)).ok();
    }
    let mut information = InstructionInfoFactory::new();
    (!writes(&mut information, instruction, Register::RSP)).then_some(0)
}

fn writes_any(
    information: &mut InstructionInfoFactory,
    instruction: &Instruction,
    arguments: &[Register; 4],
    needed: Arguments,
) -> bool {
    (0..4).any(|number| needed >> number & 1 == 1 && writes(information, instruction, arguments[number]))
}

fn writes(information: &mut InstructionInfoFactory, instruction: &Instruction, register: Register) -> bool {
    information.info(instruction).used_registers().iter().any(|used| {
        used.register().full_register() == register && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead)
    })
}
