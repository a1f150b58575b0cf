// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Plaintext as records: as much as the turn's budget allows, lengths for the rest.

use agent_common::{
    limits::{PLAINTEXT_BYTES, TURN_BUDGET_BYTES},
    losses::Loss,
    plaintext::{
        SESSION_FRESH, SESSION_INTERRUPTED, SESSION_LAST_SENT, SESSION_OVER, SESSION_PLACED, SESSION_REPORTED, Session,
        SessionKey,
    },
    records::{
        DATA_SENT, DATA_UNREADABLE, DataRecord, OPENED_RECEIVED_BEFORE, OPENED_SENT_BEFORE, OPENED_TLS, OpenedRecord,
        RecordKind,
    },
};
use aya_ebpf::{
    helpers::generated::{bpf_get_smp_processor_id, bpf_probe_read_user as read_user_bytes},
    macros::map,
    maps::Array,
};

use super::sessions;
use crate::{
    bounds::at_most,
    emit::{count, emit},
    entries::now,
    fields::field,
    processes,
    socket::{self, Socket},
};

/// Where a record is put together, and what is to go into it.
#[repr(C)]
struct Scratch {
    is_taken: u64,
    key: SessionKey,
    buffer: u64,
    /// Bytes of the call, of them those that the budget allows to copy, and those that were reported.
    bytes: u32,
    affordable: u32,
    done: u32,
    padding: u32,
    opened: OpenedRecord,
    record: DataRecord,
    payload: [u8; PLAINTEXT_BYTES],
}

/// Programs of user probes can be preempted by another task that comes here as well: each processor has two.
const SCRATCHES: u32 = 2;

/// By processor.
#[map]
static PLAINTEXT: Array<Scratch> = Array::with_max_entries(SCRATCHES, 0);

/// Most records that one call's bytes can fill.
const RECORDS_PER_CALL: usize = TURN_BUDGET_BYTES as usize / PLAINTEXT_BYTES + 1;

/// What a call of which nothing was seen is told as: that something is missing, not how much.
const UNSEEN_BYTES: u32 = 1;

/// Bytes at the end of a call that are copied even past the budget, as on sockets.
const TAIL_BYTES: u32 = 7;

/// In the number of bytes: they were sent.
pub const SENT_BIT: u64 = 1 << 32;

/// Reports what was said on a session. A function of its own with plain numbers: the verifier walks it once.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn tls_said(address: u64, buffer: u64, bytes_and_way: u64, began_ns: u64, sk: u64) -> u64 {
    let Some(index) = take() else {
        count(Loss::ScratchTaken, 1);
        return 0;
    };
    let _ = report(index, address, buffer, bytes_and_way, began_ns, sk);
    if let Some(scratch) = PLAINTEXT.get_ptr_mut(index) {
        // SAFETY: a map value that this program has taken.
        unsafe { (*scratch).is_taken = 0 }
    }
    0
}

/// Takes one of this processor's scratches. A task that is preempted between the look and the mark may share it with the one
/// that took its place: two instructions in a program of thousands.
#[inline(always)]
fn take() -> Option<u32> {
    // SAFETY: takes no argument.
    let first = unsafe { bpf_get_smp_processor_id() } * SCRATCHES;
    // No loop: to the verifier of 6.1 its end is not known.
    take_one(first).or_else(|| take_one(first + 1))
}

#[inline(always)]
fn take_one(index: u32) -> Option<u32> {
    let scratch = PLAINTEXT.get_ptr_mut(index)?;
    // SAFETY: a map value.
    unsafe {
        if (*scratch).is_taken != 0 {
            return None;
        }
        (*scratch).is_taken = 1;
    }
    Some(index)
}

#[inline(always)]
fn report(index: u32, address: u64, buffer: u64, bytes_and_way: u64, began_ns: u64, sk: u64) -> Option<()> {
    let scratch = PLAINTEXT.get_ptr_mut(index)?;
    // SAFETY: a map value that this program has taken.
    let scratch = unsafe { &mut *scratch };
    let (bytes, sent) = (bytes_and_way as u32, bytes_and_way & SENT_BIT != 0);
    let thread = processes::current();
    scratch.key = sessions::key(thread.tgid, address);
    let session = sessions::meet(&scratch.key)?;
    sessions::bind(&scratch.key, session, sk);
    // SAFETY: a map value.
    let session = unsafe { &mut *session };
    if session.flags & SESSION_OVER != 0 {
        return None;
    }
    announce(scratch, session, thread.tgid, sent);
    turn(session, sent);
    let is_interrupted = session.flags & SESSION_INTERRUPTED != 0;
    session.flags &= !SESSION_INTERRUPTED;
    let missing = if is_interrupted && !sent { UNSEEN_BYTES } else { 0 };
    session.received = session.received.wrapping_add(missing);
    let (position, other_position) =
        if sent { (session.sent, session.received) } else { (session.received, session.sent) };
    if sent {
        session.sent = session.sent.wrapping_add(bytes);
    } else {
        session.received = session.received.wrapping_add(bytes);
    }
    scratch.record = DataRecord {
        kind: RecordKind::Data as u32,
        tgid: thread.tgid,
        tid: thread.tid,
        flags: if sent { DATA_SENT } else { 0 },
        connection: session.id,
        time_ns: if sent { began_ns } else { now() },
        padding: 0,
        length: 0,
        captured: 0,
        position,
        other_position,
        turn: session.turn,
    };
    // Received: whatever was sent first was whole.
    if missing != 0 {
        scratch.record.position = position.wrapping_sub(missing);
        scratch.record.flags = DATA_UNREADABLE;
        send(scratch, 0, missing);
        scratch.record.flags = 0;
    }
    let affordable = if bytes < session.budget { bytes } else { session.budget };
    session.budget -= affordable;
    (scratch.buffer, scratch.bytes, scratch.affordable, scratch.done) = (buffer, bytes, affordable, 0);
    for _ in 0..RECORDS_PER_CALL {
        if tls_piece(u64::from(index)) == 0 {
            break;
        }
    }
    tls_rest(u64::from(index));
    Some(())
}

/// Tells of a session before its first bytes, and again when its socket has become known.
#[inline(always)]
fn announce(scratch: &mut Scratch, session: &mut Session, tgid: u32, sent: bool) {
    let is_placed = session.socket != 0;
    let wanted = SESSION_REPORTED | if is_placed { SESSION_PLACED } else { 0 };
    if session.flags & wanted == wanted {
        return;
    }
    let record = &mut scratch.opened;
    record.kind = RecordKind::Opened as u32;
    record.tgid = tgid;
    record.connection = session.id;
    record.time_ns = now();
    record.padding = 0;
    (record.family, record.local_port, record.remote_port) = (0, 0, 0);
    (record.socket, record.network_namespace) = (0, 0);
    (record.local_address, record.remote_address) = ([0; 16], [0; 16]);
    if is_placed {
        let _ = place(session.socket, sent, record);
    }
    let joined = session.flags & SESSION_FRESH == 0;
    record.flags = OPENED_TLS | if joined { OPENED_RECEIVED_BEFORE | OPENED_SENT_BEFORE } else { 0 };
    if emit(&raw const *record, size_of::<OpenedRecord>() as u64) {
        session.flags |= wanted;
    }
}

#[inline(always)]
fn place(sk: u64, sent: bool, record: &mut OpenedRecord) -> Option<()> {
    let socket = Socket { socket: field!(u64, sk, sock_socket)?, sk };
    let family = socket.followed_family()?;
    socket::describe(socket, family, sent, 0, record);
    Some(())
}

/// A turn gives a new budget, as on sockets.
#[inline(always)]
fn turn(session: &mut Session, sent: bool) {
    let was_sent = session.flags & SESSION_LAST_SENT != 0;
    if session.turn == 0 || was_sent != sent {
        session.turn += 1;
        session.budget = TURN_BUDGET_BYTES;
        session.flags ^= if was_sent == sent { 0 } else { SESSION_LAST_SENT };
    }
}

/// One record's worth. 0 where there is nothing more to copy.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tls_piece(index: u64) -> u64 {
    let Some(scratch) = PLAINTEXT.get_ptr_mut(index as u32) else { return 0 };
    // SAFETY: a map value that this program has taken.
    let scratch = unsafe { &mut *scratch };
    let left = scratch.affordable.wrapping_sub(scratch.done);
    if left == 0 {
        return 0;
    }
    let length = at_most(left, PLAINTEXT_BYTES as u32);
    u64::from(copy_and_send(scratch, length))
}

/// What is past the budget: its length, and its last bytes.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tls_rest(index: u64) -> u64 {
    let Some(scratch) = PLAINTEXT.get_ptr_mut(index as u32) else { return 0 };
    // SAFETY: as above.
    let scratch = unsafe { &mut *scratch };
    let rest = scratch.bytes.wrapping_sub(scratch.done);
    if rest == 0 {
        return 0;
    }
    let tail = at_most(rest, TAIL_BYTES);
    if rest > tail {
        send(scratch, 0, rest - tail);
    }
    copy_and_send(scratch, tail);
    0
}

/// False where the bytes could not be read: then all that is left has been reported as a length.
#[inline(always)]
fn copy_and_send(scratch: &mut Scratch, length: u32) -> bool {
    let length = at_most(length, PLAINTEXT_BYTES as u32);
    let from = scratch.buffer.wrapping_add(u64::from(scratch.done));
    // SAFETY: at most the payload's size; the helper checks the address in the process, and clears the target on failure.
    let result = unsafe { read_user_bytes(scratch.payload.as_mut_ptr().cast(), length, from as *const _) };
    if result != 0 {
        count(Loss::PayloadUnreadable, 1);
        scratch.record.flags |= DATA_UNREADABLE;
        let rest = scratch.bytes.wrapping_sub(scratch.done);
        send(scratch, 0, rest);
        return false;
    }
    send(scratch, length, length);
    true
}

#[inline(always)]
fn send(scratch: &mut Scratch, captured: u32, length: u32) {
    let captured = at_most(captured, PLAINTEXT_BYTES as u32);
    scratch.record.length = length;
    scratch.record.captured = captured;
    if emit(&raw const scratch.record, size_of::<DataRecord>() as u64 + u64::from(captured))
        && let Some(session) = sessions::get(&scratch.key)
    {
        // SAFETY: a map value.
        unsafe { (*session).reported_turn = scratch.record.turn }
    }
    scratch.record.position = scratch.record.position.wrapping_add(length);
    scratch.done = scratch.done.wrapping_add(length);
}
