// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that was needed and is not any more goes back to the system.
//!
//! The allocator keeps what is freed, for it may be wanted again at once; by itself it gives it back only while it is asked
//! for more. So who knows that nothing will come for a while says so.

#![expect(unsafe_code, reason = "the allocator is C")]

/// Gives back what this thread has freed. Costs a walk over all that it holds.
pub fn give_back() {
    // SAFETY: takes no pointer, and may be called at any time by any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
