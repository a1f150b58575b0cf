// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Plaintext as records: what a call on a session has moved goes the way of what moves on sockets, with the same turns,
//! budgets and frames.
//!
//! Positions are counted here, where a socket's are asked for. Each step is a function of its own, so that their stacks are not
//! needed at once: kernels before 6.13 grant a chain of calls 512 bytes.

use agent_common::{
    losses::Loss,
    plaintext::{SESSION_FRESH, SESSION_INTERRUPTED, SESSION_PLACED, Session, SessionKey},
    records::{
        CONNECTION_OVER, CONNECTION_REPORTED, Connection, DATA_SENT, DATA_UNREADABLE, DataRecord,
        OPENED_RECEIVED_BEFORE, OPENED_SENT_BEFORE, OPENED_TLS, OpenedRecord, RecordKind,
    },
};
use aya_ebpf::{macros::map, maps::PerCpuArray};

use super::sessions;
use crate::{
    connection,
    emit::{count, emit},
    entries::now,
    fields::field,
    frames::recognise,
    processes,
    socket::{self, Socket},
    transfer::{Payload, Scratch, give_back, scratch_and_connection, send, send_payload, take_plaintext_slot},
};

/// What a call of which nothing was seen is told as: that something is missing, not how much.
const UNSEEN_BYTES: u32 = 1;

/// In the number of bytes: they were sent.
pub const SENT_BIT: u64 = 1 << 32;

/// Reports what was said on a session: `bytes` from `buffer` on, of a call that began at `began_ns` and used the socket.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn tls_said(address: u64, buffer: u64, bytes_and_way: u64, began_ns: u64, sk: u64) -> u64 {
    let Some(slot) = take_plaintext_slot() else {
        count(Loss::ScratchTaken, 1);
        return 0;
    };
    let met = tls_meet(slot.into(), address, bytes_and_way, sk);
    if met != 0 {
        if met == YOUNG {
            recognise(Payload::BUFFER, buffer, 0, slot.into());
        }
        tls_begin(slot.into(), address, bytes_and_way, began_ns);
        tls_send(slot.into(), buffer, bytes_and_way);
    }
    give_back(slot);
    0
}

/// Finds the session and its connection, and tells of them where that was not done. 0 where nothing more is wanted of it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tls_meet(slot: u64, address: u64, bytes_and_way: u64, sk: u64) -> u64 {
    meet(slot, address, bytes_and_way, sk).unwrap_or(0)
}

const KNOWN: u64 = 1;
/// Its first bytes may say yet what it is.
const YOUNG: u64 = 2;

#[inline(always)]
fn meet(slot: u64, address: u64, bytes_and_way: u64, sk: u64) -> Option<u64> {
    let tgid = processes::current().tgid;
    let key = sessions::key(tgid, address);
    let session = sessions::meet(&key)?;
    sessions::bind(&key, session, sk);
    // SAFETY: a map value.
    let session = unsafe { &mut *session };
    let connection = connection::get(session.id)?;
    // SAFETY: as above.
    let connection = unsafe { &mut *connection };
    if connection.flags & CONNECTION_OVER != 0 {
        return None;
    }
    let (scratch, _) = scratch_and_connection(slot)?;
    scratch.found = Socket { socket: 0, sk: session.id };
    announce(&mut scratch.opened, session, connection, tgid, bytes_and_way & SENT_BIT != 0);
    Some(if connection.turn < 2 { YOUNG } else { KNOWN })
}

/// Begins the record: where its bytes are in the conversation.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tls_begin(slot: u64, address: u64, bytes_and_way: u64, began_ns: u64) -> u64 {
    let (bytes, sent) = (bytes_and_way as u32, bytes_and_way & SENT_BIT != 0);
    let Some((scratch, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    let thread = processes::current();
    let missing = if !sent && was_interrupted(thread.tgid, address) { UNSEEN_BYTES } else { 0 };
    // SAFETY: a map value.
    let current = unsafe { &mut *followed };
    connection::turn_to(current, sent);
    if missing != 0 {
        // Never else: a thread that sends would take back what another one has just counted as received.
        current.received = current.received.wrapping_add(missing);
    }
    let (position, other_position) = connection::count_moved(current, sent, bytes);
    scratch.record = DataRecord {
        kind: RecordKind::Data as u32,
        tgid: thread.tgid,
        tid: thread.tid,
        flags: if sent { DATA_SENT } else { 0 },
        connection: current.id,
        time_ns: if sent { began_ns } else { now() },
        padding: 0,
        length: 0,
        captured: 0,
        position,
        other_position,
        turn: current.turn,
    };
    if missing != 0 {
        tell_missing(scratch, followed, position);
    }
    0
}

/// Whether a call on the session was perhaps under way when its library was probed; it is asked for once.
#[inline(always)]
fn was_interrupted(tgid: u32, address: u64) -> bool {
    let Some(session) = sessions::get(&sessions::key(tgid, address)) else { return false };
    // SAFETY: a map value.
    let session = unsafe { &mut *session };
    let was = session.flags & SESSION_INTERRUPTED != 0;
    session.flags &= !SESSION_INTERRUPTED;
    was
}

/// Received: whatever was sent first was whole.
#[inline(always)]
fn tell_missing(scratch: &mut Scratch, followed: *mut Connection, position: u32) {
    scratch.record.position = position.wrapping_sub(UNSEEN_BYTES);
    scratch.record.flags = DATA_UNREADABLE;
    send(scratch, followed, 0, UNSEEN_BYTES);
    scratch.record.flags = 0;
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tls_send(slot: u64, buffer: u64, bytes_and_way: u64) -> u64 {
    let Some((scratch, Some(followed))) = scratch_and_connection(slot) else { return 0 };
    send_payload(scratch, slot, followed, Payload::buffer(buffer), bytes_and_way as u32);
    0
}

/// Tells of a session before its first bytes, and again when its socket has become known.
#[inline(always)]
fn announce(record: &mut OpenedRecord, session: &mut Session, connection: &mut Connection, tgid: u32, sent: bool) {
    let is_placed = session.socket != 0;
    let is_told = connection.flags & CONNECTION_REPORTED != 0;
    if is_told && (!is_placed || session.flags & SESSION_PLACED != 0) {
        return;
    }
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
        connection.flags |= CONNECTION_REPORTED;
        session.flags |= if is_placed { SESSION_PLACED } else { 0 };
    }
}

/// Where a record of a session's place is put together while a socket's program runs.
#[map]
static PLACED: PerCpuArray<OpenedRecord> = PerCpuArray::with_max_entries(1, 0);

/// The session's socket has become known when something had been said: the daemon waits for it.
#[inline(always)]
pub fn announce_place(key: &SessionKey) -> Option<()> {
    let (session, record) = (sessions::get(key)?, PLACED.get_ptr_mut(0)?);
    // SAFETY: map values; programs of sockets do not run inside one another on a processor, or have taken its scratch.
    let (session, record) = unsafe { (&mut *session, &mut *record) };
    let connection = connection::get(session.id)?;
    // SAFETY: as above.
    announce(record, session, unsafe { &mut *connection }, key.tgid as u32, true);
    Some(())
}

#[inline(always)]
fn place(sk: u64, sent: bool, record: &mut OpenedRecord) -> Option<()> {
    let socket = Socket { socket: field!(u64, sk, sock_socket)?, sk };
    let family = socket.followed_family()?;
    socket::describe(socket, family, sent, 0, record);
    Some(())
}
