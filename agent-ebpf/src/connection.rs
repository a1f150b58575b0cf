// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The connections that are followed: first sight, turns and budgets, the end.

use agent_common::{
    limits::{CONNECTIONS, TURN_BUDGET_BYTES},
    losses::Loss,
    records::{
        CLOSED_FINISHED, CLOSED_RESET, CONNECTION_FRAMED, CONNECTION_LAST_SENT, CONNECTION_OVER, CONNECTION_REPORTED,
        CONNECTION_RESET, CONNECTION_UNIX, ClosedRecord, Connection, LANE_LOST, OPENED_SENT_BEFORE, OpenedRecord,
        RecordKind,
    },
};
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};

use crate::{
    emit::{count, emit},
    processes::Thread,
    socket::{self, FAMILY_UNIX, Socket},
};

/// Not allocated ahead: memory is used by the connections that are there.
#[map]
static CONNECTION_BY_SOCKET: HashMap<u64, Connection> = HashMap::with_max_entries(CONNECTIONS, BPF_F_NO_PREALLOC);

#[map]
static CONNECTIONS_SEEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Where a new connection is put together: too much for the stack, of which the verifier grants 512 bytes to all frames.
#[repr(C)]
struct New {
    connection: Connection,
    record: OpenedRecord,
}

#[map]
static NEW: PerCpuArray<New> = PerCpuArray::with_max_entries(1, 0);

/// Bits of a connection's number that hold the processor on which it was first seen.
const PROCESSOR_BITS: u32 = 12;

#[inline(always)]
pub fn get(sk: u64) -> Option<*mut Connection> {
    CONNECTION_BY_SOCKET.get_ptr_mut(&sk)
}

/// What is seen of a connection when a call has moved `bytes` on it.
#[derive(Clone, Copy)]
pub struct Sighting {
    pub socket: Socket,
    pub thread: Thread,
    pub sent: bool,
    pub bytes: u32,
}

/// What the table says of a socket.
pub enum Known {
    Followed(*mut Connection),
    LeftAlone,
    /// Not there, not reported, or to be compared with what was there.
    Unsettled,
}

/// The connection of a socket on which bytes have just moved, by one look.
#[inline(always)]
pub fn find(sk: u64) -> Known {
    let Some(connection) = get(sk) else { return Known::Unsettled };
    // SAFETY: a map value, which stays readable while the program runs.
    let flags = unsafe { (*connection).flags };
    if flags & (CONNECTION_REPORTED | CONNECTION_OVER | CONNECTION_UNIX) == CONNECTION_REPORTED {
        Known::Followed(connection)
    } else if flags & (CONNECTION_OVER | CONNECTION_UNIX) == CONNECTION_OVER {
        Known::LeftAlone
    } else {
        Known::Unsettled
    }
}

/// The connection of an unsettled socket, entered into the table and reported where it has to be; if it is followed.
#[inline(always)]
pub fn meet(sighting: &Sighting) -> Option<()> {
    let socket = sighting.socket;
    let connection = match get(socket.sk) {
        Some(connection) if !is_stale(connection, socket) => connection,
        _ => {
            enter(sighting);
            get(socket.sk)?
        }
    };
    // SAFETY: a map value.
    let flags = unsafe { (*connection).flags };
    if flags & CONNECTION_OVER != 0 {
        return None;
    }
    if flags & CONNECTION_REPORTED == 0 {
        report(connection, sighting);
    }
    Some(())
}

/// Whether this is what was known of an earlier unix socket at the same address, whose end nothing told.
#[inline(always)]
fn is_stale(connection: *mut Connection, socket: Socket) -> bool {
    // SAFETY: a map value.
    let (flags, inode) = unsafe { ((*connection).flags, (*connection).inode) };
    if flags & CONNECTION_UNIX == 0 || inode == socket.inode_number() {
        return false;
    }
    finish(connection, CLOSED_FINISHED);
    true
}

/// Apart, so that its stack is free again where the connection is reported.
#[inline(never)]
fn enter(sighting: &Sighting) -> Option<()> {
    let Sighting { socket, sent, bytes, .. } = *sighting;
    let is_unix = socket.followed_family()? == FAMILY_UNIX;
    let new = NEW.get_ptr_mut(0)?;
    // SAFETY: this processor's own entry, which nobody else uses while its scratch is taken.
    let new = unsafe { &mut (*new).connection };
    new.id = next_id()?;
    new.inode = if is_unix { socket.inode_number() } else { 0 };
    new.flags = if is_unix { CONNECTION_UNIX } else { 0 };
    (new.turn, new.reported_turn, new.budget) = (0, 0, 0);
    (new.sent, new.received) = (0, 0);
    new.is_ending = 0;
    // The place in both is lost, until the first call finds it.
    for lane in &mut new.lanes {
        (lane.position, lane.state, lane.left, lane.begin_left) = (0, LANE_LOST, 0, 0);
        lane.header = [0; 8];
    }
    new.sent_counted = sent_before_first_turn(socket.sk, is_unix, sent, bytes);
    if CONNECTION_BY_SOCKET.insert(&socket.sk, &*new, 0).is_err() {
        count(Loss::ConnectionTableFull, 1);
        return None;
    }
    let entered = get(socket.sk)?;
    // Asked when it can be found: what changes from now on says so itself, in `end`.
    if !is_unix && socket::is_ending(socket.sk) {
        end(entered);
    }
    Some(())
}

#[inline(always)]
fn next_id() -> Option<u64> {
    let seen = CONNECTIONS_SEEN.get_ptr_mut(0)?;
    // SAFETY: this processor's own entry, and programs of system calls do not interrupt each other.
    unsafe {
        *seen += 1;
        Some(*seen << PROCESSOR_BITS | u64::from(bpf_get_smp_processor_id()))
    }
}

#[inline(never)]
fn report(connection: *mut Connection, sighting: &Sighting) {
    let Sighting { socket, thread, sent, bytes } = *sighting;
    let (Some(new), Some(family)) = (NEW.get_ptr_mut(0), socket.followed_family()) else { return };
    // SAFETY: as in `meet`.
    let record = unsafe { &mut (*new).record };
    // Field by field: a structure that is put together on the stack first is what there is no room for. `describe` writes the
    // others.
    record.kind = RecordKind::Opened as u32;
    record.tgid = thread.tgid;
    // SAFETY: a map value, and a helper without arguments.
    (record.connection, record.time_ns) = unsafe { ((*connection).id, bpf_ktime_get_ns()) };
    record.padding = 0;
    socket::describe(socket, family, sent, bytes, record);
    if emit(&raw const *record, size_of::<OpenedRecord>() as u64) {
        // SAFETY: a map value; the flag is set by the thread that moves bytes.
        unsafe { (*connection).flags |= CONNECTION_REPORTED }
    }
}

/// Where sending stands before the first turn. Bytes that had been sent when the first were received belong to a turn:
/// the call that sent them may not have returned yet.
#[inline(always)]
fn sent_before_first_turn(sk: u64, is_unix: bool, sent: bool, bytes: u32) -> u32 {
    if is_unix {
        return 0;
    }
    let Some((sent_to, _)) = socket::tcp_positions::<false>(sk, sent, true) else { return 0 };
    if sent {
        return sent_to.wrapping_sub(bytes);
    }
    let before = socket::tcp_bytes_before(sk, sent, bytes).unwrap_or(0);
    if before & OPENED_SENT_BEFORE == 0 { sent_to } else { sent_to.wrapping_sub(1) }
}

/// Counts the bytes of a call that has returned into a turn, and answers with its number. `sent_to` is how far had been
/// sent by then. What was sent and then answered before the call returned was counted when the answer came.
#[inline(always)]
pub fn turn(current: &mut Connection, sent: bool, sent_to: u32) -> u32 {
    let was_received = current.turn != 0 && current.flags & CONNECTION_LAST_SENT == 0;
    if sent {
        if was_received && sent_to.wrapping_sub(current.sent_counted) as i32 <= 0 {
            return current.turn - 1;
        }
        turn_to(current, true);
    } else {
        if sent_to.wrapping_sub(current.sent_counted) as i32 > 0 {
            turn_to(current, true);
        }
        turn_to(current, false);
    }
    current.sent_counted = sent_to;
    current.turn
}

/// A turn gives a new budget. Two threads that move bytes both ways at once may lose a turn between them; the positions
/// in the records stay exact.
#[inline(always)]
pub fn turn_to(current: &mut Connection, sent: bool) {
    let was_sent = current.flags & CONNECTION_LAST_SENT != 0;
    if current.turn == 0 || was_sent != sent {
        current.turn += 1;
        if current.turn == 1 || current.flags & CONNECTION_FRAMED == 0 {
            current.budget = TURN_BUDGET_BYTES;
        }
        if was_sent != sent {
            current.flags ^= CONNECTION_LAST_SENT;
        }
    }
}

/// A FIN comes or goes.
#[inline(always)]
pub fn end(connection: *mut Connection) {
    // SAFETY: a map value; a word that nobody else writes otherwise.
    unsafe { (&raw mut (*connection).is_ending).write_volatile(1) }
}

/// Reports the end of a connection, once; its entry stays until `forget`.
#[inline(always)]
pub fn finish(connection: *mut Connection, reason: u32) {
    // SAFETY: a map value.
    let current = unsafe { &mut *connection };
    if current.flags & CONNECTION_OVER != 0 {
        return;
    }
    current.flags |= CONNECTION_OVER;
    let reset = reason == CLOSED_RESET || current.flags & CONNECTION_RESET != 0;
    let record = ClosedRecord {
        kind: RecordKind::Closed as u32,
        reason: if reset { CLOSED_RESET } else { CLOSED_FINISHED },
        connection: current.id,
        // SAFETY: takes no argument.
        time_ns: unsafe { bpf_ktime_get_ns() },
        turns: current.turn,
        padding: 0,
    };
    // The daemon has never heard of a connection of which everything was lost, and could do nothing with its end.
    let is_known = current.flags & CONNECTION_REPORTED != 0 || current.reported_turn != 0;
    if !is_known || !emit(&raw const record, size_of::<ClosedRecord>() as u64) {
        // Requests are the odd turns of a conversation that was followed from its start.
        count(Loss::ExchangesUnreported, u64::from(current.turn.div_ceil(2) - current.reported_turn.div_ceil(2)));
    }
}

/// Counts what a call has moved where nobody else does: a unix socket, or plaintext. Gives where it began in its direction, and
/// where the other one stands. Two threads may be here at once, one for each direction: neither writes the other's word.
#[inline(always)]
pub fn count_moved(current: &mut Connection, sent: bool, bytes: u32) -> (u32, u32) {
    if sent {
        let began = current.sent;
        current.sent = began.wrapping_add(bytes);
        (began, current.received)
    } else {
        let began = current.received;
        current.received = began.wrapping_add(bytes);
        (began, current.sent)
    }
}

/// What an entry is before anything is known: more than the stack has room for.
#[map]
static BLANK: Array<Connection> = Array::with_max_entries(1, 0);

/// A connection that is no socket's: its bytes are counted from `sent` and `received` on.
#[inline(always)]
pub fn enter_counted(id: u64, sent: u32, received: u32) -> Option<*mut Connection> {
    let blank = BLANK.get_ptr(0)?;
    // SAFETY: a map value that nobody writes: zeros, which say that both places in frames are lost.
    if CONNECTION_BY_SOCKET.insert(&id, unsafe { &*blank }, 0).is_err() {
        count(Loss::ConnectionTableFull, 1);
        return None;
    }
    let entered = get(id)?;
    // SAFETY: a map value that nobody else knows yet.
    unsafe {
        (*entered).id = id;
        ((*entered).sent, (*entered).received) = (sent, received);
    }
    Some(entered)
}

/// Drops the entry of a socket that is gone.
#[inline(always)]
pub fn forget(sk: u64) {
    let _ = CONNECTION_BY_SOCKET.remove(&sk);
}
