// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The table of exchanges that are open, wait for their span, or ended a moment ago.
//!
//! In: the begin and the end of exchanges. Out: what is known of one, by its id.
//! Does not: decide parents. An exchange that finds the table full gets its span all the same, without a parent of
//! Onlooker's making, and is counted.

use std::{
    collections::hash_map::Entry,
    hash::{Hash, Hasher},
    net::IpAddr,
};

use rustc_hash::FxHashMap;

use super::{Context, Sampled, SpanId, TraceId, description::Description, processes::Candidates, slots::Slots};
use crate::{
    exchanges::{ConnectionFacts, Endpoint, Exchange, ExchangeId, Role},
    moment::{KernelTime, Moment, Thread},
};

/// Exchanges in the table. Larger: memory, 300 bytes each when in use. Smaller: machines with many slow requests get
/// spans without parents.
pub const RECORDS: usize = 65_536;

/// An exchange, from its request's head to a moment after its span.
#[derive(Debug)]
pub struct Record {
    pub role: Role,
    pub thread: Thread,
    pub connection: u64,
    /// Its connection carries many at once.
    pub is_multiplexed: bool,
    /// The request's first byte; what caused the request lies before it.
    pub first: KernelTime,
    pub span_id: SpanId,
    pub context: Option<Box<Context>>,
    pub ends: Option<EndsKey>,
    /// The same exchange, seen from its other end.
    pub other_end: Option<ExchangeId>,
    /// Of a call: the requests that may have caused it.
    pub candidates: Candidates,
    /// Of a call that carries the context of a request being served here: that request's span.
    pub passed_on_by: Option<SpanId>,
    pub end: Option<EndFacts>,
    /// There from the end until the span is built.
    pub described: Option<Described>,
    /// Nothing more that matters to its parent can arrive.
    pub settled: bool,
    /// It waits for another exchange, with its span's parts in memory.
    pub held: bool,
    pub lineage: Option<Lineage>,
    /// Exchanges that are decided as soon as this one is.
    pub waiters: Vec<ExchangeId>,
}

impl Record {
    pub fn new(began: &Exchange, span_id: SpanId, context: Option<Context>) -> Self {
        Self {
            role: began.role,
            thread: began.first.thread,
            connection: began.connection.id,
            is_multiplexed: began.protocol.is_multiplexed(),
            first: began.first.time,
            span_id,
            context: context.map(Box::new),
            ends: EndsKey::new(began.role, &began.connection, began.first.position),
            other_end: None,
            candidates: Candidates::default(),
            passed_on_by: None,
            end: None,
            described: None,
            settled: false,
            held: false,
            lineage: None,
            waiters: Vec::new(),
        }
    }

    /// The thread that made the call. On a connection that is shared by many calls, one thread writes what others have
    /// queued.
    pub fn calling_tid(&self) -> Option<u32> {
        (!self.is_multiplexed).then_some(self.thread.tid)
    }

    /// The trace and the span that the request named as its parent.
    pub fn carried(&self) -> Option<(TraceId, SpanId)> {
        self.context.as_ref()?.parent
    }
}

/// What an exchange gives its span: its own part, and the time.
#[derive(Debug)]
pub struct Described {
    pub description: Description,
    pub role: Role,
    pub tgid: u32,
    pub first: KernelTime,
    pub last: KernelTime,
}

/// What parents are judged by, kept when the exchange itself has become a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndFacts {
    /// The response's first byte; without a response the end.
    pub answered: KernelTime,
    /// Absent without a response.
    pub answering_thread: Option<Thread>,
    pub last: KernelTime,
}

impl EndFacts {
    pub fn of(exchange: &Exchange) -> Self {
        let Moment { time: last, .. } = exchange.last;
        Self {
            answered: exchange.response_first.map_or(last, |first| first.time),
            answering_thread: exchange.response_first.map(|first| first.thread),
            last,
        }
    }
}

/// Which trace a span belongs to, and where in it. Once given it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    pub trace_id: TraceId,
    pub parent: Option<SpanId>,
    pub parent_is_remote: bool,
    pub sampled: Sampled,
    pub trace_state: Option<String>,
}

/// What both ends of one exchange agree on: the client's address and the TCP sequence number of the request's first
/// byte. The server's address is no part of it: behind an address translation (a Kubernetes service, a published port)
/// the two ends know different ones.
///
/// Bias: with a translated client address the ends do not meet, and the server's span is a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndsKey {
    family: Family,
    /// The bits of the client's address; of a unix socket its number.
    address: (u64, u64),
    port: u16,
    position: u32,
    /// Every network namespace has its own loopback; elsewhere 0, because the ends may lie in two.
    namespace: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Unix,
    V4,
    V6,
}

impl Hash for EndsKey {
    /// Keys that are in the table at once differ in client or position: one number of these is hashed in one step.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let client = self.address.1.rotate_left(u16::BITS) ^ u64::from(self.port);
        state.write_u64(client ^ u64::from(self.position) << u32::BITS);
    }
}

impl EndsKey {
    /// Absent where the client is a socket that is not known.
    fn new(role: Role, connection: &ConnectionFacts, position: u32) -> Option<Self> {
        let client = match role {
            Role::Server => connection.remote,
            Role::Client => connection.local,
        };
        let namespace = connection.network_namespace;
        Some(match client {
            Endpoint::Unix(0) | Endpoint::Unknown => return None,
            Endpoint::Unix(socket) => {
                Self { family: Family::Unix, address: (0, socket), port: 0, position, namespace: 0 }
            }
            Endpoint::Internet(client) => {
                let (family, bits) = match client.ip() {
                    IpAddr::V4(address) => (Family::V4, address.to_bits().into()),
                    IpAddr::V6(address) => (Family::V6, address.to_bits()),
                };
                let address = ((bits >> 64) as u64, bits as u64);
                let namespace = if client.ip().is_loopback() { namespace } else { 0 };
                Self { family, address, port: client.port(), position, namespace }
            }
        })
    }
}

/// The table, and the index by which the two ends of an exchange find each other.
#[derive(Debug)]
pub struct Open {
    limit: usize,
    /// Boxed: they are large, and the table moves them when it grows.
    records: Slots<Box<Record>>,
    ends: Ends,
}

/// Exchanges by what their ends agree on. Where one end alone is watched, nothing would ever be found: there are any in it
/// only while exchanges of both roles are in the table.
#[derive(Debug, Default)]
struct Ends {
    /// Exchanges in the table, by role.
    counts: [usize; 2],
    /// The latest of each role.
    by_key: FxHashMap<EndsKey, [Option<ExchangeId>; 2]>,
}

impl Open {
    pub fn new(limit: usize) -> Self {
        Self { limit, records: Slots::default(), ends: Ends::default() }
    }

    pub fn has_room(&self) -> bool {
        self.records.len() < self.limit
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Gives the latest exchange that began at the other end under the same key.
    pub fn insert(&mut self, id: ExchangeId, record: Box<Record>) -> Option<ExchangeId> {
        let (own, other) = (record.role as usize, record.role.other() as usize);
        self.ends.counts[own] += 1;
        if self.ends.counts[own] == 1 && self.ends.counts[other] > 0 {
            self.index();
        }
        let mut at_other_end = None;
        if self.ends.counts[other] > 0
            && let Some(key) = record.ends
        {
            let ends = self.ends.by_key.entry(key).or_default();
            ends[own] = Some(id);
            at_other_end = ends[other];
        }
        self.records.insert(id.0, record);
        at_other_end
    }

    pub fn get(&self, id: ExchangeId) -> Option<&Record> {
        self.records.get(id.0).map(|record| &**record)
    }

    pub fn get_mut(&mut self, id: ExchangeId) -> Option<&mut Record> {
        self.records.get_mut(id.0).map(|record| &mut **record)
    }

    pub fn remove(&mut self, id: ExchangeId) {
        let Some(record) = self.records.remove(id.0) else { return };
        let (own, other) = (record.role as usize, record.role.other() as usize);
        self.ends.counts[own] -= 1;
        if self.ends.by_key.is_empty() {
            return;
        }
        if self.ends.counts[own] == 0 {
            return self.ends.by_key.clear();
        }
        if let Some(key) = record.ends
            && let Entry::Occupied(mut ends) = self.ends.by_key.entry(key)
            && ends.get()[own] == Some(id)
        {
            ends.get_mut()[own] = None;
            if ends.get()[other].is_none() {
                ends.remove();
            }
        }
    }

    /// There are exchanges of one role in the table, and from now on of the other.
    fn index(&mut self) {
        for (number, record) in self.records.values() {
            if let Some(key) = record.ends {
                let latest = &mut self.ends.by_key.entry(key).or_default()[record.role as usize];
                *latest = Some(ExchangeId(number)).max(*latest);
            }
        }
    }
}
