// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One situation a test: what processes do, and the exchanges that come of it.

use agent_common::records::CLOSED_RESET;
use agent_protocols::Direction::{Received, Sent};

use super::{
    Onlooker, exchange,
    kernel::{Kernel, Record},
    request, response,
};
use crate::{
    connections::HELD_NANOSECONDS,
    exchanges::{Endpoint, Outcome, Partial, Role},
    ledger::Family,
    moment::Thread,
};

fn watch(kernel: &Kernel) -> Onlooker {
    let mut onlooker = Onlooker::new();
    onlooker.watch(&kernel.records);
    onlooker
}

#[test]
fn an_exchange_carries_times_positions_threads_and_facts() {
    let mut kernel = Kernel::new(7).starting_at(100, u32::MAX - 4);
    exchange(&mut kernel, Received, 0);
    kernel.tgid = 11;
    exchange(&mut kernel, Received, 1);
    let onlooker = watch(&kernel);
    assert_eq!(onlooker.outcomes(), ["/0 200", "/1 201"]);
    let (first, second) = (&onlooker.ended[0], &onlooker.ended[1]);
    assert_eq!(first.role, Role::Server);
    assert_eq!(first.first.position, u32::MAX - 4);
    assert_eq!(second.first.position, (u32::MAX - 4).wrapping_add(request(0, 20).len() as u32));
    assert_eq!(second.first.thread, Thread { tgid: 11, tid: 11 });
    assert_eq!(first.response_body_bytes, Some(30));
    assert!(first.first.time < first.last.time && first.last.time < second.first.time);
    assert_eq!(first.connection.local, Endpoint::Internet("127.0.0.1:80".parse().unwrap()));
    assert!(!first.connection.joined_mid_stream);
    assert_eq!(onlooker.count(Family::Messages, "protocol", "http1"), 4);
    assert_eq!(onlooker.count(Family::Exchanges, "protocol", "http1"), 2);
}

#[test]
fn addresses_mapped_into_ipv6_are_ipv4() {
    let mut kernel = Kernel::new(1);
    exchange(&mut kernel, Received, 0);
    if let Some(Record::Opened(record)) = kernel.records.first_mut() {
        record.family = u16::try_from(libc::AF_INET6).unwrap();
        record.local_address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
    }
    let onlooker = watch(&kernel);
    assert_eq!(onlooker.ended[0].connection.local, Endpoint::Internet("10.0.0.1:80".parse().unwrap()));
}

#[test]
fn a_response_that_overtakes_its_request_waits_for_it() {
    let mut kernel = Kernel::new(1);
    let writing = kernel.write_enter(&request(0, 0));
    kernel.read(&response(0, 0));
    let mut onlooker = watch(&kernel);
    assert_eq!(onlooker.began, 0);
    assert!(onlooker.connections.accounts.held_bytes > 0);
    kernel.records.clear();
    kernel.write_exit(writing);
    onlooker.watch(&kernel.records);
    assert_eq!(onlooker.outcomes(), ["/0 200"]);
    assert_eq!(onlooker.connections.accounts.held_bytes, 0);
}

#[test]
fn what_waits_is_let_go_after_its_time_and_not_before() {
    let mut kernel = Kernel::new(1);
    exchange(&mut kernel, Sent, 0);
    drop(kernel.write_enter(&request(1, 0)));
    kernel.read(&response(1, 0));
    let mut onlooker = watch(&kernel);
    assert!(onlooker.connections.accounts.held_bytes > 0);
    onlooker.time(kernel.now_ns + HELD_NANOSECONDS - 1);
    assert!(onlooker.connections.accounts.held_bytes > 0);
    onlooker.time(kernel.now_ns + HELD_NANOSECONDS);
    assert_eq!(onlooker.connections.accounts.held_bytes, 0);
    kernel.records.clear();
    exchange(&mut kernel, Sent, 2);
    kernel.close();
    onlooker.watch(&kernel.records);
    assert_eq!(onlooker.outcomes(), ["/0 200", "/2 202"]);
    assert_eq!(onlooker.lost(), 1);
}

#[test]
fn the_first_answer_on_a_connection_joined_late_is_not_lost() {
    // A server whose connection has been idle: its next request comes while nothing is known of what it sent.
    let mut kernel = Kernel::new(1).joined_late();
    exchange(&mut kernel, Received, 0);
    exchange(&mut kernel, Received, 1);
    kernel.close();
    let onlooker = watch(&kernel);
    assert_eq!(onlooker.outcomes(), ["/0 200", "/1 201"]);
    assert!(onlooker.ended[0].connection.joined_mid_stream);
    assert_eq!(onlooker.lost(), 0);
}

#[test]
fn a_connection_joined_inside_a_body_is_understood_at_its_next_message() {
    for requests in [Received, Sent] {
        let mut kernel = Kernel::new(1).joined_late();
        kernel.transfer(requests, b"the rest of a body that nobody understands");
        kernel.transfer(requests.opposite(), &response(0, 3));
        exchange(&mut kernel, requests, 1);
        kernel.close();
        let onlooker = watch(&kernel);
        assert_eq!(onlooker.outcomes(), ["/1 201"]);
        assert!(onlooker.uninteresting.is_empty());
        assert_eq!(onlooker.lost(), 0);
    }
}

#[test]
fn another_protocol_is_given_up_and_makes_nothing() {
    let mut kernel = Kernel::new(9);
    for _ in 0..3 {
        kernel.write(b"\x00\x00\x00\x08SELECT 1");
        kernel.read(b"\x00\x00\x00\x04row");
    }
    kernel.close();
    let onlooker = watch(&kernel);
    assert_eq!(onlooker.uninteresting, [9]);
    assert_eq!((onlooker.began, onlooker.lost()), (0, 0));
}

#[test]
fn a_finished_conversation_is_reported_and_its_later_turns_are_not_counted() {
    let mut kernel = Kernel::new(9);
    exchange(&mut kernel, Sent, 0);
    kernel.write(b"CONNECT example:443 HTTP/1.1\r\n\r\n");
    kernel.read(b"HTTP/1.1 200 OK\r\n\r\n");
    for _ in 0..10 {
        kernel.write(b"\x16\x03\x01");
        kernel.read(b"\x16\x03\x03");
    }
    kernel.close();
    let onlooker = watch(&kernel);
    assert_eq!(onlooker.uninteresting, [9]);
    assert_eq!(onlooker.began, onlooker.ended.len());
    assert_eq!(onlooker.began, 2);
    assert_eq!(onlooker.lost(), 0);
}

#[test]
fn a_request_that_arrives_a_byte_a_call_is_one_request() {
    let mut kernel = Kernel::new(1);
    request(0, 2).chunks(1).for_each(|byte| kernel.read(byte));
    response(0, 2).chunks(1).for_each(|byte| kernel.write(byte));
    let onlooker = watch(&kernel);
    assert_eq!(onlooker.outcomes(), ["/0 200"]);
    assert_eq!(onlooker.ended[0].first.position, 5000);
}

#[test]
fn bytes_that_were_not_copied_are_stepped_over_inside_a_body() {
    let mut kernel = Kernel::new(1);
    let head = request(0, 1000).len() - 1000;
    kernel.write(&request(0, 1000));
    kernel.cut(head + 10);
    kernel.read(&response(0, 0));
    exchange(&mut kernel, Sent, 1);
    kernel.close();
    let onlooker = watch(&kernel);
    assert_eq!(onlooker.outcomes(), ["/0 200", "/1 201"]);
    assert_eq!(onlooker.ended[0].request_body_bytes, Some(1000));
    assert_eq!(onlooker.ended[0].partial, None);
    assert_eq!(onlooker.ended[1].partial, None);
    assert_eq!(onlooker.lost(), 0);
}

#[test]
fn a_record_that_comes_twice_is_delivered_once() {
    let mut kernel = Kernel::new(1);
    kernel.read(&request(0, 20));
    let twice = kernel.records.last().unwrap().clone();
    kernel.records.push(twice);
    kernel.write(&response(0, 0));
    exchange(&mut kernel, Received, 1);
    assert_eq!(watch(&kernel).outcomes(), ["/0 200", "/1 201"]);
}

#[test]
fn a_lost_response_breaks_its_exchange_and_no_other() {
    let mut kernel = Kernel::new(1);
    exchange(&mut kernel, Sent, 0);
    exchange(&mut kernel, Sent, 1);
    exchange(&mut kernel, Sent, 2);
    kernel.close();
    // Opened, request 0, response 0, request 1, response 1, ...
    for (lost, expected) in [
        (2, ["/0 bytes_lost", "/1 201", "/2 202"]),
        (4, ["/0 200", "/1 bytes_lost", "/2 202"]),
        (6, ["/0 200", "/1 201", "/2 bytes_lost"]),
    ] {
        let mut onlooker = Onlooker::new();
        let mut records = kernel.records.clone();
        records.remove(lost);
        onlooker.watch(&records);
        assert_eq!(onlooker.outcomes(), expected);
        let broken = onlooker.ended.iter().find(|exchange| exchange.outcome != Outcome::Answered).unwrap();
        assert_eq!(broken.partial, Some(Partial::BytesLost));
        assert_eq!(onlooker.lost(), 0);
        assert_eq!(onlooker.count(Family::ExchangesIncomplete, "reason", "bytes_lost"), 1);
    }
}

#[test]
fn the_end_of_a_connection_ends_what_is_open_with_its_reason() {
    for (reason, expected) in [(0, "/0 connection_closed"), (CLOSED_RESET, "/0 connection_reset")] {
        let mut kernel = Kernel::new(1);
        kernel.write(&request(0, 5));
        kernel.close_with(reason);
        let onlooker = watch(&kernel);
        assert_eq!(onlooker.outcomes(), [expected]);
        assert_eq!(onlooker.ended[0].last.time.0, kernel.now_ns);
        assert!(onlooker.connections.is_empty());
    }
}

#[test]
fn a_half_closed_connection_still_gets_its_response() {
    let mut kernel = Kernel::new(1);
    kernel.read(&request(0, 5));
    kernel.end(Received);
    kernel.write(&response(0, 5));
    kernel.end(Sent);
    kernel.close();
    let onlooker = watch(&kernel);
    assert_eq!(onlooker.outcomes(), ["/0 200"]);
    assert_eq!(onlooker.lost(), 0);
}

#[test]
fn a_connection_whose_opening_was_lost_is_counted() {
    let mut kernel = Kernel::new(1);
    (0..3).for_each(|number| exchange(&mut kernel, Sent, number));
    kernel.close();
    kernel.records.remove(0);
    let onlooker = watch(&kernel);
    assert_eq!((onlooker.began, onlooker.lost()), (0, 3));
    assert_eq!(onlooker.count(Family::ExchangesIncomplete, "protocol", "unknown"), 3);
}

#[test]
fn a_connection_announced_late_is_understood_from_then_on() {
    let mut kernel = Kernel::new(1);
    (0..3).for_each(|number| exchange(&mut kernel, Sent, number));
    kernel.close();
    let opened = kernel.records.remove(0);
    kernel.records.insert(2, opened);
    let onlooker = watch(&kernel);
    assert_eq!(onlooker.outcomes(), ["/1 201", "/2 202"]);
    assert_eq!(onlooker.lost(), 1);
}

#[test]
fn turns_counted_as_the_records_were_written_lose_nothing_either() {
    // A kernel that counts turns by its own records calls an overtaking response the first turn.
    let mut kernel = Kernel::new(1);
    for number in 0..3 {
        let writing = kernel.write_enter(&request(number, 0));
        kernel.read(&response(number, 0));
        kernel.write_exit(writing);
    }
    kernel.close();
    kernel.count_turns_as_written();
    let onlooker = watch(&kernel);
    assert_eq!(onlooker.outcomes(), ["/0 200", "/1 201", "/2 202"]);
    assert_eq!(onlooker.lost(), 0);
}

#[test]
fn unix_connections_end_with_the_last_process_that_used_them() {
    let mut kernel = Kernel::new(1);
    kernel.family = libc::AF_UNIX;
    exchange(&mut kernel, Received, 0);
    kernel.tgid = 11;
    kernel.read(&request(1, 0));
    kernel.exit(10);
    let mut onlooker = watch(&kernel);
    assert_eq!(onlooker.outcomes(), ["/0 200"]);
    kernel.records.clear();
    kernel.exit(11);
    onlooker.watch(&kernel.records);
    assert_eq!(onlooker.outcomes(), ["/0 200", "/1 abandoned"]);
    assert!(onlooker.connections.is_empty());
    assert!(onlooker.connections.unix_users.is_empty());
}
