// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Registers at a probe: arguments by the C convention and by Go's, the stack, and whether a jump will be taken.

use agent_common::plaintext::ComesAgain;
use aya_ebpf::{programs::ProbeContext, programs::RetProbeContext};

/// What a probe of Go needs (src/cmd/compile/abi-internal.md).
#[derive(Clone, Copy)]
pub struct GoRegisters {
    pub first: u64,
    pub second: u64,
    pub third: u64,
    /// The goroutine's `g`.
    pub goroutine: u64,
}

/// A method of Rust's that takes a message and a number, and gives more than two words. The compiler passes what is larger than
/// two words by its address, and the place of the result before all else.
#[derive(Clone, Copy)]
pub struct RustMethod {
    pub result: u64,
    pub object: u64,
    pub message: u64,
    pub sequence: u64,
}

#[cfg(bpf_target_arch = "x86_64")]
mod machine {
    use super::*;

    const CARRY: u64 = 1;
    const ZERO: u64 = 1 << 6;
    /// A `ret` has taken the return address off the stack.
    pub const RETURN_ADDRESS_BYTES: u64 = 8;

    #[inline(always)]
    pub fn stack(context: &ProbeContext) -> u64 {
        // SAFETY: the probed thread's registers, which the verifier lets the program read.
        unsafe { (*context.regs).rsp }
    }

    #[inline(always)]
    pub fn stack_at_return(context: &RetProbeContext) -> u64 {
        // SAFETY: as above.
        unsafe { (*context.regs).rsp }
    }

    #[inline(always)]
    pub fn result(context: &ProbeContext) -> u64 {
        // SAFETY: as above.
        unsafe { (*context.regs).rax }
    }

    #[inline(always)]
    pub fn go(context: &ProbeContext) -> GoRegisters {
        // SAFETY: as above.
        let registers = unsafe { &*context.regs };
        GoRegisters { first: registers.rax, second: registers.rbx, third: registers.rcx, goroutine: registers.r14 }
    }

    #[inline(always)]
    pub fn rust(context: &ProbeContext) -> RustMethod {
        // SAFETY: as above.
        let registers = unsafe { &*context.regs };
        let (result, object) = (registers.rdi, registers.rsi);
        RustMethod { result, object, message: registers.rdx, sequence: registers.rcx }
    }

    #[inline(always)]
    pub fn comes_again(context: &ProbeContext, again: u8) -> bool {
        // SAFETY: as above.
        let flags = unsafe { (*context.regs).eflags };
        if again == ComesAgain::BelowOrSame as u8 {
            flags & (CARRY | ZERO) != 0
        } else {
            again == ComesAgain::Below as u8 && flags & CARRY != 0
        }
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod machine {
    use super::*;

    const CARRY: u64 = 1 << 29;
    const ZERO: u64 = 1 << 30;
    /// The return address is in a register.
    pub const RETURN_ADDRESS_BYTES: u64 = 0;

    #[inline(always)]
    pub fn stack(context: &ProbeContext) -> u64 {
        // SAFETY: the probed thread's registers, which the verifier lets the program read.
        unsafe { (*context.regs).sp }
    }

    #[inline(always)]
    pub fn stack_at_return(context: &RetProbeContext) -> u64 {
        // SAFETY: as above.
        unsafe { (*context.regs).sp }
    }

    #[inline(always)]
    pub fn result(context: &ProbeContext) -> u64 {
        // SAFETY: as above.
        unsafe { (*context.regs).regs[0] }
    }

    #[inline(always)]
    pub fn go(context: &ProbeContext) -> GoRegisters {
        // SAFETY: as above.
        let registers = unsafe { &(*context.regs).regs };
        GoRegisters { first: registers[0], second: registers[1], third: registers[2], goroutine: registers[28] }
    }

    #[inline(always)]
    pub fn rust(context: &ProbeContext) -> RustMethod {
        // SAFETY: as above.
        let registers = unsafe { &(*context.regs).regs };
        RustMethod { result: registers[8], object: registers[0], message: registers[1], sequence: registers[2] }
    }

    #[inline(always)]
    pub fn comes_again(context: &ProbeContext, again: u8) -> bool {
        // SAFETY: as above.
        let flags = unsafe { (*context.regs).pstate };
        if again == ComesAgain::BelowOrSame as u8 {
            flags & CARRY == 0 || flags & ZERO != 0
        } else {
            again == ComesAgain::Below as u8 && flags & CARRY == 0
        }
    }
}

pub use machine::{RETURN_ADDRESS_BYTES, comes_again, go, result, rust, stack, stack_at_return};
