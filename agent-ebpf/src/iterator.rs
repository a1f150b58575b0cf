// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Where the bytes lie that a kernel function has just moved: from the iterator in its `struct msghdr`, walked back.
//!
//! The function has advanced the iterator past what it moved, in one buffer (`ITER_UBUF`) or along a vector of them
//! (`ITER_IOVEC`). Pages of the kernel (sendfile, splice, registered buffers of io_uring) are not read.

use agent_common::limits::PIECES_PER_CALL;

use crate::{
    fields::{kernel, offset, read, read_or_load},
    transfer::{PIECE_BYTES, Payload, piece},
};

/// Places of a vector's start in the answer of `walk_back`: how many pieces back, and how far in.
const PIECES_SHIFT: u32 = 48;
const NOT_FOUND: u64 = u64::MAX;

/// The payload of the last `bytes` that were moved by the message at `message`.
#[inline(always)]
pub fn moved<const TYPED: bool>(message: u64, bytes: u32) -> Payload {
    find::<TYPED>(message, bytes).unwrap_or(Payload::Unread)
}

#[inline(always)]
fn find<const TYPED: bool>(message: u64, bytes: u32) -> Option<Payload> {
    let iterator = offset!(message_iterator)?;
    let kind = read_or_load::<TYPED, u8>(message, iterator + offset!(iterator_type)?)?;
    let passed = read_or_load::<TYPED, u64>(message, iterator + offset!(iterator_offset)?)?;
    if u32::from(kind) == kernel(|kernel| &kernel.iterates_buffer) {
        // Through the helper: what it gives is a number. A load would give the vector's typed pointer before Linux 6.4, where
        // both share a place, and sums of those are forbidden.
        let base = read::<u64>(message, iterator + offset!(iterator_buffer)?)?;
        return Some(Payload::Buffer(base + passed - u64::from(bytes)));
    }
    if u32::from(kind) != kernel(|kernel| &kernel.iterates_vector) {
        return None;
    }
    // Through the helper, as above.
    let pieces = read::<u64>(message, iterator + offset!(iterator_vector)?)?;
    if passed >= u64::from(bytes) {
        let [base, _] = piece(pieces, true)?;
        return Some(Payload::Buffer(base + passed - u64::from(bytes)));
    }
    let start = walk_back(pieces, passed, u64::from(bytes));
    if start == NOT_FOUND {
        return None;
    }
    let (back, skipped) = (start >> PIECES_SHIFT, start & ((1 << PIECES_SHIFT) - 1));
    let pieces = pieces - back * PIECE_BYTES;
    if back == 1 && passed == 0 {
        let [base, _] = piece(pieces, true)?;
        return Some(Payload::Buffer(base + skipped));
    }
    Some(Payload::Vector { pieces, skipped, is_copy: true })
}

/// How many pieces before `pieces` the last `bytes` begin, and how far into that one. Its answer is one number, and its
/// arguments are numbers, so that the verifier walks it once.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn walk_back(pieces: u64, passed: u64, bytes: u64) -> u64 {
    let mut left = bytes - passed;
    let mut at = pieces;
    for back in 1..=PIECES_PER_CALL as u64 {
        at -= PIECE_BYTES;
        let Some(length) = read::<u64>(at, 8) else { break };
        if left <= length {
            return back << PIECES_SHIFT | (length - left);
        }
        left -= length;
    }
    NOT_FOUND
}
