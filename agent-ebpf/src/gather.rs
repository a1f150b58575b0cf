// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The pieces of a vector, gathered into as few records as they fill.
//!
//! In: an array of `struct iovec`, in the process or copied by the kernel. Out: the bytes that the pieces name, in the scratch's
//! record, one step at a time. Does not: follow frames, which takes the same steps with another end to each (`frames/`).

use agent_common::{
    limits::{RECORD_PAYLOAD_BYTES, STEPS_PER_CALL},
    records::Connection,
};
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};

use crate::{
    frames,
    transfer::{Payload, STEPS_AT_ONCE, Scratch, copy_or_count, scratch_and_connection, send, take_budget},
};

/// Size of a `struct iovec`.
pub const PIECE_BYTES: u64 = 16;

/// How far a vector has been gathered. It lies in the scratch, and is read and written there at each step: values that
/// the verifier does not follow make every step look the same to it, so that it walks the loop once per step and not
/// once per way through all of them.
#[repr(C)]
pub struct Gather {
    /// Pieces begun.
    pub index: u64,
    /// Bytes to leave out of the next piece.
    pub skip: u64,
    /// What is left of the last one.
    pub base: u64,
    pub piece_left: u32,
    /// Bytes in the record.
    pub filled: u32,
    /// Bytes gathered from the call.
    pub done: u32,
    pub padding: u32,
}

/// A value in the scratch, which the compiler may not keep in a register.
macro_rules! gathered {
    ($scratch:ident.$($field:ident).+) => {
        // SAFETY: a valid reference; volatile for the verifier's sake.
        unsafe { (&raw const $scratch.$($field).+).read_volatile() }
    };
    ($scratch:ident.$($field:ident).+ = $value:expr) => {{
        let value = $value;
        // SAFETY: as above.
        unsafe { (&raw mut $scratch.$($field).+).write_volatile(value) }
    }};
}
pub(crate) use gathered;

/// Gathers the pieces of a vector into as few records as they fill.
///
/// The record has been begun in the scratch.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn send_vector(pieces: u64, skipped: u64, bytes: u64, is_copy: u64, slot: u64) -> u64 {
    let bytes = bytes as u32;
    let Some((scratch, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    let affordable = take_budget(followed, bytes);
    frames::ask_daemon(followed, scratch);
    begin_gathering(scratch, 0, 0, skipped);
    for _ in 0..STEPS_PER_CALL / STEPS_AT_ONCE {
        if gather_steps(pieces, is_copy, affordable.into(), slot) == 0 {
            break;
        }
    }
    let filled = gathered!(scratch.gather.filled);
    let rest = bytes.wrapping_sub(gathered!(scratch.gather.done));
    if filled != 0 || rest != 0 {
        // What was not read, for its budget, its number of pieces or a bad address, is a gap behind these bytes.
        send(scratch, followed, filled, filled.wrapping_add(rest));
    }
    0
}

/// Begins with so many bytes at `base`, and with pieces behind them.
#[inline(always)]
pub fn begin_gathering(scratch: &mut Scratch, base: u64, piece_left: u32, skipped: u64) {
    gathered!(scratch.gather.index = 0);
    gathered!(scratch.gather.base = base);
    gathered!(scratch.gather.piece_left = piece_left);
    gathered!(scratch.gather.filled = 0);
    gathered!(scratch.gather.done = 0);
    gathered!(scratch.gather.skip = skipped);
}

/// Takes the next piece, or as much of it as `most`.
#[inline(always)]
pub fn next_piece(scratch: &mut Scratch, pieces: u64, is_copy: bool, most: u32) -> Option<()> {
    let index = gathered!(scratch.gather.index);
    let [base, length] = piece(pieces + index * PIECE_BYTES, is_copy)?;
    let skipped = gathered!(scratch.gather.skip);
    let length = length.wrapping_sub(skipped);
    gathered!(scratch.gather.index = index + 1);
    gathered!(scratch.gather.skip = 0);
    gathered!(scratch.gather.base = base + skipped);
    gathered!(scratch.gather.piece_left = if length > u64::from(most) { most } else { length as u32 });
    Some(())
}

/// Some steps of it, of which each ends a piece or fills a record. 0 where there is nothing to go on with. Apart for the
/// verifier, which walks each turn of a loop: the product of two loops costs it their sum.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn gather_steps(pieces: u64, is_copy: u64, most: u64, slot: u64) -> u64 {
    for _ in 0..STEPS_AT_ONCE {
        if gather_step(pieces, is_copy, most, slot) == 0 {
            return 0;
        }
    }
    1
}

/// One step, which the verifier walks once for all of them.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn gather_step(pieces: u64, is_copy: u64, most: u64, slot: u64) -> u64 {
    let Some((scratch, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    u64::from(gather(scratch, followed, pieces, is_copy != 0, most as u32).is_some())
}

#[inline(always)]
fn gather(scratch: &mut Scratch, followed: *mut Connection, pieces: u64, is_copy: bool, most: u32) -> Option<()> {
    if gathered!(scratch.gather.piece_left) == 0 {
        next_piece(scratch, pieces, is_copy, most)?;
    }
    let base = gathered!(scratch.gather.base);
    let piece_left = gathered!(scratch.gather.piece_left);
    let filled = gathered!(scratch.gather.filled);
    let done = gathered!(scratch.gather.done);
    if done >= most {
        return None;
    }
    let step = min(min(most - done, piece_left), RECORD_PAYLOAD_BYTES as u32 - filled);
    if step != 0 && !copy_or_count(scratch, filled, base, step) {
        return None;
    }
    gathered!(scratch.gather.base = base + u64::from(step));
    gathered!(scratch.gather.piece_left = piece_left - step);
    gathered!(scratch.gather.done = done + step);
    gathered!(scratch.gather.filled = filled + step);
    if filled + step >= RECORD_PAYLOAD_BYTES as u32 {
        send(scratch, followed, filled + step, filled + step);
        gathered!(scratch.gather.filled = 0);
    }
    Some(())
}

/// Where the first byte of a call's payload lies.
#[inline(always)]
pub fn first_byte(kind: u64, place: u64, skipped: u64) -> Option<u64> {
    match kind {
        Payload::UNREAD_KIND => None,
        Payload::BUFFER => Some(place),
        _ => piece(place, kind == Payload::COPIED_VECTOR).map(|[base, _]| base + skipped),
    }
}

/// A `struct iovec`: where it begins and how long it is.
#[inline(always)]
pub fn piece(at: u64, is_copy: bool) -> Option<[u64; 2]> {
    let at = at as *const [u64; 2];
    // SAFETY: the helpers check the address, in the kernel or in the process.
    unsafe { if is_copy { bpf_probe_read_kernel(at).ok() } else { bpf_probe_read_user(at).ok() } }
}

#[inline(always)]
pub fn min(left: u32, right: u32) -> u32 {
    if left < right { left } else { right }
}
