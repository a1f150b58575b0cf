// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Bounds that the verifier can see. The compiler drops a check that it has proved needless; the verifier, which follows
//! one register at a time, then no longer knows the bound.

use core::arch::asm;

/// The value, about which the compiler knows nothing any more.
#[inline(always)]
fn unknown(value: u64) -> u64 {
    let mut value = value;
    // SAFETY: moves a register to itself. Without any instruction two lines of source would share one, which the kernel's
    // check of line information refuses.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack)) }
    value
}

/// The value, or `most` where it is larger.
#[inline(always)]
pub fn at_most(value: u32, most: u32) -> u32 {
    let value = unknown(u64::from(value));
    if value > u64::from(most) { most } else { value as u32 }
}

/// The value's low bits below `size`, a power of two.
#[inline(always)]
pub fn within(value: u32, size: usize) -> usize {
    unknown(u64::from(value)) as usize & (size - 1)
}
