// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Registers at a probe: arguments by the C convention and by Go's, results, the stack, and whether a condition holds.

use agent_common::plaintext::{Condition, Cookie};
use aya_ebpf::{helpers::bpf_probe_read_kernel, programs::ProbeContext, programs::RetProbeContext};

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

    /// In `struct pt_regs`.
    pub const REGISTERS: u64 = 21;
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
    pub fn usual_result(context: &ProbeContext) -> u64 {
        // SAFETY: as above.
        unsafe { (*context.regs).rax }
    }

    #[inline(always)]
    pub fn go(context: &ProbeContext) -> GoRegisters {
        // SAFETY: as above.
        let registers = unsafe { &*context.regs };
        GoRegisters { first: registers.rax, second: registers.rbx, third: registers.rcx, goroutine: registers.r14 }
    }

    /// Both at once, and volatile: programs name registers by constants, and a compiler would choose between their addresses.
    #[inline(always)]
    pub fn fourth_and_fifth(context: &ProbeContext) -> (u64, u64) {
        let registers = context.regs;
        // SAFETY: as above.
        unsafe { ((&raw const (*registers).rcx).read_volatile(), (&raw const (*registers).r8).read_volatile()) }
    }

    #[inline(always)]
    pub fn rust(context: &ProbeContext) -> RustMethod {
        // SAFETY: as above.
        let registers = unsafe { &*context.regs };
        let (result, object) = (registers.rdi, registers.rsi);
        RustMethod { result, object, message: registers.rdx, sequence: registers.rcx }
    }

    /// The eight conditions that the processor knows, as bits in the order of their numbers; each has its opposite beside it
    /// (Intel's manual, volume 2, appendix B: "tttn").
    #[inline(always)]
    pub fn holds(context: &ProbeContext, condition: Condition) -> bool {
        // SAFETY: as above.
        let flags = unsafe { (*context.regs).eflags };
        let (carry, parity, zero) = (flags & 1, flags >> 2 & 1, flags >> 6 & 1);
        let (sign, overflow) = (flags >> 7 & 1, flags >> 11 & 1);
        let less = sign ^ overflow;
        let equal = zero << 2 | (carry | zero) << 3 | (less | zero) << 7;
        let all = overflow | carry << 1 | sign << 4 | parity << 5 | less << 6 | equal;
        (all >> (condition.0 >> 1 & 7) ^ u64::from(condition.0)) & 1 != 0
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod machine {
    use super::*;

    /// In `struct user_pt_regs`.
    pub const REGISTERS: u64 = 31;
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
    pub fn usual_result(context: &ProbeContext) -> u64 {
        // SAFETY: as above.
        unsafe { (*context.regs).regs[0] }
    }

    #[inline(always)]
    pub fn go(context: &ProbeContext) -> GoRegisters {
        // SAFETY: as above.
        let registers = unsafe { &(*context.regs).regs };
        GoRegisters { first: registers[0], second: registers[1], third: registers[2], goroutine: registers[28] }
    }

    /// Both at once, and volatile, as on x86-64.
    #[inline(always)]
    pub fn fourth_and_fifth(context: &ProbeContext) -> (u64, u64) {
        let registers = context.regs;
        // SAFETY: as above.
        unsafe {
            ((&raw const (*registers).regs[3]).read_volatile(), (&raw const (*registers).regs[4]).read_volatile())
        }
    }

    #[inline(always)]
    pub fn rust(context: &ProbeContext) -> RustMethod {
        // SAFETY: as above.
        let registers = unsafe { &(*context.regs).regs };
        RustMethod { result: registers[8], object: registers[0], message: registers[1], sequence: registers[2] }
    }

    /// As on x86-64 (Arm's architecture reference manual, C1.2.4).
    #[inline(always)]
    pub fn holds(context: &ProbeContext, condition: Condition) -> bool {
        // SAFETY: as above.
        let flags = unsafe { (*context.regs).pstate };
        let (negative, zero) = (flags >> 31 & 1, flags >> 30 & 1);
        let (carry, overflow) = (flags >> 29 & 1, flags >> 28 & 1);
        let (other, not_less) = (zero ^ 1, negative ^ overflow ^ 1);
        let ordered = (carry & other) << 4 | not_less << 5 | (not_less & other) << 6;
        let all = zero | carry << 1 | negative << 2 | overflow << 3 | ordered | 1 << 7;
        (all >> (condition.0 >> 1 & 7) ^ u64::from(condition.0)) & 1 != 0
    }
}

/// What the function that is left here gives: in the convention's register, or still in another one.
#[inline(always)]
pub fn result(context: &ProbeContext, register: u8) -> Option<u64> {
    if register == Cookie::NOTHING {
        return Some(0);
    }
    if register == 0 || u64::from(register) >= REGISTERS {
        return Some(usual_result(context));
    }
    let at = context.regs as u64 + u64::from(register) * 8;
    // SAFETY: within the registers that were saved; read by a helper, as the verifier has programs name them by constants.
    unsafe { bpf_probe_read_kernel(at as *const u64).ok() }
}

use machine::{REGISTERS, usual_result};
pub use machine::{RETURN_ADDRESS_BYTES, fourth_and_fifth, go, holds, rust, stack, stack_at_return};
