// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The bytes of a call: where they lie, and how they go into records. As much as the turn's budget allows, lengths for the
//! rest.

use agent_common::{
    limits::{RECORD_PAYLOAD_BYTES, TURN_BUDGET_BYTES},
    losses::Loss,
    records::{CONNECTION_FRAMED, Connection, DATA_UNREADABLE, DataRecord},
};
use aya_ebpf::helpers::generated::bpf_probe_read_user as read_user_bytes;

use super::scratch::{Scratch, scratch_and_connection};
use crate::{
    bounds::{at_most, within},
    emit::{count, emit},
    frames::{self, send_frames, send_whole_frames},
    gather::{min, send_vector},
};

/// Most records that one call's payload can fill.
const RECORDS_PER_CALL: usize = TURN_BUDGET_BYTES as usize / RECORD_PAYLOAD_BYTES + 1;

/// Steps of one of the inner loops through a call.
pub const STEPS_AT_ONCE: usize = 64;

/// Bytes at the end of a call that are copied even past the budget: the end of a chunked HTTP body is five bytes, with
/// the line end before it seven.
const TAIL_BYTES: u32 = 7;

/// Where the payload of a call lies in the process. No enum: the compiler moves what a variant has left unset, which the
/// verifier minds.
#[derive(Clone, Copy)]
pub struct Payload {
    /// A number, as functions take it that the verifier looks at by themselves.
    pub kind: u64,
    /// The buffer, or an array of `struct iovec`.
    pub place: u64,
    /// Bytes of the array's first piece that are not of this call.
    pub skipped: u64,
}

impl Payload {
    /// In the kernel, or nowhere: only its length is known.
    pub const UNREAD_KIND: u64 = 0;
    pub const BUFFER: u64 = 1;
    pub const VECTOR: u64 = 2;
    /// The array lies in the kernel, which has copied it; the pieces lie in the process still.
    pub const COPIED_VECTOR: u64 = 3;

    pub const UNREAD: Self = Self { kind: Self::UNREAD_KIND, place: 0, skipped: 0 };

    #[inline(always)]
    pub fn buffer(place: u64) -> Self {
        Self { kind: Self::BUFFER, place, skipped: 0 }
    }

    #[inline(always)]
    pub fn vector(place: u64) -> Self {
        Self { kind: Self::VECTOR, place, skipped: 0 }
    }

    #[inline(always)]
    pub fn copied_vector(place: u64, skipped: u64) -> Self {
        Self { kind: Self::COPIED_VECTOR, place, skipped }
    }
}

/// Sends the bytes of the record that has been begun.
#[inline(always)]
pub fn send_payload(scratch: &mut Scratch, slot: u64, followed: *mut Connection, payload: Payload, bytes: u32) {
    let Payload { kind, place, skipped } = payload;
    // SAFETY: a map value.
    let is_framed = unsafe { (*followed).flags } & CONNECTION_FRAMED != 0;
    match kind {
        Payload::UNREAD_KIND => send(scratch, followed, 0, bytes),
        _ if is_framed => {
            if send_whole_frames(kind, place, skipped, u64::from(bytes), slot) == 0 {
                send_frames(kind, place, skipped, u64::from(bytes), slot);
            }
        }
        Payload::BUFFER if bytes <= RECORD_PAYLOAD_BYTES as u32 && take_whole(followed, bytes) => {
            send_whole(scratch, followed, place, bytes, bytes);
        }
        Payload::BUFFER => {
            send_buffer(place, u64::from(bytes), slot);
        }
        _ => {
            send_vector(place, skipped, u64::from(bytes), u64::from(kind == Payload::COPIED_VECTOR), slot);
        }
    }
}

/// Emits the record in the scratch: `captured` bytes of payload that stand for `length` bytes of the stream.
#[inline(always)]
pub fn send(scratch: &mut Scratch, followed: *mut Connection, captured: u32, length: u32) {
    let captured = at_most(captured, RECORD_PAYLOAD_BYTES as u32);
    scratch.record.length = length;
    scratch.record.captured = captured;
    let size = size_of::<DataRecord>() as u64 + u64::from(captured);
    if emit(&raw const scratch.record, size) {
        // SAFETY: a map value.
        unsafe { (*followed).reported_turn = scratch.record.turn }
    }
    scratch.record.position = scratch.record.position.wrapping_add(length);
}

/// Copies from the process to `filled` bytes into the payload. False where its memory could not be read.
#[inline(always)]
pub fn copy(scratch: &mut Scratch, filled: u32, from: u64, length: u32) -> bool {
    let filled = within(filled, RECORD_PAYLOAD_BYTES);
    let length = at_most(length, RECORD_PAYLOAD_BYTES as u32);
    let target = scratch.payload.as_mut_ptr();
    // SAFETY: `filled` is below and `length` at most half of the payload's size; the helper checks the address in the
    // process, and clears the target where it fails.
    let result = unsafe { read_user_bytes(target.add(filled).cast(), length, from as *const _) };
    result == 0
}

/// The same where nothing else is tried.
#[inline(always)]
pub fn copy_or_count(scratch: &mut Scratch, filled: u32, from: u64, length: u32) -> bool {
    let is_read = copy(scratch, filled, from, length);
    if !is_read {
        count(Loss::PayloadUnreadable, 1);
    }
    is_read
}

/// Takes up to `wanted` bytes of the turn's budget.
#[inline(always)]
pub fn take_budget(followed: *mut Connection, wanted: u32) -> u32 {
    // SAFETY: a map value.
    let budget = unsafe { (*followed).budget };
    let taken = if wanted < budget { wanted } else { budget };
    // SAFETY: as above.
    unsafe { (*followed).budget = budget - taken }
    taken
}

/// Takes `wanted` bytes of the turn's budget, or none.
#[inline(always)]
fn take_whole(followed: *mut Connection, wanted: u32) -> bool {
    // SAFETY: a map value.
    let budget = unsafe { (*followed).budget };
    if wanted > budget {
        return false;
    }
    // SAFETY: as above.
    unsafe { (*followed).budget = budget - wanted }
    true
}

/// One buffer, one record. Where it cannot be read, `otherwise` bytes are told as a length.
#[inline(always)]
fn send_whole(scratch: &mut Scratch, followed: *mut Connection, base: u64, bytes: u32, otherwise: u32) -> bool {
    let is_readable = copy_or_count(scratch, 0, base, bytes);
    if is_readable {
        send(scratch, followed, bytes, bytes);
    } else {
        scratch.record.flags |= DATA_UNREADABLE;
        send(scratch, followed, 0, otherwise);
    }
    is_readable
}

/// The same, for the verifier to walk once. 0 where it could not be read.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn send_piece(base: u64, bytes: u64, otherwise: u64, slot: u64) -> u64 {
    let Some((scratch, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    send_whole(scratch, followed, base, bytes as u32, otherwise as u32).into()
}

/// A buffer that takes several records, or more than the budget.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn send_buffer(base: u64, bytes: u64, slot: u64) -> u64 {
    let bytes = bytes as u32;
    let Some((scratch, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    let affordable = take_budget(followed, bytes);
    frames::ask_daemon(followed, scratch);
    let mut done = 0;
    for _ in 0..RECORDS_PER_CALL {
        let left = affordable - done;
        if left == 0 {
            break;
        }
        let piece = min(left, RECORD_PAYLOAD_BYTES as u32);
        if send_piece(base + u64::from(done), piece.into(), u64::from(bytes - done), slot) == 0 {
            return 0;
        }
        done += piece;
    }
    send_rest(scratch, slot, followed, base + u64::from(done), bytes - done);
    0
}

/// The part of a call past the budget: its length, and its last bytes.
#[inline(always)]
fn send_rest(scratch: &mut Scratch, slot: u64, followed: *mut Connection, base: u64, rest: u32) {
    if rest == 0 {
        return;
    }
    let tail = if rest < TAIL_BYTES { rest } else { TAIL_BYTES };
    if rest > tail {
        send(scratch, followed, 0, rest - tail);
    }
    send_piece(base + u64::from(rest - tail), tail.into(), tail.into(), slot);
}
