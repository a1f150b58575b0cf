// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is kept is bounded, and what is dropped is counted.

use agent_protocols::Direction::Sent;

use super::{Onlooker, exchange, kernel::Kernel, request};
use crate::{
    connections::{Connection, IDLE_NANOSECONDS, Limits, reading::Parsing},
    exchanges::ConnectionFacts,
    ledger::Family,
};

#[test]
fn an_idle_connection_is_small() {
    // The table's entry with its control byte, at the lowest load that a table has after it grew; and the facts.
    let entry = (size_of::<(u64, Connection)>() + 1) * 16 / 7;
    let facts = size_of::<ConnectionFacts>() + 2 * size_of::<usize>();
    // Eight of them for what a TLS handshake said.
    assert!(entry + facts <= 408, "{entry} bytes and {facts}");
    // Once its protocol is known, its parser.
    let parsing = size_of::<Parsing>();
    assert!(parsing <= 512, "{parsing} bytes");
}

#[test]
fn ten_thousand_idle_connections_hold_nothing_but_their_entries() {
    let mut onlooker = Onlooker::new();
    for id in 0..10_000 {
        let mut kernel = Kernel::new(id);
        exchange(&mut kernel, Sent, 0);
        onlooker.watch(&kernel.records);
    }
    assert_eq!(onlooker.connections.len(), 10_000);
    assert_eq!(onlooker.ended.len(), 10_000);
    assert_eq!(onlooker.connections.accounts.held_bytes, 0);
    assert_eq!(onlooker.exchanges.open(), 0);
    assert!(onlooker.connections.accounts.waiting.is_empty());
    assert_eq!(onlooker.connections.out.heard.len(), 0);
}

#[test]
fn a_full_table_drops_the_longest_idle_and_counts_it() {
    let mut onlooker = Onlooker::limited(Limits { connections: 128, ..Limits::default() });
    for id in 0..130 {
        let mut kernel = Kernel::new(id);
        kernel.now_ns += id * 1_000_000;
        kernel.write(&request(0, 0));
        onlooker.watch(&kernel.records);
    }
    assert_eq!(onlooker.connections.len(), 128);
    onlooker.uninteresting.sort_unstable();
    assert_eq!(onlooker.uninteresting, [0, 1]);
    assert_eq!(onlooker.outcomes(), ["/0 abandoned", "/0 abandoned"]);
    assert_eq!(onlooker.count(Family::ConnectionsDropped, "reason", "table_full"), 2);
}

#[test]
fn a_connection_that_makes_too_much_be_held_is_dropped() {
    let mut onlooker = Onlooker::limited(Limits { held_bytes: 1000, ..Limits::default() });
    let mut kernel = Kernel::new(3);
    kernel.write(b"GET / HTTP/1.1\r\nX: ");
    (0..20).for_each(|_| kernel.write(&[b'x'; 100]));
    onlooker.watch(&kernel.records);
    assert_eq!(onlooker.uninteresting, [3]);
    assert_eq!(onlooker.connections.accounts.held_bytes, 0);
    assert_eq!(onlooker.count(Family::ConnectionsDropped, "reason", "memory"), 1);
}

#[test]
fn what_waits_on_one_connection_is_bounded() {
    let mut onlooker = Onlooker::new();
    let mut kernel = Kernel::new(1);
    exchange(&mut kernel, Sent, 0);
    drop(kernel.write_enter(&request(1, 0)));
    kernel.read(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    (0..1000).for_each(|_| kernel.read(&[b'x'; 1000]));
    let mut most = 0;
    for record in &kernel.records {
        onlooker.watch(std::slice::from_ref(record));
        most = most.max(onlooker.connections.accounts.held_bytes);
    }
    assert!(most > 0 && most <= 256 * 1024 + 1000, "{most} bytes waited");
    assert_eq!(onlooker.connections.accounts.held_bytes, 0);
}

#[test]
fn what_was_never_announced_is_forgotten() {
    let mut onlooker = Onlooker::new();
    let mut kernel = Kernel::new(1);
    exchange(&mut kernel, Sent, 0);
    onlooker.watch(&kernel.records[1..]);
    onlooker.time(kernel.now_ns);
    assert_eq!(onlooker.connections.len(), 1);
    onlooker.time(kernel.now_ns + 2 * IDLE_NANOSECONDS);
    assert!(onlooker.connections.is_empty());
    assert_eq!(onlooker.lost(), 1);
}
