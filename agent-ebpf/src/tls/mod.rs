// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! What is said under TLS, read where a program hands it to its library or gets it from there.
//!
//! A session's plaintext is a connection of its own, with records like any other's: counted positions, turns, a budget.
//! It is bound to its socket by what is certain only: the first socket that moves bytes while the thread is inside a call
//! on the session, the descriptor that the session
//! itself holds, or the very bytes that its library has encrypted. A session whose socket is not known has no address.
//! Does not: decrypt, know libraries (the daemon tells with each probe what to do there), or return-probe Go.

mod arguments;
mod calls;
mod ciphertext;
mod flag;
mod goroutines;
mod plaintext;
mod programs;
mod receives;
mod rustls;
mod sessions;
mod stacks;

use self::flag::Flag;
pub use self::{
    calls::socket_used,
    ciphertext::{compare_sent, compares_sent},
    receives::notes_receives,
};
use crate::{gather::first_byte, processes::Thread, transfer::Payload};

/// Set once a watched process has passed a probe: until then sockets and threads are not asked about TLS.
static IS_SPOKEN: Flag = Flag::new();

/// Not zero where TLS is read. Set by the daemon before loading.
#[unsafe(no_mangle)]
static READS_TLS: u8 = 0;

/// Whether anything else here is to be asked.
#[inline(always)]
pub fn is_spoken() -> bool {
    is_read() && IS_SPOKEN.is_set()
}

#[inline(always)]
pub fn is_read() -> bool {
    // SAFETY: a static; volatile, because the daemon replaces it at load.
    unsafe { (&raw const READS_TLS).read_volatile() != 0 }
}

/// Bytes were received on a socket into memory of the process.
#[inline(always)]
pub fn received(sk: u64, thread: Thread, payload: Payload, bytes: u32) {
    // Where they fill more than one buffer, the first is all that is remembered.
    if payload.kind == Payload::BUFFER {
        receives::note(thread, sk, payload.place, u64::from(bytes));
    } else if let Some(from) = first_byte(payload.kind, payload.place, payload.skipped) {
        receives::note(thread, sk, from, u64::from(bytes));
    }
}

/// A thread is gone, out of whatever call it was in.
#[inline(always)]
pub fn thread_gone(thread: Thread) {
    if is_spoken() {
        calls::forget(thread);
    }
}

/// A socket is gone, and the session on it with it.
#[inline(always)]
pub fn socket_gone(sk: u64) {
    if is_spoken() {
        sessions::socket_gone(sk);
    }
}
