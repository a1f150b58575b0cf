// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The short way: calls that move whole frames, one after the other, as most do.
//!
//! In: what a call has moved on a framed connection whose place is known. Out: one record with all of it, or nothing.
//! Does not: end inside a frame, or leave anything out; that is the walk's.

use agent_common::{limits::RECORD_PAYLOAD_BYTES, records::LANE_HEADER};

use super::{
    GO_ON, budget_with,
    header::{HEADER_BYTES, Header},
    sent,
};
use crate::{
    gather::{begin_gathering, gathered, next_piece},
    transfer::{Payload, STEPS_AT_ONCE, Scratch, copy, scratch, scratch_and_connection, send},
};

/// What a step of the short way says, other than to go on.
const NOT_WHOLE: u64 = 0;
const WHOLE: u64 = 2;

/// Sends what a call has moved, if it is whole frames that fit into one record and are all to be copied. Else nothing has
/// happened, and 0. What it does is what the walk would do.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn send_whole_frames(kind: u64, place: u64, skipped: u64, bytes: u64, slot: u64) -> u64 {
    let Some((scratch, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    // SAFETY: a map value.
    let (lane, budget) = unsafe { (&raw mut (*followed).lanes[sent(scratch)], (*followed).budget) };
    // SAFETY: as above.
    let is_due = unsafe { (*lane).state == LANE_HEADER && (*lane).left == HEADER_BYTES };
    // SAFETY: as above.
    let follows = unsafe { (*lane).position } == scratch.record.position;
    let bytes = bytes as u32;
    if !is_due || !follows || bytes > RECORD_PAYLOAD_BYTES as u32 {
        return 0;
    }
    let is_read = match kind {
        Payload::BUFFER => copy(scratch, 0, place, bytes),
        _ => gather_whole(place, skipped, bytes.into(), u64::from(kind == Payload::COPIED_VECTOR), slot) == WHOLE,
    };
    gathered!(scratch.walk.budget = budget);
    if !is_read || are_whole_frames(bytes.into(), slot) != WHOLE {
        return 0;
    }
    send(scratch, followed, bytes, bytes);
    let budget = gathered!(scratch.walk.budget);
    // SAFETY: as above.
    unsafe {
        (*lane).position = scratch.record.position;
        (*followed).budget = budget;
    }
    1
}

/// Pieces of a vector that are gathered at once. Larger: more instructions for the verifier to walk. Smaller: servers that
/// write more take the long way.
const PIECES_AT_ONCE: usize = 64;

/// Copies all of a vector into the payload, where it is of few pieces and can be read.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn gather_whole(pieces: u64, skipped: u64, bytes: u64, is_copy: u64, slot: u64) -> u64 {
    let Some(scratch) = scratch(slot) else { return NOT_WHOLE };
    begin_gathering(scratch, 0, 0, skipped);
    for _ in 0..PIECES_AT_ONCE {
        match gather_piece(pieces, is_copy, bytes, slot) {
            GO_ON => {}
            done => return done,
        }
    }
    NOT_WHOLE
}

/// The next piece of it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn gather_piece(pieces: u64, is_copy: u64, bytes: u64, slot: u64) -> u64 {
    let Some(scratch) = scratch(slot) else { return NOT_WHOLE };
    let (bytes, done) = (bytes as u32, gathered!(scratch.gather.done));
    if done >= bytes {
        return WHOLE;
    }
    if next_piece(scratch, pieces, is_copy != 0, bytes - done).is_none() {
        return NOT_WHOLE;
    }
    let part = gathered!(scratch.gather.piece_left);
    if part != 0 && !copy(scratch, done, gathered!(scratch.gather.base), part) {
        return NOT_WHOLE;
    }
    gathered!(scratch.gather.done = done + part);
    if done + part >= bytes { WHOLE } else { GO_ON }
}

/// Whether the payload is whole frames, for whose data the budget is enough: it is paid.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn are_whole_frames(bytes: u64, slot: u64) -> u64 {
    let Some(scratch) = scratch(slot) else { return NOT_WHOLE };
    gathered!(scratch.gather.done = 0);
    for _ in 0..STEPS_AT_ONCE {
        match whole_frame(bytes, slot) {
            GO_ON => {}
            done => return done,
        }
    }
    NOT_WHOLE
}

/// The next frame of it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn whole_frame(bytes: u64, slot: u64) -> u64 {
    let Some(scratch) = scratch(slot) else { return NOT_WHOLE };
    let (bytes, at) = (bytes as u32, gathered!(scratch.gather.done));
    let header = Header::at(&raw const scratch.payload, at);
    // No more than a record's payload and 24 bits.
    let end = at + HEADER_BYTES + header.length;
    if end > bytes || !header.is_legal() || !afford(scratch, &header) {
        return NOT_WHOLE;
    }
    gathered!(scratch.gather.done = end);
    if end == bytes { WHOLE } else { GO_ON }
}

/// Pays for the data of a frame, where the budget is enough for it.
#[inline(always)]
fn afford(scratch: &mut Scratch, header: &Header) -> bool {
    let budget = budget_with(scratch, header);
    let price = if header.is_counted() { header.length } else { 0 };
    if price > budget {
        return false;
    }
    gathered!(scratch.walk.budget = budget - price);
    true
}
