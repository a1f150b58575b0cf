// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! What each thread is doing, from the entry of a function until it returns: the `kprobe` backend's memory.
//!
//! In: a thread's id. Out: its place, which is its own until it exits. A place is found without hashing: by the low bits of
//! the id. Where another thread has that place already, the thread has one in a table.

use core::arch::asm;

use agent_common::{
    limits::{CALL_PLACES, CROWDED_CALLS},
    losses::Loss,
};
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap},
};

use crate::emit::count;

/// What a thread is doing, or did last.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    /// The thread whose place this is; 0 where it is nobody's.
    owner: u64,
    pub kind: u32,
    /// Bytes of a receive that have been reported.
    pub reported: u32,
    pub socket: u64,
    /// The `struct msghdr`; 0 where bytes are pages of the kernel, or thrown away.
    pub message: u64,
    /// Bytes asked for.
    pub asked: u64,
    pub time_ns: u64,
}

pub const NOTHING: u32 = 0;
pub const SEND: u32 = 1;
pub const RECEIVE: u32 = 2;
/// What it reads is not taken from the stream.
pub const PEEK: u32 = 3;

/// By the low bits of the thread's id.
#[map]
static CALL_BY_PLACE: Array<Call> = Array::with_max_entries(CALL_PLACES, 0);

/// By thread id: threads that found their place taken.
#[map]
static CROWDED_CALL_BY_THREAD: HashMap<u32, Call> = HashMap::with_max_entries(CROWDED_CALLS, BPF_F_NO_PREALLOC);

/// The thread's place, which it is given if it has none.
#[inline(always)]
pub fn begin(tid: u32) -> Option<*mut Call> {
    let place = CALL_BY_PLACE.get_ptr_mut(tid % CALL_PLACES)?;
    // SAFETY: a map value.
    if unsafe { (*place).owner } == u64::from(tid) || take(place, tid) {
        return Some(place);
    }
    if crowd(u64::from(tid)) == 0 {
        return None;
    }
    CROWDED_CALL_BY_THREAD.get_ptr_mut(&tid)
}

/// The thread's place, if it has one.
#[inline(always)]
pub fn find(tid: u32) -> Option<*mut Call> {
    let place = CALL_BY_PLACE.get_ptr_mut(tid % CALL_PLACES)?;
    // SAFETY: a map value.
    if unsafe { (*place).owner } == u64::from(tid) {
        return Some(place);
    }
    CROWDED_CALL_BY_THREAD.get_ptr_mut(&tid)
}

/// Frees the place of a thread that exits.
#[inline(always)]
pub fn forget(tid: u32) {
    if let Some(place) = CALL_BY_PLACE.get_ptr_mut(tid % CALL_PLACES) {
        // SAFETY: a map value, and the thread's own.
        unsafe {
            if (*place).owner == u64::from(tid) {
                (*place).kind = NOTHING;
                (*place).owner = 0;
                return;
            }
        }
    }
    let _ = CROWDED_CALL_BY_THREAD.remove(&tid);
}

/// Makes a place that is nobody's the thread's. Two threads that try it at once must not both succeed: what one has in the
/// process's memory would be read at the other's address.
#[inline(always)]
fn take(place: *mut Call, tid: u32) -> bool {
    let mut before = 0_u64;
    // SAFETY: `owner` is the first field of a map value.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({place} + 0, r0, {tid})",
            place = in(reg) place,
            tid = in(reg) u64::from(tid),
            inout("r0") before,
        );
    }
    before == 0
}

/// A place in the table; 0 where it is full. Rare, and so kept apart, with its stack.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn crowd(tid: u64) -> u64 {
    let tid = tid as u32;
    if CROWDED_CALL_BY_THREAD.get_ptr(&tid).is_some() {
        return 1;
    }
    let call = Call { owner: 0, kind: NOTHING, reported: 0, socket: 0, message: 0, asked: 0, time_ns: 0 };
    if CROWDED_CALL_BY_THREAD.insert(&tid, &call, 0).is_err() {
        count(Loss::CallTableFull, 1);
        return 0;
    }
    1
}
