// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Where the bytes lie that a kernel function has just moved: from the iterator in its `struct msghdr`, walked back.
//!
//! The function has advanced the iterator past what it moved, in one buffer (`ITER_UBUF`) or along a vector of them
//! (`ITER_IOVEC`). Pages of the kernel (sendfile, splice, registered buffers of io_uring) are not read.

use agent_common::limits::PIECES_PER_CALL;

use crate::{
    fields::{kernel, offset, read, read_or_load},
    gather::{PIECE_BYTES, piece},
    transfer::Payload,
};

/// Places of a vector's start in the answer of `walk_back`: how many pieces back, and how far in.
const PIECES_SHIFT: u32 = 48;
const NOT_FOUND: u64 = u64::MAX;

/// Set in an answer that is how many bytes lie before the pieces that were looked at.
const FURTHER: u64 = 1 << 63;

/// Pieces that one of the two loops goes through: the verifier walks their sum and not their product.
const PIECES_AT_ONCE: usize = 64;

/// Of a `struct iov_iter`, which has 40 bytes in all versions; its fields that are read lie in the first of them.
const ITERATOR_WORDS: usize = 4;
const ITERATOR_BYTES: u32 = 8 * ITERATOR_WORDS as u32;

/// The payload of the last `bytes` that were moved by the message at `message`.
#[inline(always)]
pub fn moved<const TYPED: bool>(message: u64, bytes: u32) -> Payload {
    find::<TYPED>(message, bytes).unwrap_or(Payload::UNREAD)
}

/// What is read of the iterator.
struct Iterator {
    kind: u8,
    /// How far it has come in its buffer, or in the piece that it has come to.
    passed: u64,
    /// The buffer, or the vector's next piece.
    place: u64,
}

#[inline(always)]
fn find<const TYPED: bool>(message: u64, bytes: u32) -> Option<Payload> {
    let Iterator { kind, passed, place } = if TYPED { load(message)? } else { copy(message)? };
    if u32::from(kind) == kernel(|kernel| &kernel.iterates_buffer) {
        return Some(Payload::buffer(place + passed - u64::from(bytes)));
    }
    if u32::from(kind) != kernel(|kernel| &kernel.iterates_vector) {
        return None;
    }
    if passed >= u64::from(bytes) {
        let [base, _] = piece(place, true)?;
        return Some(Payload::buffer(base + passed - u64::from(bytes)));
    }
    let start = walk_back(place, passed, u64::from(bytes));
    if start == NOT_FOUND {
        return None;
    }
    let (back, skipped) = (start >> PIECES_SHIFT, start & ((1 << PIECES_SHIFT) - 1));
    let pieces = place - back * PIECE_BYTES;
    if back == 1 && passed == 0 {
        let [base, _] = piece(pieces, true)?;
        return Some(Payload::buffer(base + skipped));
    }
    Some(Payload::copied_vector(pieces, skipped))
}

/// Field by field, where the verifier knows the message's type.
#[inline(always)]
fn load(message: u64) -> Option<Iterator> {
    let iterator = offset!(message_iterator)?;
    let kind = read_or_load::<true, u8>(message, iterator + offset!(iterator_type)?)?;
    let passed = read_or_load::<true, u64>(message, iterator + offset!(iterator_offset)?)?;
    // Before Linux 6.4 a load would give a pointer of the vector's type, and sums of those are forbidden. What the helper
    // gives is a number.
    let place = match offset!(iterator_own_piece) {
        Some(own) => read_or_load::<true, u64>(message, iterator + own)?,
        None => read::<u64>(message, iterator + offset!(iterator_vector)?)?,
    };
    Some(Iterator { kind, passed, place })
}

/// All at once, where each read is a call of the helper.
#[inline(always)]
fn copy(message: u64) -> Option<Iterator> {
    let words = read::<[u64; ITERATOR_WORDS]>(message, offset!(message_iterator)?)?;
    let from = |offset: u32, bytes: u32| {
        (offset <= ITERATOR_BYTES - bytes).then_some(words.as_ptr() as u64 + u64::from(offset))
    };
    let kind = from(offset!(iterator_type)?, 1)? as *const u8;
    let passed = from(offset!(iterator_offset)?, 8)? as *const u64;
    let place = from(offset!(iterator_vector)?, 8)? as *const u64;
    // SAFETY: inside the words, by the comparisons above; the fields are aligned in the kernel's structure.
    unsafe {
        Some(Iterator { kind: kind.read_volatile(), passed: passed.read_volatile(), place: place.read_volatile() })
    }
}

/// How many pieces before `pieces` the last `bytes` begin, and how far into that one. Its answer is one number, and its
/// arguments are numbers, so that the verifier walks it once.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn walk_back(pieces: u64, passed: u64, bytes: u64) -> u64 {
    let mut left = bytes - passed;
    let mut behind = 0;
    for _ in 0..PIECES_PER_CALL / PIECES_AT_ONCE {
        let answer = walk_some(pieces - behind * PIECE_BYTES, left);
        if answer == NOT_FOUND {
            break;
        }
        if answer & FURTHER == 0 {
            return answer + (behind << PIECES_SHIFT);
        }
        left = answer & !FURTHER;
        behind += PIECES_AT_ONCE as u64;
    }
    NOT_FOUND
}

/// The same among the next few of them.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn walk_some(pieces: u64, bytes: u64) -> u64 {
    let (mut left, mut at) = (bytes, pieces);
    for back in 1..=PIECES_AT_ONCE as u64 {
        at -= PIECE_BYTES;
        let Some(length) = read::<u64>(at, 8) else { return NOT_FOUND };
        if left <= length {
            return back << PIECES_SHIFT | (length - left);
        }
        left -= length;
    }
    FURTHER | left
}
