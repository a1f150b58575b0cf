// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A made-up recording: one client and one server, one connection, small requests and responses.
//!
//! In: how many exchanges, what they say, and how many of the two ends are watched. Out: the records that the kernel programs
//! would have written.

use std::{ops::Range, path::Path};

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
    /// HTTP/2, ten requests at once: in one record, and their responses in another.
    TenStreams,
}

impl Talk {
    const fn exchanges_at_once(self) -> u64 {
        match self {
            Self::Same | Self::Differing => 1,
            Self::TenStreams => 10,
        }
    }

    /// The requests from this one on that are under way at once, and the responses to them.
    fn round(self, first: u64) -> [Vec<u8>; 2] {
        const FIELDS: &str = "Host: 127.0.0.1:8080\r\nUser-Agent: bench/1\r\nAccept: */*\r\n";
        const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n";
        match self {
            Self::Same => [format!("GET /orders/7 HTTP/1.1\r\n{FIELDS}\r\n"), format!("{ANSWER}\r\nhello")],
            Self::Differing => {
                let trace = format!("traceparent: 00-{:032x}-{:016x}-01", first + 1, first + 1);
                let request = format!("GET /orders/{first:08} HTTP/1.1\r\n{FIELDS}{trace}\r\n\r\n");
                [request, format!("{ANSWER}ETag: {first:08}\r\n\r\nhello")]
            }
            Self::TenStreams => return http2_round(first..first + self.exchanges_at_once()),
        }
        .map(String::into_bytes)
    }
}

/// As clients and servers write them: what stays the same is put into the table once; path and length are written out.
fn http2_round(numbers: Range<u64>) -> [Vec<u8>; 2] {
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let (mut requests, mut responses) = (Vec::new(), Vec::new());
    if numbers.start == 0 {
        const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        requests.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        requests.extend_from_slice(&SETTINGS);
        responses.extend_from_slice(&SETTINGS);
    }
    for number in numbers {
        let stream = 2 * number as u32 + 1;
        // GET, http, the path; then the authority and the user agent, into the table or out of it.
        let mut block = b"\x82\x86\x04\x09/orders/7".to_vec();
        block.extend_from_slice(if number == 0 { b"\x41\x0e127.0.0.1:8080\x7a\x07bench/1" } else { b"\xbf\xbe" });
        frame(&mut requests, HEADERS, END_STREAM | END_HEADERS, stream, &block);
        // 200, the length, the type.
        let mut block = b"\x88\x0f\x0d\x015".to_vec();
        block.extend_from_slice(if number == 0 { b"\x5f\x0atext/plain" } else { b"\xbe" });
        frame(&mut responses, HEADERS, END_HEADERS, stream, &block);
        frame(&mut responses, 0, END_STREAM, stream, b"hello");
    }
    [requests, responses]
}

fn frame(to: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    to.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    to.extend_from_slice(&[kind, flags]);
    to.extend_from_slice(&stream.to_be_bytes());
    to.extend_from_slice(payload);
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
    let (mut at, mut requests, mut responses, mut turns) = (BEGIN, 0_u32, 0_u32, 0);
    for first in (0..exchanges).step_by(talk.exchanges_at_once() as usize) {
        at += EXCHANGE_NS;
        let [asked, answered] = talk.round(first);
        let request =
            DataRecord { position: requests, other_position: responses, turn: turns + 1, ..DataRecord::zeroed() };
        requests += asked.len() as u32;
        let response =
            DataRecord { position: responses, other_position: requests, turn: turns + 2, ..DataRecord::zeroed() };
        responses += answered.len() as u32;
        turns += 2;
        for end in &ends {
            file.write(Frame::Record(&end.data(request, &asked, at, end.is_client)))?;
        }
        for end in ends.iter().rev() {
            file.write(Frame::Record(&end.data(response, &answered, at + EXCHANGE_NS / 2, !end.is_client)))?;
        }
    }
    for End { connection, .. } in &ends {
        let closed = ClosedRecord {
            kind: RecordKind::Closed as u32,
            reason: CLOSED_FINISHED,
            connection: *connection,
            time_ns: at + EXCHANGE_NS,
            turns,
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
