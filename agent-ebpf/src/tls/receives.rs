// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Where a thread's last receive has put its bytes: what a library then decrypts in that very memory came from that socket.

use aya_ebpf::{macros::map, maps::Array};

use super::flag::Flag;
use crate::processes::Thread;

/// Threads whose last receive is remembered. Larger: kernel memory, 32 bytes each. Smaller: of two threads whose ids collide one
/// may find that the other has received meanwhile, and what it decrypts is not read, and counted.
const SLOTS: u32 = 8192;

#[repr(C)]
struct Receive {
    thread: u64,
    socket: u64,
    from: u64,
    to: u64,
}

/// By the low bits of the thread's id.
#[map]
static RECEIVE_BY_THREAD: Array<Receive> = Array::with_max_entries(SLOTS, 0);

/// Set once a library was seen that decrypts where it has received.
static IS_NOTED: Flag = Flag::new();

#[inline(always)]
pub fn want() {
    IS_NOTED.set();
}

/// Whether the bytes of a receive are to be shown to [`super::received`].
#[inline(always)]
pub fn notes_receives() -> bool {
    IS_NOTED.is_set()
}

#[inline(always)]
pub fn note(thread: Thread, socket: u64, from: u64, bytes: u64) {
    if let Some(slot) = RECEIVE_BY_THREAD.get_ptr_mut(thread.tid % SLOTS) {
        // SAFETY: a map value; a thread that shares the slot makes it not match.
        unsafe { *slot = Receive { thread: thread.key(), socket, from, to: from.wrapping_add(bytes) } }
    }
}

/// The socket whose bytes the thread has received last, if the last byte of what begins at `first` is among them.
///
/// All of it is that socket's then, and so is what lies there next: a library that has taken a record out of its buffer moves
/// the ones behind it to the front.
#[inline(always)]
pub fn socket_of(thread: Thread, first: u64, last: u64) -> Option<u64> {
    let slot = RECEIVE_BY_THREAD.get_ptr_mut(thread.tid % SLOTS)?;
    // SAFETY: a map value.
    let receive = unsafe { &mut *slot };
    if receive.thread != thread.key() || last < receive.from || last >= receive.to {
        return None;
    }
    if first < receive.from {
        receive.from = first;
    }
    Some(receive.socket)
}
