// SPDX-License-Identifier: Apache-2.0 OR MIT
//! HTTP/2 through both stages: many exchanges at once, both directions at once, and joined late.

use agent_protocols::{
    Direction::{Received, Sent},
    Protocol,
};

use super::{Onlooker, kernel::Kernel};
use crate::{
    connections::HELD_NANOSECONDS,
    exchanges::{Partial, Role},
    ledger::Family,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /N`, where N is the stream's number.
fn get(stream: u32) -> Vec<u8> {
    let path = format!("/{stream}");
    frame(1, 5, stream, &[&b"\x82\x86\x04"[..], &[u8::try_from(path.len()).unwrap()], path.as_bytes()].concat())
}

/// 200, and as many bytes as the stream's number.
fn answer(stream: u32) -> Vec<u8> {
    [frame(1, 4, stream, b"\x88"), frame(0, 1, stream, &vec![b'.'; stream as usize])].concat()
}

#[test]
fn many_at_once_are_each_an_exchange() {
    let mut kernel = Kernel::new(1);
    kernel.write(SETTINGS);
    kernel.read(&[PREFACE.to_vec(), get(1), get(3), get(5)].concat());
    kernel.write(&answer(5));
    kernel.read(&get(7));
    kernel.write(&[answer(1), answer(7), answer(3)].concat());
    kernel.close();
    let mut onlooker = Onlooker::new();
    onlooker.watch(&kernel.records);
    assert_eq!(onlooker.outcomes(), ["/5 200", "/1 200", "/7 200", "/3 200"]);
    assert!(onlooker.ended.iter().all(|exchange| exchange.role == Role::Server && exchange.partial.is_none()));
    assert_eq!(onlooker.ended[0].response_body_bytes, Some(5));
    // The server's settings come first and the client's preface after them: nothing of it was missed.
    assert_eq!(onlooker.count(Family::MessageProblems, "problem", "frames_lost"), 0);
    assert_eq!(onlooker.count(Family::Exchanges, "protocol", "http2"), 4);
    assert_eq!(onlooker.lost(), 0);
}

#[test]
fn half_turns_that_are_counted_in_another_order_lose_nothing() {
    for (requests, skip) in [(Received, 2), (Sent, 2), (Received, 5), (Sent, 5)] {
        let mut kernel = Kernel::new(1);
        kernel.transfer(requests, &[PREFACE.to_vec(), get(1)].concat());
        kernel.transfer(requests.opposite(), &[SETTINGS.to_vec(), answer(1)].concat());
        for stream in (3..40).step_by(2) {
            // Between the two the other thread has begun a half-turn of which the record comes later, or never.
            kernel.turn += if stream % 7 == 0 { skip } else { 0 };
            kernel.transfer(requests, &get(stream));
            kernel.transfer(requests.opposite(), &answer(stream));
        }
        kernel.close();
        let mut onlooker = Onlooker::new();
        onlooker.watch(&kernel.records);
        let expected: Vec<String> = (1..40).step_by(2).map(|stream| format!("/{stream} 200")).collect();
        assert_eq!(onlooker.outcomes(), expected);
        assert_eq!((onlooker.lost(), onlooker.count(Family::MessageProblems, "problem", "frames_lost")), (0, 0));
    }
}

/// Processors were short, and the thread that sent the answers was kept waiting on its way out of the kernel: what the
/// client said to them was read meanwhile.
#[test]
fn answers_whose_record_comes_late_are_answers() {
    let mut kernel = Kernel::new(1);
    kernel.read(&[PREFACE.to_vec(), get(1), get(3)].concat());
    kernel.write(&answer(1));
    let writing = kernel.write_enter(&answer(3));
    kernel.read(&get(5));
    let mut onlooker = Onlooker::new();
    onlooker.watch(&kernel.records);
    onlooker.time(kernel.now_ns + 10 * HELD_NANOSECONDS);
    kernel.records.clear();
    kernel.write_exit(writing);
    kernel.write(&answer(5));
    kernel.close();
    onlooker.watch(&kernel.records);
    assert_eq!(onlooker.outcomes(), ["/1 200", "/3 200", "/5 200"]);
    assert_eq!(onlooker.lost(), 0);
}

/// One thread reads and another one writes: the writer's record is the first although it counts what the reader has read.
#[test]
fn a_request_whose_record_comes_after_a_later_answer_is_not_lost() {
    for late in 1..4 {
        let mut kernel = Kernel::new(1);
        kernel.read(&[PREFACE.to_vec(), get(1)].concat());
        kernel.write(SETTINGS);
        kernel.read(&get(3));
        let overtaken = kernel.records.len() - 1;
        for part in answer(1).chunks(5) {
            kernel.write(part);
        }
        kernel.records[overtaken..=overtaken + late].rotate_left(1);
        kernel.write(&answer(3));
        kernel.close();
        let mut onlooker = Onlooker::new();
        onlooker.watch(&kernel.records);
        assert_eq!(onlooker.outcomes(), ["/1 200", "/3 200"]);
        assert_eq!((onlooker.lost(), onlooker.count(Family::MessageProblems, "problem", "frames_lost")), (0, 0));
    }
}

#[test]
fn a_response_of_which_only_the_beginning_was_copied_is_counted() {
    let mut kernel = Kernel::new(1);
    kernel.read(&[PREFACE.to_vec(), get(1)].concat());
    kernel.write(&[SETTINGS.to_vec(), answer(1)].concat());
    kernel.read(&get(10_001));
    kernel.write(&answer(10_001));
    kernel.cut(40);
    kernel.read(&get(10_003));
    kernel.write(&answer(10_003));
    kernel.close();
    let mut onlooker = Onlooker::new();
    onlooker.watch(&kernel.records);
    assert_eq!(onlooker.outcomes(), ["/1 200", "/10001 200", "/10003 200"]);
    assert_eq!(onlooker.ended[1].response_body_bytes, Some(10_001));
    assert_eq!(onlooker.ended[1].partial, None);
}

#[test]
fn joined_late_every_request_from_then_on_is_there() {
    let mut kernel = Kernel::new(1).joined_late();
    // Parts of bodies, which begin nowhere, and frames that are no head.
    for _ in 0..10 {
        kernel.read(&[b'x'; 1000]);
        kernel.write(&frame(8, 0, 0, &[0, 0, 4, 0]));
    }
    kernel.read(&[vec![b'x'; 300], get(101)].concat());
    kernel.write(&answer(101));
    kernel.read(&frame(1, 5, 103, b"\x82\x86\xc5"));
    kernel.write(&answer(103));
    kernel.close();
    let mut onlooker = Onlooker::new();
    onlooker.watch(&kernel.records);
    assert_eq!(onlooker.outcomes(), ["/101 200", " 200"]);
    let partial: Vec<_> = onlooker.ended.iter().map(|exchange| exchange.partial).collect();
    assert_eq!(partial, [None, Some(Partial::JoinedMidStream)]);
    assert_eq!((onlooker.uninteresting, onlooker.framed.len()), (Vec::new(), 1));
}

#[test]
fn joined_late_at_the_client() {
    let mut kernel = Kernel::new(1).joined_late();
    kernel.write(&get(5));
    kernel.read(&answer(5));
    kernel.close();
    let mut onlooker = Onlooker::new();
    onlooker.watch(&kernel.records);
    assert_eq!(onlooker.outcomes(), ["/5 200"]);
    assert_eq!(onlooker.ended[0].role, Role::Client);
}

#[test]
fn an_upgraded_request_is_answered_on_http_2() {
    let mut kernel = Kernel::new(1);
    kernel.read(b"GET /up HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n");
    let granted = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n".to_vec();
    kernel.write(&[granted, SETTINGS.to_vec(), answer(1)].concat());
    kernel.read(&[PREFACE.to_vec(), get(3)].concat());
    kernel.write(&answer(3));
    kernel.close();
    let mut onlooker = Onlooker::new();
    onlooker.watch(&kernel.records);
    assert_eq!(onlooker.outcomes(), ["/up 200", "/3 200"]);
    let protocols: Vec<_> = onlooker.ended.iter().map(|exchange| exchange.protocol).collect();
    assert_eq!(protocols, [Protocol::Http1, Protocol::Http2]);
    assert_eq!(onlooker.lost(), 0);
}

#[test]
fn what_is_no_http_2_is_left_alone_soon() {
    let mut kernel = Kernel::new(1).joined_late();
    for byte in 0..40_u8 {
        kernel.read(&[0x17, 3, 3, 0, 3, byte, 0, 0]);
        kernel.write(&[0x17, 3, 3, 0, 3, 0, 0, byte]);
    }
    let mut onlooker = Onlooker::new();
    onlooker.watch(&kernel.records[..8]);
    assert_eq!(onlooker.uninteresting, [1]);
}
