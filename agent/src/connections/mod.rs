// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reassemble: kernel events in, pieces of byte streams out, per connection and direction; fed to the connection's
//! parser, whose messages are what leaves.
//!
//! In: `KernelEvent`s in the order of the ring buffer, and the kernel's time. Out: [`Heard`] messages, and connections that
//! need not be copied any more. Does not: read a clock, do I/O, pair messages.

mod connection;
mod facts;
mod flow;
mod handshakes;
mod heard;
mod held;
mod reading;
#[cfg(test)]
mod tests;
mod turns;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use agent_common::records::{
    CLOSED_FINISHED, ClosedRecord, DataRecord, OPENED_RECEIVED_BEFORE, OPENED_SENT_BEFORE, OpenedRecord, ProcessChange,
    ProcessRecord,
};
use agent_protocols::End;
use rustc_hash::FxHashMap;

use self::{
    connection::{Connection, moment_of},
    handshakes::Handshakes,
    heard::Outputs,
};
use crate::{
    capture::KernelEvent,
    ledger::Ledger,
    moment::{KernelTime, Moment, Thread},
};

pub use self::{
    handshakes::Unread,
    heard::{Advice, Copying, Heard, Listener, Side, What},
    held::HELD_NANOSECONDS,
};

/// How much may be kept, over all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections followed at once. Larger: memory. Smaller: of many open ones, the longest idle is dropped and its next
    /// exchanges are not seen.
    pub connections: usize,
    /// Bytes of heads that are not whole yet and of records that wait. Larger: memory under attack. Smaller: many
    /// slow senders of large heads at once lose their connection.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 65_536, held_bytes: 16 * 1024 * 1024 }
    }
}

/// A connection of which nothing has come for so long rests: it remembers nothing but where it stands. One whose opening
/// record was lost, or which sent a record after it was closed, is forgotten. Larger: memory that nothing will free.
/// Smaller: the turns of the latter are counted more than once when it goes on.
const IDLE_NANOSECONDS: u64 = 60_000_000_000;

/// The part of the table that is dropped at once when it is full. A search for the longest idle reads the whole table:
/// larger: connections are dropped before they must be. Smaller: the search runs more often.
const DROPPED_AT_ONCE: usize = 64;

pub struct Connections {
    table: FxHashMap<u64, Connection>,
    limits: Limits,
    out: Outputs,
    accounts: Accounts,
    handshakes: Handshakes,
    /// Process and unix connection, for those whose end only the process's end tells.
    unix_users: BTreeSet<(u32, u64)>,
    next_sweep: KernelTime,
}

impl Connections {
    #[must_use]
    pub fn new(ledger: &Ledger, limits: Limits) -> Self {
        Self {
            table: FxHashMap::default(),
            limits,
            out: Outputs::new(ledger),
            accounts: Accounts::default(),
            handshakes: Handshakes::default(),
            unix_users: BTreeSet::new(),
            next_sweep: KernelTime(0),
        }
    }

    /// What is heard goes to `next`.
    pub fn handle_event(&mut self, event: &KernelEvent<'_>, next: &mut impl Listener) {
        match event {
            KernelEvent::Opened(record) => self.handle_opened(record),
            KernelEvent::Data(record, payload) => {
                if let Some(connection) = self.table.get_mut(&record.connection)
                    && let Some((on, message)) = connection.handle_whole(record, payload, &self.out)
                {
                    note_user(&mut self.unix_users, connection, record.connection, record.tgid);
                    return next.handle_whole(on, message, moment_of(record), record.length);
                }
                self.handle_data(record, payload);
            }
            KernelEvent::Closed(record) => self.handle_closed(record),
            KernelEvent::Process(record) if record.change == ProcessChange::Exited as u32 => self.handle_exit(record),
            KernelEvent::Process(_) => {}
        }
        self.out.heard.drain(..).for_each(|heard| next.handle_heard(heard));
    }

    /// The kernel's clock stands at `now`; every record up to then was handled.
    pub fn handle_time(&mut self, now: KernelTime, next: &mut impl Listener) {
        while let Some(&Reverse((deadline, id))) = self.accounts.waiting.peek()
            && deadline <= now
        {
            self.accounts.waiting.pop();
            self.with(id, |connection, out| connection.handle_time(now, out));
        }
        if now >= self.next_sweep {
            self.next_sweep = KernelTime(now.0 + IDLE_NANOSECONDS);
            self.rest_idle(now);
        }
        self.out.heard.drain(..).for_each(|heard| next.handle_heard(heard));
    }

    /// Nothing more will come: what waits is let go, and what was lost up to here is counted.
    pub fn finish(&mut self, next: &mut impl Listener) {
        for connection in self.table.values_mut() {
            connection.settle(&mut self.out);
        }
        self.out.heard.drain(..).for_each(|heard| next.handle_heard(heard));
    }

    /// What the kernel may do differently.
    pub fn poll_advice(&mut self) -> Option<Advice> {
        self.out.advice.pop_front()
    }

    /// A process that speaks TLS, and is not read.
    pub fn poll_unread(&mut self, now: KernelTime) -> Option<Unread> {
        self.handshakes.poll_unread(now)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn handle_opened(&mut self, record: &OpenedRecord) {
        self.make_room(record.connection);
        let connection = self.table.entry(record.connection).or_default();
        let before = |flag| record.flags & flag != 0;
        let handshake = if facts::is_tls(record) { self.handshakes.take(record.tgid, record.socket) } else { None };
        connection.open(facts::facts(record, handshake), before(OPENED_RECEIVED_BEFORE), before(OPENED_SENT_BEFORE));
        connection.last_used = connection.last_used.max(KernelTime(record.time_ns));
        connection.is_unix = facts::is_unix(record);
        note_user(&mut self.unix_users, connection, record.connection, record.tgid);
        if connection.has_come_to_a_place() {
            self.with(record.connection, |connection, out| connection.go_on(out));
        }
    }

    fn handle_data(&mut self, record: &DataRecord, payload: &[u8]) {
        self.make_room(record.connection);
        let connection = self.table.entry(record.connection).or_default();
        note_user(&mut self.unix_users, connection, record.connection, record.tgid);
        self.handshakes.handle_data(connection.socket(), record, payload);
        let action = |connection: &mut Connection| connection.handle_data(record, payload, &mut self.out);
        self.accounts.keep(record.connection, connection, action);
        if self.accounts.held_bytes > self.limits.held_bytes {
            self.free_memory(record);
        }
    }

    fn handle_closed(&mut self, record: &ClosedRecord) {
        let end = if record.reason == CLOSED_FINISHED { End::Finished } else { End::Reset };
        self.remove(record.connection, end, KernelTime(record.time_ns), Some(record.turns));
    }

    /// Unix sockets are closed without a record. Those that no other process used end with the process.
    fn handle_exit(&mut self, record: &ProcessRecord) {
        self.handshakes.handle_exit(record.tgid);
        let used: Vec<u64> =
            self.unix_users.range((record.tgid, 0)..=(record.tgid, u64::MAX)).map(|(_, id)| *id).collect();
        for id in used {
            self.unix_users.remove(&(record.tgid, id));
            if let Some(connection) = self.table.get_mut(&id) {
                connection.users = connection.users.saturating_sub(1);
                if connection.users == 0 {
                    self.remove(id, End::Abandoned, KernelTime(record.time_ns), None);
                }
            }
        }
    }

    /// Runs `action` on a connection, if it is there, and keeps the accounts.
    fn with(&mut self, id: u64, action: impl FnOnce(&mut Connection, &mut Outputs)) {
        let Some(connection) = self.table.get_mut(&id) else { return };
        self.accounts.keep(id, connection, |connection| action(connection, &mut self.out));
    }

    fn remove(&mut self, id: u64, end: End, time: KernelTime, turns: Option<u32>) {
        let Some(mut connection) = self.table.remove(&id) else { return };
        self.accounts.held_bytes -= connection.held_bytes();
        connection.finish(end, time, turns, &mut self.out);
        let was_last_user = self.unix_users.remove(&(connection.last_tgid, id));
        if connection.users > u16::from(was_last_user) {
            self.unix_users.retain(|(_, used)| *used != id);
        }
    }

    /// The connection whose bytes were one too many loses what it holds. Bias: one that sends slowly and much is hit more
    /// often than one that happened to be last.
    fn free_memory(&mut self, record: &DataRecord) {
        let id = record.connection;
        self.with(id, |connection, out| connection.release_held(out));
        if self.accounts.held_bytes > self.limits.held_bytes {
            let thread = Thread { tgid: record.tgid, tid: record.tid };
            let mark = Moment { time: KernelTime(record.time_ns), thread, position: record.position };
            self.out.dropped_memory.increment();
            self.with(id, |connection, out| connection.give_up(mark, out));
        }
    }

    /// Drops the longest idle where there is no room for a new connection.
    fn make_room(&mut self, id: u64) {
        if self.table.len() < self.limits.connections || self.table.contains_key(&id) {
            return;
        }
        let mut idle: Vec<(KernelTime, u64)> =
            self.table.iter().map(|(id, connection)| (connection.last_used, *id)).collect();
        let count = (self.limits.connections / DROPPED_AT_ONCE).clamp(1, idle.len());
        idle.select_nth_unstable(count - 1);
        for &(last_used, id) in &idle[..count] {
            self.out.dropped_table_full.increment();
            if let Some(socket) = self.table.get(&id).and_then(Connection::socket) {
                self.out.advice.push_back(Advice { connection: id, socket, copying: Copying::Nothing });
            }
            self.remove(id, End::Abandoned, last_used, None);
        }
    }

    fn rest_idle(&mut self, now: KernelTime) {
        let mut forgotten = Vec::new();
        for (id, connection) in &mut self.table {
            if now.0.saturating_sub(connection.last_used.0) <= IDLE_NANOSECONDS {
                continue;
            }
            connection.rest();
            if !connection.is_announced() {
                forgotten.push(*id);
            }
        }
        for id in forgotten {
            self.remove(id, End::Abandoned, now, None);
        }
    }
}

/// What is held, and who waits.
#[derive(Default)]
struct Accounts {
    held_bytes: usize,
    /// Connections with records that wait, by the time at which they have waited long enough. An entry may be stale; as
    /// each is taken out after `HELD_MULTIPLEXED_NANOSECONDS`, there are no more than records of that time.
    waiting: BinaryHeap<Reverse<(KernelTime, u64)>>,
}

impl Accounts {
    /// Runs `action`, and notes what it changes.
    fn keep(&mut self, id: u64, connection: &mut Connection, action: impl FnOnce(&mut Connection)) {
        let held_bytes = connection.held_bytes();
        let held_until = connection.held_until();
        action(connection);
        self.held_bytes = self.held_bytes + connection.held_bytes() - held_bytes;
        if let Some(deadline) = connection.held_until()
            && held_until != Some(deadline)
        {
            self.waiting.push(Reverse((deadline, id)));
        }
    }
}

fn note_user(unix_users: &mut BTreeSet<(u32, u64)>, connection: &mut Connection, id: u64, tgid: u32) {
    if connection.is_unix && (connection.users == 0 || connection.last_tgid != tgid) && unix_users.insert((tgid, id)) {
        connection.users = connection.users.saturating_add(1);
    }
    connection.last_tgid = tgid;
}
