// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! When a thread entered the call that it is in: noted at the entry of calls that send, asked for when they return.
//!
//! What is sent has left before the call returns, and a response must never seem older than its request.

use agent_common::limits::ENTRY_SLOTS;
use aya_ebpf::{helpers::generated::bpf_ktime_get_ns, macros::map, maps::Array};

use crate::processes::Thread;

#[repr(C)]
struct Entry {
    /// 0 where nothing is noted.
    thread: u64,
    time_ns: u64,
}

/// By the low bits of the thread's id. A collision is noticed by the thread, and costs the time of entry.
#[map]
static ENTRY_BY_THREAD: Array<Entry> = Array::with_max_entries(ENTRY_SLOTS, 0);

#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: takes no argument.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
pub fn note(thread: Thread) {
    if let Some(entry) = ENTRY_BY_THREAD.get_ptr_mut(thread.tid % ENTRY_SLOTS) {
        // SAFETY: a map value; a thread that shares the slot makes it not match.
        unsafe {
            (*entry).thread = thread.key();
            (*entry).time_ns = now();
        }
    }
}

/// As `note`, unless something is noted already.
#[inline(always)]
pub fn note_first(thread: Thread) {
    if find(thread).is_none() {
        note(thread);
    }
}

/// What was noted; 0 where nothing was.
#[inline(always)]
pub fn noted(thread: Thread) -> u64 {
    match find(thread) {
        // SAFETY: a map value.
        Some(entry) => unsafe { (*entry).time_ns },
        None => 0,
    }
}

/// As `noted`, and it is not noted any more.
#[inline(always)]
pub fn take(thread: Thread) -> u64 {
    let Some(entry) = find(thread) else { return 0 };
    // SAFETY: a map value.
    unsafe {
        (*entry).thread = 0;
        (*entry).time_ns
    }
}

#[inline(always)]
fn find(thread: Thread) -> Option<*mut Entry> {
    let entry = ENTRY_BY_THREAD.get_ptr_mut(thread.tid % ENTRY_SLOTS)?;
    // SAFETY: a map value.
    (unsafe { (*entry).thread } == thread.key()).then_some(entry)
}
