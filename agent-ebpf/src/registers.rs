// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The arguments and the number of a system call, from the registers that were saved when it was entered. They are
//! still there when it returns.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// A system call's number and its first four arguments.
#[derive(Clone, Copy)]
pub struct Call {
    pub number: u64,
    pub arguments: [u64; 4],
}

/// The code segment of 32-bit programs on x86-64 (`__USER32_CS`).
#[cfg(bpf_target_arch = "x86_64")]
const COMPAT_SEGMENT: u64 = 0x23;

impl Call {
    /// `struct pt_regs` of arch/x86/include/asm/ptrace.h: r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs lie
    /// side by side, the first at index 7.
    #[cfg(bpf_target_arch = "x86_64")]
    #[inline(always)]
    pub fn read(registers: u64) -> Option<Self> {
        // SAFETY: the helper checks the address; the tracepoint passes the thread's own saved registers.
        let saved: [u64; 11] = unsafe { bpf_probe_read_kernel((registers + 7 * 8) as *const [u64; 11]).ok()? };
        if saved[10] == COMPAT_SEGMENT {
            crate::emit::count(agent_common::losses::Loss::CompatCall, 1);
            return None;
        }
        Some(Self { number: saved[8], arguments: [saved[7], saved[6], saved[5], saved[0]] })
    }

    /// `struct pt_regs` of arch/arm64/include/asm/ptrace.h: x0 holds the result by now, `orig_x0` the first argument.
    #[cfg(bpf_target_arch = "aarch64")]
    #[inline(always)]
    pub fn read(registers: u64) -> Option<Self> {
        // SAFETY: the helper checks the addresses; the tracepoint passes the thread's own saved registers.
        let (first, rest, number) = unsafe {
            (
                bpf_probe_read_kernel((registers + 272) as *const u64).ok()?,
                bpf_probe_read_kernel((registers + 8) as *const [u64; 3]).ok()?,
                bpf_probe_read_kernel((registers + 280) as *const i32).ok()?,
            )
        };
        Some(Self { number: number as u64, arguments: [first, rest[0], rest[1], rest[2]] })
    }
}

/// Numbers of the calls that move bytes (arch/x86/entry/syscalls/syscall_64.tbl).
#[cfg(bpf_target_arch = "x86_64")]
pub mod number {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const CLOSE: u64 = 3;
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
