// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! When a thread entered the call that it is in: noted at the entry of calls that send, asked for when they return.
//!
//! What is sent has left before the call returns, and a response must never seem older than its request.

use agent_common::limits::ENTRY_SLOTS;
use aya_ebpf::{helpers::generated::bpf_ktime_get_ns, macros::map, maps::Array};

use crate::processes::Thread;

#[repr(C)]
struct Entry {
    thread: u64,
    time_ns: u64,
}

/// By the low bits of the thread's id. A collision is noticed by the thread, and costs the time of entry.
#[map]
static ENTRY_BY_THREAD: Array<Entry> = Array::with_max_entries(ENTRY_SLOTS, 0);

/// A call's time, and how long it took.
#[derive(Clone, Copy)]
pub struct Duration {
    pub time_ns: u64,
    pub duration_ns: u32,
}

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
            (*entry).thread = key(thread);
            (*entry).time_ns = now();
        }
    }
}

/// The time of a call that returns: its entry's if it sent, and now if it received.
#[inline(always)]
pub fn take(thread: Thread, sent: bool) -> Duration {
    let now = now();
    if sent && let Some(entry) = ENTRY_BY_THREAD.get_ptr_mut(thread.tid % ENTRY_SLOTS) {
        // SAFETY: a map value.
        let (owner, entered) = unsafe { ((*entry).thread, (*entry).time_ns) };
        if owner == key(thread) {
            return since(entered, now);
        }
    }
    Duration { time_ns: now, duration_ns: 0 }
}

/// A call from `entered` until `now`.
#[inline(always)]
pub fn since(entered: u64, now: u64) -> Duration {
    let duration = now.wrapping_sub(entered);
    Duration { time_ns: entered, duration_ns: if duration > u64::from(u32::MAX) { u32::MAX } else { duration as u32 } }
}

#[inline(always)]
fn key(thread: Thread) -> u64 {
    u64::from(thread.tgid) << 32 | u64::from(thread.tid)
}
