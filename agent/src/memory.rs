// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that was needed and is not any more goes back to the system.
//!
//! The allocator keeps what is freed, for it may be wanted again at once, and looks whether it has been kept for long enough
//! only while it is asked for more. So it is told to keep it for long, and who knows that nothing will come for a while
//! says so.

#![expect(unsafe_code, reason = "the allocator is C")]

use std::{ffi::c_long, time::Duration};

/// How long what is freed is kept while more is asked for. Longer: what one busy moment took is held for longer. Shorter:
/// who is busy now and then gets the same memory from the system again and again, and each page of it cleared. Kubernetes
/// asks every container each 10 s whether it is alive, and Prometheus for its metrics each 15 s.
pub const KEPT: Duration = Duration::from_secs(20);

/// `mi_option_purge_delay` of mimalloc's third version.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// From now on memory is kept for a while when it is freed.
pub fn keep() {
    // SAFETY: takes numbers, and may be called at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEPT.as_millis() as c_long) }
}

/// Gives back what this thread has freed. Costs a walk over all that it holds.
pub fn give_back() {
    // SAFETY: takes no pointer, and may be called at any time by any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
