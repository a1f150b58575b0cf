// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Whether something has ever been, for the whole machine: the cheapest question that a program can ask of the others.
//!
//! In the programs' own data, and not in a map: it is read by one instruction, with no call.

use core::cell::UnsafeCell;

pub struct Flag(UnsafeCell<u64>);

// SAFETY: a word that is read and written whole, by volatile accesses, and goes from 0 to 1 once. Atomic loads are what the
// oldest of the kernel's instruction sets has none of.
unsafe impl Sync for Flag {}

impl Flag {
    pub const fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    #[inline(always)]
    pub fn is_set(&self) -> bool {
        // SAFETY: as above.
        unsafe { self.0.get().read_volatile() != 0 }
    }

    /// Written once: a line that is written at every call is in no other processor's cache.
    #[inline(always)]
    pub fn set(&self) {
        if !self.is_set() {
            // SAFETY: as above.
            unsafe { self.0.get().write_volatile(1) }
        }
    }
}
