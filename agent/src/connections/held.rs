// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Received records that came before the record of the request they may answer.
//!
//! A record is written when its call returns. A thread can read the response while the thread that sent the request is
//! still on its way out of the kernel: the response's record is then first in the ring. It says so itself, because
//! `other_position` counts bytes of which no record has come. Such a record waits here until the other one arrives.
//!
//! What is said on a TLS session before its socket is known waits as well: the kernel tells of the socket as soon as the first
//! bytes are sent there. Programs that carry them there by ways that nobody sees get no address, and are told later.
//!
//! Other sent records never wait. What a process sends can depend only on bytes of which the call has returned, and their
//! records are in the ring before the sending call is entered; what a sent record's `other_position` has ahead of its time
//! was received beside it, not before it. So no two records can wait for each other.

use std::{collections::VecDeque, rc::Rc};

use agent_common::records::DataRecord;

use crate::{exchanges::ConnectionFacts, moment::KernelTime};

/// How far the kernel's clock may move past a waiting record. Larger: a response whose request's record was lost reaches the
/// user later. Smaller: a thread that is preempted on its way out of the kernel costs its request.
pub const HELD_NANOSECONDS: u64 = 50_000_000;

/// As above, where frames of many exchanges follow one another: what is taken for lost there costs the place, the header
/// table and whatever was under way. Where processors are short, a thread is kept waiting for longer than the above.
pub const HELD_MULTIPLEXED_NANOSECONDS: u64 = 1_000_000_000;

/// Records that wait on one connection. Larger: memory per connection. Smaller: a long response that overtook its request
/// is let go before the request arrives.
const RECORDS: usize = 64;

/// Bytes that wait on one connection. As above.
const BYTES: usize = 256 * 1024;

#[derive(Default)]
pub(super) struct Held {
    records: VecDeque<(DataRecord, Box<[u8]>)>,
    bytes: usize,
    /// What is known of a TLS session whose socket is not: the record that it has encrypted is on its way there.
    pub unplaced: Option<Rc<ConnectionFacts>>,
}

impl Held {
    pub fn push(&mut self, record: &DataRecord, payload: &[u8]) {
        self.bytes += payload.len();
        self.records.push_back((*record, payload.into()));
    }

    pub fn front(&self) -> Option<&DataRecord> {
        self.records.front().map(|(record, _)| record)
    }

    pub fn pop(&mut self) -> Option<(DataRecord, Box<[u8]>)> {
        let (record, payload) = self.records.pop_front()?;
        self.bytes -= payload.len();
        Some((record, payload))
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_full(&self) -> bool {
        self.records.len() >= RECORDS || self.bytes >= BYTES
    }

    /// When the first record has waited as long.
    pub fn deadline(&self, nanoseconds: u64) -> Option<KernelTime> {
        self.front().map(|record| KernelTime(record.time_ns.saturating_add(nanoseconds)))
    }
}
