// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A kernel for tests: what processes do on one connection in, the records it would write out.

use agent_common::records::{
    CLOSED_FINISHED, ClosedRecord, DATA_END, DATA_SENT, DataRecord, OPENED_RECEIVED_BEFORE, OPENED_SENT_BEFORE,
    OpenedRecord, ProcessChange, ProcessRecord, RecordKind,
};
use agent_protocols::Direction::{self, Received, Sent};

use crate::capture::KernelEvent;

/// An event that owns its payload.
#[derive(Clone, Debug)]
pub enum Record {
    Opened(OpenedRecord),
    Data(DataRecord, Vec<u8>),
    Closed(ClosedRecord),
    Process(ProcessRecord),
}

impl Record {
    pub fn event(&self) -> KernelEvent<'_> {
        match self {
            Self::Opened(record) => KernelEvent::Opened(*record),
            Self::Data(record, payload) => KernelEvent::Data(*record, payload),
            Self::Closed(record) => KernelEvent::Closed(*record),
            Self::Process(record) => KernelEvent::Process(*record),
        }
    }

    pub fn is_data(&self) -> bool {
        matches!(self, Self::Data(..))
    }
}

/// A write whose bytes have left and whose call has not returned.
pub struct Writing {
    bytes: Vec<u8>,
    position: u32,
    entered_ns: u64,
}

/// One connection as the kernel sees it. The turn is counted by what has happened, not by what was recorded: when a
/// received record tells of sent bytes that have no record yet, their half-turn is counted with it.
pub struct Kernel {
    pub id: u64,
    pub family: i32,
    pub tgid: u32,
    pub now_ns: u64,
    pub turn: u32,
    sent: u32,
    received: u32,
    sent_counted: u32,
    last: Option<Direction>,
    sent_before: bool,
    received_before: bool,
    announced: bool,
    pub records: Vec<Record>,
}

impl Kernel {
    pub fn new(id: u64) -> Self {
        Self {
            id,
            family: libc::AF_INET,
            tgid: 10,
            now_ns: 1_000_000,
            turn: 0,
            sent: 1000,
            received: 5000,
            sent_counted: 1000,
            last: None,
            sent_before: false,
            received_before: false,
            announced: false,
            records: Vec::new(),
        }
    }

    pub fn starting_at(mut self, sent: u32, received: u32) -> Self {
        (self.sent, self.received, self.sent_counted) = (sent, received, sent);
        self
    }

    /// The conversation had been going on before it was watched.
    pub fn joined_late(mut self) -> Self {
        (self.sent_before, self.received_before) = (true, true);
        self
    }

    pub fn write_enter(&mut self, bytes: &[u8]) -> Writing {
        self.now_ns += 1000;
        let writing = Writing { bytes: bytes.to_vec(), position: self.sent, entered_ns: self.now_ns };
        self.sent = self.sent.wrapping_add(bytes.len() as u32);
        writing
    }

    pub fn write_exit(&mut self, writing: Writing) {
        self.now_ns += 1000;
        self.announce(Sent);
        let end = writing.position.wrapping_add(writing.bytes.len() as u32);
        let counted_already = end.wrapping_sub(self.sent_counted) as i32 <= 0 && self.last == Some(Received);
        let turn = if counted_already {
            self.turn - 1
        } else {
            self.turn_to(Sent);
            self.sent_counted = end;
            self.turn
        };
        let mut record = self.data(Sent, writing.position, writing.bytes.len(), writing.entered_ns);
        record.turn = turn;
        self.records.push(Record::Data(record, writing.bytes));
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let writing = self.write_enter(bytes);
        self.write_exit(writing);
    }

    pub fn read(&mut self, bytes: &[u8]) {
        self.now_ns += 1000;
        self.announce(Received);
        if self.sent != self.sent_counted {
            self.turn_to(Sent);
            self.sent_counted = self.sent;
        }
        self.turn_to(Received);
        let position = self.received;
        self.received = self.received.wrapping_add(bytes.len() as u32);
        let record = self.data(Received, position, bytes.len(), self.now_ns);
        self.records.push(Record::Data(record, bytes.to_vec()));
    }

    pub fn transfer(&mut self, direction: Direction, bytes: &[u8]) {
        match direction {
            Received => self.read(bytes),
            Sent => self.write(bytes),
        }
    }

    /// The direction ends in order.
    pub fn end(&mut self, direction: Direction) {
        self.now_ns += 1000;
        let position = if direction == Sent { self.sent } else { self.received };
        let mut record = self.data(direction, position, 0, self.now_ns);
        record.flags |= DATA_END;
        self.records.push(Record::Data(record, Vec::new()));
    }

    pub fn close(&mut self) {
        self.close_with(CLOSED_FINISHED);
    }

    pub fn close_with(&mut self, reason: u32) {
        self.now_ns += 1000;
        self.records.push(Record::Closed(ClosedRecord {
            kind: RecordKind::Closed as u32,
            reason,
            connection: self.id,
            time_ns: self.now_ns,
            turns: self.turn,
            padding: 0,
        }));
    }

    pub fn exit(&mut self, tgid: u32) {
        self.now_ns += 1000;
        self.records.push(Record::Process(ProcessRecord {
            kind: RecordKind::Process as u32,
            change: ProcessChange::Exited as u32,
            tgid,
            parent: 0,
            time_ns: self.now_ns,
            port: 0,
            padding: [0; 6],
            name: [0; 16],
        }));
    }

    /// Keeps only the first `captured` bytes of the last record's payload.
    pub fn cut(&mut self, captured: usize) {
        if let Some(Record::Data(record, payload)) = self.records.last_mut() {
            payload.truncate(captured);
            record.captured = captured as u32;
        }
    }

    /// As a kernel would that counts turns by the order of its own records.
    pub fn count_turns_as_written(&mut self) {
        let (mut turn, mut last) = (0, None);
        for record in &mut self.records {
            match record {
                Record::Data(record, _) => {
                    turn += u32::from(last.replace(record.flags) != Some(record.flags));
                    record.turn = turn;
                }
                Record::Closed(record) => record.turns = turn,
                Record::Opened(_) | Record::Process(_) => {}
            }
        }
    }

    fn turn_to(&mut self, direction: Direction) {
        if self.last != Some(direction) {
            self.turn += 1;
            self.last = Some(direction);
        }
    }

    fn announce(&mut self, direction: Direction) {
        if std::mem::replace(&mut self.announced, true) {
            return;
        }
        let sent_before = self.sent_before || direction == Received && self.sent != self.sent_counted;
        self.records.push(Record::Opened(OpenedRecord {
            socket: self.id,
            kind: RecordKind::Opened as u32,
            tgid: self.tgid,
            connection: self.id,
            time_ns: self.now_ns,
            family: u16::try_from(self.family).unwrap(),
            local_port: 80,
            remote_port: 50_000,
            flags: if sent_before { OPENED_SENT_BEFORE } else { 0 }
                | if self.received_before { OPENED_RECEIVED_BEFORE } else { 0 },
            local_address: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            remote_address: [127, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            network_namespace: 1,
            padding: 0,
        }));
    }

    fn data(&self, direction: Direction, position: u32, length: usize, time_ns: u64) -> DataRecord {
        DataRecord {
            kind: RecordKind::Data as u32,
            tgid: self.tgid,
            tid: self.tgid,
            flags: if direction == Sent { DATA_SENT } else { 0 },
            connection: self.id,
            time_ns,
            padding: 0,
            length: length as u32,
            captured: length as u32,
            position,
            other_position: if direction == Sent { self.received } else { self.sent },
            turn: self.turn,
        }
    }
}
