// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! What a call moved, as records.
//!
//! In: a call that has returned, its socket and where its bytes lie. Out: records of the connection, where it is followed.

mod payload;
mod scratch;

use agent_common::{
    losses::Loss,
    records::{
        CONNECTION_OVER, CONNECTION_RECEIVED_END, CONNECTION_UNIX, Connection, DATA_END, DATA_SENT, DataRecord,
        RecordKind,
    },
};

pub use self::{
    payload::{Payload, STEPS_AT_ONCE, copy, copy_or_count, send, send_payload, take_budget},
    scratch::{SCRATCH_BYTES, Scratch, give_back, scratch, scratch_and_connection, take_plaintext_slot},
};
use crate::{
    connection::{self, Known, Sighting},
    emit::{count, emit},
    entries,
    frames::recognise,
    processes::{self, Thread},
    socket::{self, Socket},
    tls,
};

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
    let slot = scratch::first_slot();
    let scratch = scratch(slot.into())?;
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
    if current.flags & CONNECTION_OVER != 0 {
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
