// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! What a call moved, as records: as much of the payload as the turn's budget allows, lengths for the rest.

use agent_common::{
    limits::{RECORD_PAYLOAD_BYTES, SCRATCHES_PER_PROCESSOR, TURN_BUDGET_BYTES},
    losses::Loss,
    records::{
        CONNECTION_FRAMED, CONNECTION_RECEIVED_END, CONNECTION_UNIX, Connection, DATA_END, DATA_SENT, DATA_UNREADABLE,
        DataRecord, OpenedRecord, RecordKind,
    },
};
use aya_ebpf::{
    helpers::generated::{bpf_get_smp_processor_id, bpf_probe_read_user as read_user_bytes},
    macros::map,
    maps::Array,
};

use crate::{
    bounds::{at_most, within},
    connection::{self, Known, Sighting},
    emit::{count, emit},
    entries,
    frames::{self, Walk, recognise, send_frames, send_whole_frames},
    gather::{Gather, gathered, min, send_vector},
    processes::{self, Thread},
    socket::{self, Socket},
    tls,
};

/// Twice a record's payload: the verifier bounds the fill level and the length of a copy apart, not their sum.
pub const SCRATCH_BYTES: usize = 2 * RECORD_PAYLOAD_BYTES;

/// Where a record is put together.
#[repr(C)]
pub struct Scratch {
    /// A program that can be preempted is at work on it.
    is_taken: u64,
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

/// A call that has returned.
#[derive(Clone, Copy)]
pub struct Transfer {
    pub thread: Thread,
    pub sent: bool,
    pub bytes: u32,
    /// Bytes that the same call moved after these.
    pub later: u32,
}

/// Reports what a call moved on a socket. `TYPED` where the verifier knows the socket's type. `is_one` is asked of sockets
/// that are not simply followed or left alone: whether there is a socket at all. Only where the connection is followed it is
/// asked when a send began, 0 where that was not noted, and where the bytes lie.
#[inline(always)]
pub fn report<const TYPED: bool>(
    found: Socket,
    transfer: &Transfer,
    is_one: impl FnOnce() -> bool,
    began_ns: impl FnOnce() -> u64,
    payload: impl FnOnce() -> Option<Payload>,
) -> Option<()> {
    let known = connection::find(found.sk);
    if matches!(known, Known::LeftAlone) && !tls::is_spoken() {
        return None;
    }
    let slot = first_slot();
    let scratch = SCRATCH.get_ptr_mut(slot)?;
    // SAFETY: a map value; this processor's own.
    let scratch = unsafe { &mut *scratch };
    if TYPED {
        // These programs can be preempted, by a task that comes here as well.
        if scratch.is_taken != 0 {
            count(Loss::ScratchTaken, 1);
            return None;
        }
        scratch.is_taken = 1;
    }
    let done = report_payload::<TYPED>(scratch, slot.into(), (found, known), transfer, is_one, began_ns, payload);
    if TYPED {
        scratch.is_taken = 0;
    }
    done
}

#[inline(always)]
fn report_payload<const TYPED: bool>(
    scratch: &mut Scratch,
    slot: u64,
    (found, known): (Socket, Known),
    transfer: &Transfer,
    is_one: impl FnOnce() -> bool,
    began_ns: impl FnOnce() -> u64,
    payload: impl FnOnce() -> Option<Payload>,
) -> Option<()> {
    // SAFETY: a valid reference; volatile, because it is read by functions that the compiler does not connect with this.
    unsafe { (&raw mut scratch.found).write_volatile(found) }
    if matches!(known, Known::Unsettled) && !is_one() {
        return None;
    }
    let is_tls_spoken = tls::is_spoken();
    if is_tls_spoken {
        tls::socket_used(found.sk, transfer.thread);
    }
    let followed = match known {
        Known::Followed(connection) => connection,
        Known::LeftAlone => {
            if is_tls_spoken {
                show_to_tls(found.sk, transfer, payload, slot);
            }
            return None;
        }
        Known::Unsettled => {
            let bytes = u64::from(transfer.bytes.wrapping_add(transfer.later));
            if meet(bytes, u64::from(transfer.sent), slot) == 0 {
                return None;
            }
            connection::get(found.sk)?
        }
    };
    let payload = payload()?;
    let Payload { kind, place, skipped } = payload;
    if is_tls_spoken {
        show_to_tls(found.sk, transfer, || Some(payload), slot);
    }
    // A server may speak before its client's preface has come: the second turn can be the first that says what this is.
    // SAFETY: a map value.
    if unsafe { (*followed).turn } < 2 {
        recognise(kind, place, skipped, slot);
    }
    begin::<TYPED>(scratch, followed, found.sk, *transfer, began_ns)?;
    send_payload(scratch, slot, followed, payload, transfer.bytes);
    Some(())
}

/// The bytes may be of a session that looks for its socket.
#[inline(always)]
fn show_to_tls(sk: u64, transfer: &Transfer, payload: impl FnOnce() -> Option<Payload>, slot: u64) -> Option<()> {
    if transfer.sent && tls::compares_sent(transfer.bytes) {
        tls::compare_sent(payload()?, slot);
    } else if !transfer.sent && tls::notes_receives() {
        tls::received(sk, transfer.thread, payload()?, transfer.bytes);
    }
    Some(())
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

/// A connection that is not in the table, or with something to be looked at. 0 where it is not followed.
///
/// As all functions here with plain numbers as arguments: the verifier walks it once, and not once per way that leads
/// here; and what is rare takes no stack from what is not.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn meet(bytes: u64, sent: u64, slot: u64) -> u64 {
    let Some(scratch) = scratch(slot) else { return 0 };
    // SAFETY: a valid reference; volatile for the verifier's sake.
    let socket = unsafe { (&raw const scratch.found).read_volatile() };
    let sighting = Sighting { socket, thread: processes::current(), sent: sent != 0, bytes: bytes as u32 };
    u64::from(connection::meet(&sighting).is_some())
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

/// Reports that what came in has ended, where a read of nothing says so.
#[inline(always)]
pub fn report_received_end(sk: u64, thread: Thread, time_ns: u64) -> Option<()> {
    let followed = connection::get(sk)?;
    // SAFETY: a map value.
    let is_unix = unsafe { (*followed).flags } & CONNECTION_UNIX != 0;
    if !socket::has_read_all(sk, is_unix)? {
        return None;
    }
    report_end_of(sk, thread, false, time_ns)
}

/// Reports that a direction has ended in order.
#[inline(always)]
pub fn report_end_of(sk: u64, thread: Thread, sent: bool, time_ns: u64) -> Option<()> {
    let followed = connection::get(sk)?;
    // SAFETY: a map value.
    let current = unsafe { &mut *followed };
    if current.flags & agent_common::records::CONNECTION_OVER != 0 {
        return None;
    }
    if !sent {
        if current.flags & CONNECTION_RECEIVED_END != 0 {
            return None;
        }
        current.flags |= CONNECTION_RECEIVED_END;
    }
    let Place { position, other_position, .. } = place::<false>(current, sk, sent, 0, 0, false)?;
    let record = DataRecord {
        kind: RecordKind::Data as u32,
        tgid: thread.tgid,
        tid: thread.tid,
        flags: DATA_END | if sent { DATA_SENT } else { 0 },
        connection: current.id,
        time_ns,
        padding: 0,
        length: 0,
        captured: 0,
        position,
        other_position,
        turn: current.turn,
    };
    emit(&raw const record, size_of::<DataRecord>() as u64);
    Some(())
}

/// Where bytes of a call are in the conversation.
struct Place {
    /// Where they began in their direction.
    position: u32,
    /// Where the other direction stands.
    other_position: u32,
    /// When they left, where TCP was asked; 0 otherwise.
    left_ns: u64,
}

#[inline(always)]
fn place<const TYPED: bool>(
    current: &mut Connection,
    sk: u64,
    sent: bool,
    bytes: u32,
    later: u32,
    asks_time: bool,
) -> Option<Place> {
    if current.flags & CONNECTION_UNIX != 0 {
        let (position, other_position) = connection::count_moved(current, sent, bytes);
        return Some(Place { position, other_position, left_ns: 0 });
    }
    let tcp = if TYPED { socket::as_tcp(sk)? } else { sk };
    let (sent_to, received_to) = socket::tcp_positions::<TYPED>(tcp, sent, current.is_ending != 0)?;
    let (own, other_position) = if sent { (sent_to, received_to) } else { (received_to, sent_to) };
    let position = own.wrapping_sub(later).wrapping_sub(bytes);
    let left_ns = if TYPED && sent && asks_time { socket::left_at(tcp, position)? } else { 0 };
    Some(Place { position, other_position, left_ns })
}

#[inline(always)]
fn begin<const TYPED: bool>(
    scratch: &mut Scratch,
    followed: *mut Connection,
    sk: u64,
    transfer: Transfer,
    began_ns: impl FnOnce() -> u64,
) -> Option<()> {
    // SAFETY: a map value.
    let current = unsafe { &mut *followed };
    let Transfer { thread, sent, bytes, later } = transfer;
    let began_ns = if sent { began_ns() } else { 0 };
    let Place { position, other_position, left_ns } = place::<TYPED>(current, sk, sent, bytes, later, began_ns == 0)?;
    let mut time_ns = began_ns | left_ns;
    if time_ns == 0 {
        time_ns = entries::now();
    }
    let sent_to = if sent { position.wrapping_add(bytes) } else { other_position };
    let turn = connection::turn(current, sent, sent_to);
    scratch.record = DataRecord {
        kind: RecordKind::Data as u32,
        tgid: thread.tgid,
        tid: thread.tid,
        flags: if sent { DATA_SENT } else { 0 },
        connection: current.id,
        time_ns,
        padding: 0,
        length: 0,
        captured: 0,
        position,
        other_position,
        turn,
    };
    Some(())
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
