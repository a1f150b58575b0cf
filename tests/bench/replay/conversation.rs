// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A made-up recording: one client and one server, one connection, small requests and responses.
//!
//! In: how many exchanges, what they say, and how many of the two ends are watched. Out: the records that the kernel programs
//! would have written.

use std::path::Path;

use agent_common::records::{CLOSED_FINISHED, ClosedRecord, DATA_SENT, DataRecord, OpenedRecord, RecordKind};
use anyhow::Result;
use bytemuck::{Zeroable as _, bytes_of};
use onlooker::{
    capture::{Frame, Recorder},
    moment::{KernelTime, WallTime},
};

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// The same over and over, as by a health check.
    Same,
    /// No two heads are the same: each request has a path and a trace of its own, each response a tag.
    Differing,
}

impl Talk {
    fn request(self, number: u64) -> Vec<u8> {
        const FIELDS: &str = "Host: 127.0.0.1:8080\r\nUser-Agent: bench/1\r\nAccept: */*\r\n";
        match self {
            Self::Same => format!("GET /orders/7 HTTP/1.1\r\n{FIELDS}\r\n"),
            Self::Differing => format!(
                "GET /orders/{number:08} HTTP/1.1\r\n{FIELDS}traceparent: 00-{:032x}-{:016x}-01\r\n\r\n",
                number + 1,
                number + 1
            ),
        }
        .into_bytes()
    }

    fn response(self, number: u64) -> Vec<u8> {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n";
        match self {
            Self::Same => format!("{HEAD}\r\nhello"),
            Self::Differing => format!("{HEAD}ETag: {number:08}\r\n\r\nhello"),
        }
        .into_bytes()
    }
}

/// From one request to the next: what a small request takes on loopback.
const EXCHANGE_NS: u64 = 35_000;
const BEGIN: u64 = 1_000_000_000_000;

/// One end of the connection.
struct End {
    process: u32,
    connection: u64,
    is_client: bool,
}

pub fn write(path: &Path, talk: Talk, exchanges: u64, ends: u32) -> Result<()> {
    let mut file = Recorder::create(path)?;
    let server = End { process: 4000, connection: 1, is_client: false };
    let client = End { process: 5000, connection: 2, is_client: true };
    let ends = if ends == 1 { vec![server] } else { vec![client, server] };
    file.write(Frame::Clock { kernel: KernelTime(BEGIN), wall: WallTime(1_790_000_000_000_000_000) })?;
    for End { process, .. } in &ends {
        let facts = format!(r#"{{"process":{{"tgid":{process},"name":"bench","executable":"/usr/bin/bench"}}}}"#);
        file.write(Frame::Facts(facts.as_bytes()))?;
    }
    for end in &ends {
        file.write(Frame::Record(bytes_of(&end.opened())))?;
    }
    let mut at = BEGIN;
    for number in 0..exchanges {
        at += EXCHANGE_NS;
        let (request_bytes, response_bytes) = (talk.request(number), talk.response(number));
        // All of a talk are of one length.
        let before = |bytes: &[u8]| number as u32 * bytes.len() as u32;
        let (requests, responses) = (before(&request_bytes), before(&response_bytes));
        let turn = 2 * number as u32 + 1;
        let request = DataRecord { position: requests, other_position: responses, turn, ..DataRecord::zeroed() };
        let answered = requests + request_bytes.len() as u32;
        let response =
            DataRecord { position: responses, other_position: answered, turn: turn + 1, ..DataRecord::zeroed() };
        for end in &ends {
            file.write(Frame::Record(&end.data(request, &request_bytes, at, end.is_client)))?;
        }
        for end in ends.iter().rev() {
            file.write(Frame::Record(&end.data(response, &response_bytes, at + EXCHANGE_NS / 2, !end.is_client)))?;
        }
    }
    for End { connection, .. } in &ends {
        let closed = ClosedRecord {
            kind: RecordKind::Closed as u32,
            reason: CLOSED_FINISHED,
            connection: *connection,
            time_ns: at + EXCHANGE_NS,
            turns: 2 * exchanges as u32,
            padding: 0,
        };
        file.write(Frame::Record(bytes_of(&closed)))?;
    }
    Ok(file.finish()?)
}

impl End {
    fn opened(&self) -> OpenedRecord {
        const LOOPBACK: [u8; 16] = [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (local_port, remote_port) = if self.is_client { (40_000, 8080) } else { (8080, 40_000) };
        OpenedRecord {
            kind: RecordKind::Opened as u32,
            tgid: self.process,
            connection: self.connection,
            time_ns: BEGIN,
            family: 2,
            local_port,
            remote_port,
            local_address: LOOPBACK,
            remote_address: LOOPBACK,
            socket: self.connection,
            network_namespace: 1,
            ..OpenedRecord::zeroed()
        }
    }

    fn data(&self, record: DataRecord, payload: &[u8], time_ns: u64, is_sent: bool) -> Vec<u8> {
        let record = DataRecord {
            kind: RecordKind::Data as u32,
            tgid: self.process,
            tid: self.process,
            flags: if is_sent { DATA_SENT } else { 0 },
            connection: self.connection,
            time_ns,
            length: payload.len() as u32,
            captured: payload.len() as u32,
            ..record
        };
        [bytes_of(&record), payload].concat()
    }
}
