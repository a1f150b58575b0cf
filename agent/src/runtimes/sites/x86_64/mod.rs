// SPDX-License-Identifier: Apache-2.0 OR MIT
//! x86-64: what the kernel emulates, and the walk over a function's beginning.
//!
//! Emulated are (arch/x86/kernel/uprobes.c, `branch_setup_xol_ops` and `push_setup_xol_ops`): `nop` of one byte with
//! prefixes, `jmp` and `jcc` with a relative target and without the operand-size prefix, `call` with a relative target, and
//! `push` of a register in one byte, or in two with the prefix for the upper eight. Newer kernels emulate more, which is
//! not counted on.

mod flow;
mod leaving;

use iced_x86::{
    Code, Decoder, DecoderOptions, FastFormatter, FlowControl, Instruction, InstructionInfoFactory, OpAccess, Register,
};

pub use self::leaving::leaving;

use super::{Arguments, CallSite, Convention, HandedOn, Purpose, Site};
use agent_common::plaintext::Condition;

/// Instructions that are walked for a site. Larger: a site far from the entry that other ways may lead around.
/// Smaller: long prologues end at their entry.
const WALK: usize = 24;

/// System V: rdi, rsi, rdx, rcx, r8. Go's convention (src/cmd/compile/abi-internal.md): rax, rbx, rcx, rdi, rsi.
const C_ARGUMENTS: [Register; 5] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8];
const GO_ARGUMENTS: [Register; 5] = [Register::RAX, Register::RBX, Register::RCX, Register::RDI, Register::RSI];

const fn registers(convention: Convention) -> &'static [Register; 5] {
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
            let unless = if convention == Convention::Go { stack_check(&instruction) } else { None };
            return Site { offset, stack, unless, ..site(&instruction, true) };
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
    let mut text = String::new();
    FastFormatter::new().format(instruction, &mut text);
    Site { is_cheap, ..Site::entry(text) }
}

/// Go's check of the stack's size jumps away where it is too small, and comes back to the entry.
fn stack_check(instruction: &Instruction) -> Option<Condition> {
    match instruction.code() {
        Code::Jbe_rel8_64 | Code::Jbe_rel32_64 => Some(Condition(6)),
        Code::Jb_rel8_64 | Code::Jb_rel32_64 => Some(Condition(2)),
        _ => None,
    }
}

pub fn calls(code: &[u8], address: u64) -> Vec<CallSite> {
    let calls = decode(code, address).into_iter().filter(|instruction| instruction.code() == Code::Call_rel32_64);
    calls.map(|call| CallSite { offset: call.ip() - address, target: call.near_branch_target() }).collect()
}

/// The address that a function gives which does nothing else.
pub fn given_address(code: &[u8], address: u64) -> Option<u64> {
    let mut information = InstructionInfoFactory::new();
    let mut given = None;
    for instruction in decode(code, address).iter().take(WALK) {
        match instruction.code() {
            Code::Lea_r64_m
                if instruction.op0_register() == Register::RAX && instruction.is_ip_rel_memory_operand() =>
            {
                given = Some(instruction.ip_rel_memory_address());
            }
            Code::Mov_r32_imm32 if instruction.op0_register() == Register::EAX => {
                given = Some(instruction.immediate32().into());
            }
            _ if instruction.flow_control() == FlowControl::Return => return given,
            _ if instruction.flow_control() != FlowControl::Next
                || writes(&mut information, &instruction, Register::RAX) =>
            {
                return None;
            }
            _ => {}
        }
    }
    None
}

/// The function that this one only hands its arguments on to; `told` is which of them tells the number of bytes.
pub fn handed_on(code: &[u8], address: u64, told: usize) -> Option<HandedOn> {
    let mut information = InstructionInfoFactory::new();
    let mut told = *C_ARGUMENTS.get(told)?;
    for instruction in decode(code, address).iter().take(WALK) {
        let is_told = |register: Register| C_ARGUMENTS.iter().position(|argument| *argument == register);
        match instruction.code() {
            Code::Call_rel32_64 | Code::Jmp_rel32_64 | Code::Jmp_rel8_64 => {
                let (target, is_call) = (instruction.near_branch_target(), instruction.code() == Code::Call_rel32_64);
                return Some(HandedOn { target, is_call, told: is_told(told)? });
            }
            Code::Mov_r64_rm64 | Code::Mov_rm64_r64 if instruction.op1_register() == told => {
                told = instruction.op0_register();
            }
            _ if instruction.flow_control() != FlowControl::Next
                || writes_any(&mut information, &instruction, &C_ARGUMENTS, 0b11)
                || writes(&mut information, &instruction, told) =>
            {
                return None;
            }
            _ => {}
        }
    }
    None
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
    arguments: &[Register; 5],
    needed: Arguments,
) -> bool {
    (0..5).any(|number| needed >> number & 1 == 1 && writes(information, instruction, arguments[number]))
}

fn writes(information: &mut InstructionInfoFactory, instruction: &Instruction, register: Register) -> bool {
    information.info(instruction).used_registers().iter().any(|used| {
        used.register().full_register() == register && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead)
    })
}
