// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The arguments and the number of a system call, from the registers that were saved when it was entered. They are
//! still there when it returns.

use aya_ebpf::helpers::{
    bpf_probe_read_kernel,
    generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
};

use crate::fields::{read_or_load, task_is_typed};

/// A system call's number and its first three arguments.
#[derive(Clone, Copy)]
pub struct Call {
    pub number: u64,
    pub arguments: [u64; 3],
    registers: u64,
}

/// The code segment of 32-bit programs on x86-64 (`__USER32_CS`).
#[cfg(bpf_target_arch = "x86_64")]
const COMPAT_SEGMENT: u16 = 0x23;

/// `struct pt_regs` of arch/x86/include/asm/ptrace.h: rdx, rsi, rdi, orig_rax, rip, cs lie side by side, the first at index
/// 12; r10 is at index 7.
#[cfg(bpf_target_arch = "x86_64")]
impl Call {
    #[inline(always)]
    pub fn read(registers: u64) -> Option<Self> {
        let (arguments, number, segment) = if task_is_typed() {
            let own = own_registers();
            let at = |index: u32| read_or_load::<true, u64>(own, index * 8);
            ([at(14)?, at(13)?, at(12)?], at(15)?, read_or_load::<true, u16>(own, 17 * 8)?)
        } else {
            // SAFETY: the helper checks the address; the tracepoint passes the thread's own saved registers.
            let saved: [u64; 6] = unsafe { bpf_probe_read_kernel((registers + 12 * 8) as *const [u64; 6]).ok()? };
            ([saved[2], saved[1], saved[0]], saved[3], saved[5] as u16)
        };
        if segment == COMPAT_SEGMENT {
            crate::emit::count(agent_common::losses::Loss::CompatCall, 1);
            return None;
        }
        Some(Self { number, arguments, registers })
    }

    /// The fourth argument, which few calls have.
    #[inline(always)]
    pub fn fourth(&self) -> Option<u64> {
        // SAFETY: as above.
        unsafe { bpf_probe_read_kernel((self.registers + 7 * 8) as *const u64).ok() }
    }
}

/// `struct pt_regs` of arch/arm64/include/asm/ptrace.h: x0 holds the result by now, `orig_x0` the first argument.
#[cfg(bpf_target_arch = "aarch64")]
impl Call {
    #[inline(always)]
    pub fn read(registers: u64) -> Option<Self> {
        if task_is_typed() {
            let own = own_registers();
            let at = |offset: u32| read_or_load::<true, u64>(own, offset);
            let number = read_or_load::<true, i32>(own, 280)?;
            return Some(Self { number: number as u64, arguments: [at(272)?, at(8)?, at(16)?], registers });
        }
        // SAFETY: the helper checks the addresses; the tracepoint passes the thread's own saved registers.
        let (first, rest, number) = unsafe {
            (
                bpf_probe_read_kernel((registers + 272) as *const u64).ok()?,
                bpf_probe_read_kernel((registers + 8) as *const [u64; 2]).ok()?,
                bpf_probe_read_kernel((registers + 280) as *const i32).ok()?,
            )
        };
        Some(Self { number: number as u64, arguments: [first, rest[0], rest[1]], registers })
    }

    /// The fourth argument, which few calls have.
    #[inline(always)]
    pub fn fourth(&self) -> Option<u64> {
        // SAFETY: as above.
        unsafe { bpf_probe_read_kernel((self.registers + 24) as *const u64).ok() }
    }
}

/// The same registers with their type, which the verifier lets be read without the helper.
#[inline(always)]
fn own_registers() -> u64 {
    // SAFETY: the helpers take nothing but the current task.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
}

/// Numbers of the calls that move bytes (arch/x86/entry/syscalls/syscall_64.tbl).
#[cfg(bpf_target_arch = "x86_64")]
pub mod number {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const CLOSE: u64 = 3;
    pub const MMAP: u64 = 9;
    pub const READV: u64 = 19;
    pub const WRITEV: u64 = 20;
    pub const SENDFILE: u64 = 40;
    pub const SENDTO: u64 = 44;
    pub const RECVFROM: u64 = 45;
    pub const SENDMSG: u64 = 46;
    pub const RECVMSG: u64 = 47;
    pub const SHUTDOWN: u64 = 48;
    pub const SPLICE: u64 = 275;
    pub const RECVMMSG: u64 = 299;
    pub const SENDMMSG: u64 = 307;
    pub const PREADV2: u64 = 327;
    pub const PWRITEV2: u64 = 328;
}

/// Numbers of the calls that move bytes (include/uapi/asm-generic/unistd.h).
#[cfg(bpf_target_arch = "aarch64")]
pub mod number {
    pub const READ: u64 = 63;
    pub const WRITE: u64 = 64;
    pub const CLOSE: u64 = 57;
    pub const MMAP: u64 = 222;
    pub const READV: u64 = 65;
    pub const WRITEV: u64 = 66;
    pub const SENDFILE: u64 = 71;
    pub const SENDTO: u64 = 206;
    pub const RECVFROM: u64 = 207;
    pub const SENDMSG: u64 = 211;
    pub const RECVMSG: u64 = 212;
    pub const SHUTDOWN: u64 = 210;
    pub const SPLICE: u64 = 76;
    pub const RECVMMSG: u64 = 243;
    pub const SENDMMSG: u64 = 269;
    pub const PREADV2: u64 = 286;
    pub const PWRITEV2: u64 = 287;
}
