// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A made-up recording: one client and one server, one connection, the same small request and response over and over.
//!
//! In: how many exchanges, and how many of the two ends are watched. Out: the records that the kernel programs would have
//! written.

use std::path::Path;

use agent_common::records::{CLOSED_FINISHED, ClosedRecord, DATA_SENT, DataRecord, OpenedRecord, RecordKind};
use anyhow::Result;
use bytemuck::{Zeroable as _, bytes_of};
use onlooker::{
    capture::{Frame, Recorder},
    moment::{KernelTime, WallTime},
};

const REQUEST: &[u8] = b"GET /orders/7 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello";

/// From one request to the next: what a small request takes on loopback.
const EXCHANGE_NS: u64 = 35_000;
const BEGIN: u64 = 1_000_000_000_000;

/// One end of the connection.
struct End {
    process: u32,
    connection: u64,
    is_client: bool,
}

pub fn write(path: &Path, exchanges: u64, ends: u32) -> Result<()> {
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
        let (requests, responses) = (number as u32 * REQUEST.len() as u32, number as u32 * RESPONSE.len() as u32);
        let turn = 2 * number as u32 + 1;
        let request = DataRecord { position: requests, other_position: responses, turn, ..DataRecord::zeroed() };
        let answered = requests + REQUEST.len() as u32;
        let response =
            DataRecord { position: responses, other_position: answered, turn: turn + 1, ..DataRecord::zeroed() };
        for end in &ends {
            file.write(Frame::Record(&end.data(request, REQUEST, at, end.is_client)))?;
        }
        for end in ends.iter().rev() {
            file.write(Frame::Record(&end.data(response, RESPONSE, at + EXCHANGE_NS / 2, !end.is_client)))?;
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
