// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Where records are put together: for each processor one place for sockets, and some for plaintext.

use agent_common::{
    limits::{RECORD_PAYLOAD_BYTES, SCRATCHES_PER_PROCESSOR},
    records::{Connection, DataRecord, OpenedRecord},
};
use aya_ebpf::{helpers::generated::bpf_get_smp_processor_id, macros::map, maps::Array};

use crate::{
    connection,
    frames::Walk,
    gather::{Gather, gathered},
    socket::Socket,
};

/// Twice a record's payload: the verifier bounds the fill level and the length of a copy apart, not their sum.
pub const SCRATCH_BYTES: usize = 2 * RECORD_PAYLOAD_BYTES;

/// Where a record is put together.
#[repr(C)]
pub struct Scratch {
    /// A program that can be preempted is at work on it.
    pub(super) is_taken: u64,
    /// The socket, for functions that take plain numbers only: pointers whose type the verifier knows become numbers here.
    pub found: Socket,
    pub gather: Gather,
    pub walk: Walk,
    /// What is told of a TLS session whose plaintext this is.
    pub opened: OpenedRecord,
    pub record: DataRecord,
    pub payload: [u8; SCRATCH_BYTES],
}

/// By processor: a per-processor map allows no values of this size. Programs of tracepoints and
/// kprobes run with preemption off and do not nest; those of typed functions take it.
#[map]
static SCRATCH: Array<Scratch> = Array::with_max_entries(1, 0);

/// The scratch for sockets of this processor; the ones behind it are for plaintext.
#[inline(always)]
pub fn first_slot() -> u32 {
    // SAFETY: takes no argument.
    unsafe { bpf_get_smp_processor_id() * SCRATCHES_PER_PROCESSOR }
}

/// Takes one of this processor's scratches for plaintext: programs of user probes can be preempted by another task that comes
/// here as well. A task that is preempted between the look and the mark may share it with the one that took its place: two
/// instructions in a program of thousands.
#[inline(always)]
pub fn take_plaintext_slot() -> Option<u32> {
    let first = first_slot();
    // No loop: to the verifier of 6.1 its end is not known.
    take_slot(first + 1).or_else(|| take_slot(first + 2))
}

#[inline(always)]
fn take_slot(slot: u32) -> Option<u32> {
    let scratch = SCRATCH.get_ptr_mut(slot)?;
    // SAFETY: a map value.
    unsafe {
        if (*scratch).is_taken != 0 {
            return None;
        }
        (*scratch).is_taken = 1;
    }
    Some(slot)
}

#[inline(always)]
pub fn give_back(slot: u32) {
    if let Some(scratch) = SCRATCH.get_ptr_mut(slot) {
        // SAFETY: a map value that this program has taken.
        unsafe { (*scratch).is_taken = 0 }
    }
}

/// A scratch, which is the program's own.
#[inline(always)]
pub fn scratch(slot: u64) -> Option<&'static mut Scratch> {
    // SAFETY: a map value; this program's own.
    SCRATCH.get_ptr_mut(slot as u32).map(|scratch| unsafe { &mut *scratch })
}

/// A scratch, and the connection of the socket in it, where there is one.
#[inline(always)]
pub fn scratch_and_connection(slot: u64) -> Option<(&'static mut Scratch, Option<*mut Connection>)> {
    let scratch = scratch(slot)?;
    let sk = gathered!(scratch.found.sk);
    Some((scratch, connection::get(sk)))
}
