// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Framed connections: those on which frames follow one another, each behind nine bytes that say how long it is and of
//! what kind (HTTP/2, RFC 9113 section 4.1).
//!
//! In: what a call has moved on one. Out: records in which every frame header and every frame is whole, but for frames of
//! data: of those the first bytes, and the rest for as long as the budget lasts; beyond it only lengths.
//! Does not: look into frames. A turn gives no budget here, where many conversations share a connection and each window
//! update would be one; a block of headers does.
//!
//! Which bytes begin a frame is known from a connection's beginning. Where it is not (bytes that were not readable, calls
//! by several threads at once), the next call that seems to begin with a frame is believed, until a header is none.

use agent_common::{
    limits::{FRAMED_CONNECTIONS, HEADERS_BUDGET_BYTES, RECORD_PAYLOAD_BYTES, STEPS_PER_CALL, TURN_BUDGET_BYTES},
    records::{CONNECTION_FRAMED, Connection, DATA_SENT, LANE_COUNTED, LANE_HEADER, LANE_LOST, LANE_WHOLE, Lane},
};
use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user},
    macros::map,
    maps::LruHashMap,
};

use self::header::{CONTINUATION, HEADER_BYTES, HEADERS, Header, PREFACE_BYTES, SETTINGS};
pub use self::whole::send_whole_frames;
use crate::{
    bounds::{at_most, within},
    gather::{begin_gathering, first_byte, gathered, min, next_piece},
    transfer::{Payload, STEPS_AT_ONCE, Scratch, copy_or_count, scratch, scratch_and_connection, send},
};

mod header;
mod whole;

/// Bytes at the beginning of a frame of data that are always copied: the length of its padding, and the five bytes before
/// a message of gRPC. Larger: a download copies more. Smaller: messages cannot be counted.
const DATA_BEGIN_BYTES: u32 = 6;

/// The largest first frame of a connection whose server speaks first: as the daemon recognises it.
const MOST_SETTINGS_BYTES: u32 = 32 * 6;

/// Payload of a frame that is believed where the place was lost: what peers use where nobody has asked for more.
const LIKELY_PAYLOAD_BYTES: u32 = 1 << 14;

/// Connections that the daemon has found to be framed, after their first call: the number of each, by its socket. Looked
/// at where a call costs more than its turn has, and forgotten in time by itself.
#[map]
static FRAMED_BY_SOCKET: LruHashMap<u64, u64> = LruHashMap::with_max_entries(FRAMED_CONNECTIONS, 0);

/// Where a call's bytes are looked at, between its steps. As for the gathering, every value is read and written in
/// memory.
#[repr(C)]
pub struct Walk {
    lane: Lane,
    /// The header that has begun; more than its nine bytes, for what the verifier thinks possible.
    header: [u8; 32],
    /// Bytes to be left out, behind those that are in the record.
    gap: u32,
    /// Bytes of data that may be copied.
    budget: u32,
}

/// What a step asks for.
const STOP: u64 = 0;
const GO_ON: u64 = 1;
const SEND: u64 = 2;

/// The first call of either side says whether a connection is a framed one.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn recognise(kind: u64, place: u64, skipped: u64, slot: u64) -> u64 {
    let Some(base) = first_byte(kind, place, skipped) else { return 0 };
    let Some((_, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    if begins_framed(base, slot) != 0 {
        // SAFETY: as above.
        unsafe { (*followed).flags |= CONNECTION_FRAMED }
    }
    0
}

/// Whether the daemon has said so; from the next call on it is treated as one.
#[inline(always)]
pub fn ask_daemon(followed: *mut Connection, scratch: &Scratch) {
    let sk = gathered!(scratch.found.sk);
    // SAFETY: both are map values.
    unsafe {
        if FRAMED_BY_SOCKET.get(&sk).is_some_and(|id| *id == (*followed).id) {
            (*followed).flags |= CONNECTION_FRAMED;
        }
    }
}

/// Whether the first bytes of a connection are the preface, or a server's settings. Where fewer than nine have moved, what
/// lies behind them in the process decides nothing: it has to be those nine bytes.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn begins_framed(base: u64, slot: u64) -> u64 {
    let Some(scratch) = scratch(slot) else { return 0 };
    if !read_header(scratch, base) {
        return 0;
    }
    let header = Header::of(scratch);
    let is_settings = header.kind == SETTINGS && header.flags == 0 && header.stream == 0;
    let is_of_settings = header.length != 0 && header.length <= MOST_SETTINGS_BYTES && header.length.is_multiple_of(6);
    u64::from(header.is_preface || (is_settings && is_of_settings))
}

/// Bytes of data that may be copied from this frame on.
#[inline(always)]
fn budget_with(scratch: &Scratch, header: &Header) -> u32 {
    let budget = gathered!(scratch.walk.budget);
    if header.kind == HEADERS { min(budget + HEADERS_BUDGET_BYTES, TURN_BUDGET_BYTES) } else { budget }
}

#[inline(always)]
fn sent(scratch: &Scratch) -> usize {
    usize::from(scratch.record.flags & DATA_SENT != 0)
}

/// Sends what a call has moved. The record has been begun in this processor's scratch.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn send_frames(kind: u64, place: u64, skipped: u64, bytes: u64, slot: u64) -> u64 {
    let Some((scratch, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    let (base, pieces) = if kind == Payload::BUFFER { (place, 0) } else { (0, place) };
    let is_copy = u64::from(kind == Payload::COPIED_VECTOR);
    begin_gathering(scratch, base, if base != 0 { bytes as u32 } else { 0 }, skipped);
    begin_walk(scratch, followed);
    for _ in 0..STEPS_PER_CALL / STEPS_AT_ONCE {
        if walk_steps(pieces, is_copy, bytes, slot) == STOP {
            break;
        }
    }
    end_walk(bytes, slot)
}

/// Apart for the verifier, as the steps of the gathering are.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn walk_steps(pieces: u64, is_copy: u64, bytes: u64, slot: u64) -> u64 {
    for _ in 0..STEPS_AT_ONCE {
        match walk_step(pieces, is_copy, bytes, slot) {
            STOP => return STOP,
            SEND => send_part(slot),
            _ => 0,
        };
    }
    GO_ON
}

#[inline(always)]
fn begin_walk(scratch: &mut Scratch, followed: *mut Connection) {
    // SAFETY: a map value.
    let lane = unsafe { (*followed).lanes[sent(scratch)] };
    scratch.walk.lane = lane;
    scratch.walk.header[..8].copy_from_slice(&lane.header);
    scratch.walk.gap = 0;
    // SAFETY: as above.
    scratch.walk.budget = unsafe { (*followed).budget };
    if lane.position != scratch.record.position {
        // Another thread's call came between, or is on its way.
        scratch.walk.lane.state = LANE_LOST;
    }
}

/// One step: it ends a piece, a frame or a record.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn walk_step(pieces: u64, is_copy: u64, bytes: u64, slot: u64) -> u64 {
    let Some(scratch) = scratch(slot) else { return STOP };
    let done = gathered!(scratch.gather.done);
    if done >= bytes as u32 {
        return STOP;
    }
    if gathered!(scratch.gather.piece_left) == 0 {
        return match next_piece(scratch, pieces, is_copy != 0, bytes as u32) {
            Some(()) => GO_ON,
            None => STOP,
        };
    }
    let (base, there) = (gathered!(scratch.gather.base), gathered!(scratch.gather.piece_left));
    let there = min(there, bytes as u32 - done);
    if gathered!(scratch.walk.lane.state) == LANE_LOST && done == 0 {
        find_place(scratch, base, there);
    }
    let (state, left) = (gathered!(scratch.walk.lane.state), gathered!(scratch.walk.lane.left));
    let part = if state == LANE_LOST { there } else { min(there, left) };
    let part = match state {
        LANE_HEADER | LANE_WHOLE => part,
        _ => match affordable(scratch, part) {
            0 => {
                gathered!(scratch.walk.gap = gathered!(scratch.walk.gap) + part);
                advance(scratch, part);
                return GO_ON;
            }
            affordable => affordable,
        },
    };
    let filled = gathered!(scratch.gather.filled);
    if gathered!(scratch.walk.gap) != 0 || filled >= RECORD_PAYLOAD_BYTES as u32 {
        return SEND;
    }
    let part = min(part, RECORD_PAYLOAD_BYTES as u32 - filled);
    if !copy_or_count(scratch, filled, base, part) {
        return STOP;
    }
    if state == LANE_HEADER {
        add_to_header(scratch, filled, part, left);
    }
    if state == LANE_COUNTED || state == LANE_LOST {
        pay(scratch, part);
    }
    gathered!(scratch.gather.filled = filled + part);
    advance(scratch, part);
    GO_ON
}

/// How much of these bytes of data may be copied: some at the beginning of a frame, and others all or none.
#[inline(always)]
fn affordable(scratch: &Scratch, part: u32) -> u32 {
    let begin = gathered!(scratch.walk.lane.begin_left);
    if gathered!(scratch.walk.budget) >= part { part } else { min(part, begin) }
}

#[inline(always)]
fn pay(scratch: &mut Scratch, part: u32) {
    let (budget, begin) = (gathered!(scratch.walk.budget), gathered!(scratch.walk.lane.begin_left));
    gathered!(scratch.walk.budget = budget - min(budget, part));
    gathered!(scratch.walk.lane.begin_left = begin - min(begin, part));
}

/// So many bytes have been dealt with.
#[inline(always)]
fn advance(scratch: &mut Scratch, part: u32) {
    gathered!(scratch.gather.base = gathered!(scratch.gather.base) + u64::from(part));
    gathered!(scratch.gather.piece_left = gathered!(scratch.gather.piece_left) - part);
    gathered!(scratch.gather.done = gathered!(scratch.gather.done) + part);
    let state = gathered!(scratch.walk.lane.state);
    if state == LANE_LOST {
        return;
    }
    let left = gathered!(scratch.walk.lane.left) - part;
    gathered!(scratch.walk.lane.left = left);
    if left != 0 {
        return;
    }
    let header = Header::of(scratch);
    if state != LANE_HEADER || (header.length == 0 && header.is_legal()) {
        expect_header(scratch);
    } else if !header.is_legal() {
        gathered!(scratch.walk.lane.state = LANE_LOST);
        gathered!(scratch.walk.lane.begin_left = 0);
    } else {
        begin_frame(scratch, &header);
    }
}

#[inline(always)]
fn expect_header(scratch: &mut Scratch) {
    gathered!(scratch.walk.lane.state = LANE_HEADER);
    gathered!(scratch.walk.lane.left = HEADER_BYTES);
}

#[inline(always)]
fn begin_frame(scratch: &mut Scratch, header: &Header) {
    gathered!(scratch.walk.budget = budget_with(scratch, header));
    gathered!(scratch.walk.lane.state = if header.is_counted() { LANE_COUNTED } else { LANE_WHOLE });
    gathered!(scratch.walk.lane.left = header.length);
    gathered!(scratch.walk.lane.begin_left = DATA_BEGIN_BYTES);
}

/// The bytes that were just copied belong to a header, of which `left` were missing.
#[inline(always)]
fn add_to_header(scratch: &mut Scratch, filled: u32, part: u32, left: u32) {
    let at = within(HEADER_BYTES.wrapping_sub(left), 16);
    let part = at_most(part, HEADER_BYTES);
    let from = within(filled, RECORD_PAYLOAD_BYTES);
    // SAFETY: 15 and 9 bytes lie within the header's 32; `from` is below half of the payload's size.
    unsafe {
        let to = scratch.walk.header.as_mut_ptr().add(at);
        bpf_probe_read_kernel(to.cast(), part, scratch.payload.as_ptr().add(from).cast());
    }
}

/// Nobody knows what the call begins with: the preface, or what may be a frame.
#[inline(always)]
fn find_place(scratch: &mut Scratch, base: u64, there: u32) {
    gathered!(scratch.walk.lane.begin_left = 0);
    if there < HEADER_BYTES || !read_header(scratch, base) {
        return;
    }
    let header = Header::of(scratch);
    if header.is_preface {
        gathered!(scratch.walk.lane.state = LANE_WHOLE);
        gathered!(scratch.walk.lane.left = PREFACE_BYTES);
    } else if header.is_legal() && header.kind <= CONTINUATION && header.length <= LIKELY_PAYLOAD_BYTES {
        expect_header(scratch);
    }
}

#[inline(always)]
fn read_header(scratch: &mut Scratch, base: u64) -> bool {
    let to = scratch.walk.header.as_mut_ptr();
    // SAFETY: nine of the header's 32 bytes; the helper checks the address in the process.
    unsafe { bpf_probe_read_user(to.cast(), HEADER_BYTES, base as *const _) == 0 }
}

/// Sends what has been gathered, and the length of what is left out behind it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn send_part(slot: u64) -> u64 {
    let Some((scratch, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    let (filled, gap) = (gathered!(scratch.gather.filled), gathered!(scratch.walk.gap));
    send(scratch, followed, filled, filled.wrapping_add(gap));
    gathered!(scratch.gather.filled = 0);
    gathered!(scratch.walk.gap = 0);
    0
}

/// Sends the rest, and remembers where the direction stands.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn end_walk(bytes: u64, slot: u64) -> u64 {
    let Some((scratch, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    // What could not be read, or was too much for one call.
    let rest = (bytes as u32).wrapping_sub(gathered!(scratch.gather.done));
    if rest != 0 {
        let (state, left) = (gathered!(scratch.walk.lane.state), gathered!(scratch.walk.lane.left));
        if state != LANE_COUNTED || left <= rest {
            gathered!(scratch.walk.lane.state = LANE_LOST);
        }
        gathered!(scratch.walk.lane.left = left.wrapping_sub(rest));
    }
    let (filled, gap) = (gathered!(scratch.gather.filled), gathered!(scratch.walk.gap));
    let length = filled.wrapping_add(gap).wrapping_add(rest);
    if length != 0 {
        send(scratch, followed, filled, length);
    }
    scratch.walk.lane.position = scratch.record.position;
    scratch.walk.lane.header.copy_from_slice(&scratch.walk.header[..8]);
    // SAFETY: a map value.
    unsafe {
        (*followed).lanes[sent(scratch)] = scratch.walk.lane;
        (*followed).budget = scratch.walk.budget;
    }
    0
}
