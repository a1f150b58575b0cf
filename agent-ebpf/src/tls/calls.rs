// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The call to a TLS library that a thread is in: noted at its entry, taken when it returns.
//!
//! A call that is made inside another one is the other one's own doing, and not looked at. Whether it is inside is told by
//! the stack: a call that was left by a jump out of it does not hold the slot for ever.

use agent_common::{
    limits::{EARLY_CALLS, TLS_CALL_SLOTS},
    losses::Loss,
    plaintext::SessionKey,
};
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LruHashMap},
};

use super::{sessions, stacks};
use crate::{emit::count, processes::Thread};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct TlsCall {
    /// 0 where the slot is free.
    pub thread: u64,
    pub session: u64,
    pub buffer: u64,
    /// The fourth argument.
    pub told_at: u64,
    pub time_ns: u64,
    /// The stack pointer at the function's entry.
    pub stack: u64,
    /// The first socket that moved bytes inside it; 0 where none did.
    pub socket: u64,
    /// Not zero where its end will not be seen: it may be over. It tells no socket then, and makes room for the next call.
    pub is_open: u64,
}

/// By the low bits of the thread's id.
#[map]
static TLS_CALL_BY_THREAD: Array<TlsCall> = Array::with_max_entries(TLS_CALL_SLOTS, 0);

/// Calls on stacks of a program's own that are under way. Larger: kernel memory, 150 bytes each, in use or not. Smaller: with
/// more coroutines that wait inside a call at once, what the longest waiting ones get is not seen.
const CALLS_ON_STACKS: u32 = 2048;

/// Calls of programs that have stacks of their own, by process and stack: which thread goes on with one is not said.
#[map]
static TLS_CALL_BY_STACK: LruHashMap<SessionKey, TlsCall> = LruHashMap::with_max_entries(CALLS_ON_STACKS, 0);

/// Threads that were waiting in a call on a socket when a library was probed: it may have been a call to the library, whose
/// return is not seen. Filled by the daemon.
#[map]
static TLS_EARLY_THREADS: HashMap<u32, u32> = HashMap::with_max_entries(EARLY_CALLS, BPF_F_NO_PREALLOC);

/// Whether this is the first call that is seen of a thread which may have been in one before.
#[inline(always)]
pub fn is_after_unseen(thread: Thread) -> bool {
    TLS_EARLY_THREADS.get_ptr(&thread.tid).is_some() && TLS_EARLY_THREADS.remove(&thread.tid).is_ok()
}

#[inline(always)]
fn slot(thread: Thread) -> Option<*mut TlsCall> {
    TLS_CALL_BY_THREAD.get_ptr_mut(thread.tid % TLS_CALL_SLOTS)
}

/// A call begins.
#[inline(always)]
pub fn begin(thread: Thread, call: &TlsCall) {
    if stacks::has_foreign(thread, call.stack) {
        if call.is_open == 0 {
            let _ = TLS_CALL_BY_STACK.insert(&sessions::key(thread.tgid, call.stack), call, 0);
        }
        return;
    }
    let Some(slot) = slot(thread) else { return };
    // SAFETY: a map value; other threads that share the slot make it not match.
    let slot = unsafe { &mut *slot };
    if slot.thread == thread.key() {
        if call.stack < slot.stack && slot.is_open == 0 {
            return;
        }
    } else if slot.thread != 0 && slot.is_open == 0 {
        count(Loss::TlsCallsCollided, 1);
    }
    *slot = *call;
}

/// The call that returns with the stack at `stack`.
#[inline(always)]
pub fn end(thread: Thread, stack: u64) -> Option<TlsCall> {
    let slot = slot(thread)?;
    // SAFETY: a map value.
    let slot = unsafe { &mut *slot };
    if slot.thread == thread.key() && slot.stack == stack {
        let call = *slot;
        slot.thread = 0;
        return Some(call);
    }
    if !stacks::are_foreign() {
        return None;
    }
    let key = sessions::key(thread.tgid, stack);
    // SAFETY: a map value.
    let call = unsafe { *TLS_CALL_BY_STACK.get_ptr(&key)? };
    let _ = TLS_CALL_BY_STACK.remove(&key);
    Some(call)
}

/// The call that the thread is in, with its stack at `stack`.
#[inline(always)]
pub fn current(thread: Thread, stack: u64) -> Option<TlsCall> {
    let slot = slot(thread)?;
    // SAFETY: a map value.
    let call = unsafe { *slot };
    (call.thread == thread.key() && stack < call.stack).then_some(call)
}

/// The thread's number may be another one's soon.
#[inline(always)]
pub fn forget(thread: Thread) {
    if let Some(slot) = slot(thread) {
        // SAFETY: a map value.
        let slot = unsafe { &mut *slot };
        if slot.thread == thread.key() {
            slot.thread = 0;
        }
    }
}

/// Bytes have moved on a socket: a call to a TLS library that the thread is in is on this one. Only the first socket counts:
/// later ones may be used by functions that the library calls back.
#[inline(always)]
pub fn socket_used(sk: u64, thread: Thread) {
    let Some(slot) = slot(thread) else { return };
    // SAFETY: a map value.
    let slot = unsafe { &mut *slot };
    if slot.thread == thread.key() && slot.socket == 0 && slot.is_open == 0 {
        slot.socket = sk;
    }
}
