// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Records that follow the ones before them take a short way through a connection; it must lead where the long one does.

use std::{format, string::String};

use agent_common::records::{DATA_END, DATA_SENT, DATA_UNREADABLE, DataRecord};
use agent_protocols::{Message, Part, Whole, WholeMessage};
use bytemuck::Zeroable as _;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::connections::heard::Outputs;

/// The messages of the two sides, one a turn, by turns.
type Talk = [&'static [&'static [u8]]; 2];

const HTTP1: Talk =
    [&[b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nnine byte"], &[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]];

/// With a second request on its way when the first is answered.
const HTTP2: Talk = [
    &[
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84",
        b"\0\0\x03\x01\x05\0\0\0\x03\x82\x86\x84\0\0\x03\x01\x05\0\0\0\x05\x82\x86\x85",
    ],
    &[
        b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x02\0\x01\0\0\0\x01ok",
        b"\0\0\x01\x01\x05\0\0\0\x05\x89\0\0\x01\x01\x04\0\0\0\x03\x88\0\0\x02\0\x01\0\0\0\x03ok",
    ],
];

/// What may be wrong with a record of an otherwise ordinary conversation.
#[derive(Clone, Copy, Debug)]
enum Oddity {
    Nothing,
    Lost,
    Position(i32),
    OtherPosition(i32),
    Turn(i32),
    Captured(u32),
    Flags(u32),
}

fn oddity() -> impl Strategy<Value = Oddity> {
    prop_oneof![
        12 => Just(Oddity::Nothing),
        1 => Just(Oddity::Lost),
        1 => (-50..50).prop_map(Oddity::Position),
        1 => (-50..50).prop_map(Oddity::OtherPosition),
        1 => (-3..5).prop_map(Oddity::Turn),
        1 => (0_u32..40).prop_map(Oddity::Captured),
        1 => select(&[DATA_END, DATA_UNREADABLE][..]).prop_map(Oddity::Flags),
    ]
}

/// A server's conversation: whole messages or parts of them, each with its oddity.
fn records(talk: Talk, steps: &[(usize, Oddity)]) -> Vec<(DataRecord, Vec<u8>)> {
    let (mut positions, mut turn, mut rest) = ([1000_u32, 5000], 0, &[][..]);
    let mut records = Vec::new();
    for (number, &(length, oddity)) in steps.iter().enumerate() {
        if rest.is_empty() {
            turn += 1;
            let (side, round) = ((turn as usize + 1) % 2, (turn as usize - 1) / 2);
            rest = talk[side][round % talk[side].len()];
        }
        let is_sent = turn % 2 == 0;
        let (payload, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        let mut record = DataRecord {
            tgid: 1,
            tid: 1,
            flags: if is_sent { DATA_SENT } else { 0 },
            time_ns: number as u64,
            length: payload.len() as u32,
            captured: payload.len() as u32,
            position: positions[usize::from(is_sent)],
            other_position: positions[usize::from(!is_sent)],
            turn,
            ..DataRecord::zeroed()
        };
        positions[usize::from(is_sent)] += record.length;
        match oddity {
            Oddity::Nothing => {}
            Oddity::Lost => continue,
            Oddity::Position(by) => record.position = record.position.wrapping_add_signed(by),
            Oddity::OtherPosition(by) => record.other_position = record.other_position.wrapping_add_signed(by),
            Oddity::Turn(by) => record.turn = record.turn.saturating_add_signed(by).max(1),
            Oddity::Captured(bytes) => record.captured = record.captured.min(bytes),
            Oddity::Flags(flags) => record.flags |= flags,
        }
        records.push((record, payload[..record.captured as usize].to_vec()));
    }
    records
}

/// The short ways, as `Connections` takes them.
fn handle_shortly(connection: &mut Connection, record: &DataRecord, payload: &[u8], out: &mut Outputs) {
    let Some((on, WholeMessage { stream, whole })) = connection.handle_whole(record, payload, out) else {
        return connection.handle_data(record, payload, out);
    };
    let (head, end) = match whole {
        Whole::Request(request, end) => (Part::RequestHead(request), Part::RequestEnd(end)),
        Whole::Response(response, end) => (Part::ResponseHead(response), Part::ResponseEnd(end)),
    };
    let (mark, parts) = (moment_of(record), [(0, head), (record.length, end)]);
    let messages = parts.map(|(offset, part)| What::Message(Message { stream, mark, offset, part }));
    out.heard.extend(messages.map(|what| Heard { on: on.clone(), what }));
}

/// All that came out, and the account.
fn heard(
    records: &[(DataRecord, Vec<u8>)],
    before: bool,
    handle: fn(&mut Connection, &DataRecord, &[u8], &mut Outputs),
) -> String {
    let ledger = Ledger::new();
    let (mut connection, mut out) = (Connection::default(), Outputs::new(&ledger));
    connection.open(facts::facts(&OpenedRecord { connection: 1, ..OpenedRecord::zeroed() }, None), before, before);
    for (record, payload) in records {
        handle(&mut connection, record, payload, &mut out);
    }
    connection.finish(End::Finished, KernelTime(u64::MAX), Some(records.len() as u32), &mut out);
    format!("{:#?}\n{:?}\n{}", out.heard, out.advice, ledger.lines())
}

proptest! {
    #[test]
    fn the_short_way_leads_where_the_long_one_does(
        talk in select(&[HTTP1, HTTP2][..]),
        steps in vec((select(&[5_usize, 20, 100, 100][..]), oddity()), 1..30),
        before: bool,
    ) {
        let records = records(talk, &steps);
        let short = heard(&records, before, handle_shortly);
        prop_assert_eq!(short, heard(&records, before, Connection::handle_data_the_long_way));
    }
}
