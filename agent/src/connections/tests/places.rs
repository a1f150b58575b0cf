// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TLS sessions whose sockets become known late, or never.

use agent_common::records::{OPENED_TLS, OpenedRecord};
use agent_protocols::Direction::Sent;

use super::{
    Onlooker, exchange,
    kernel::{Kernel, Record},
};
use crate::{connections::HELD_NANOSECONDS, exchanges::Endpoint};

/// What a session without a socket gives, and the record that names one.
fn session() -> (Vec<Record>, Record) {
    let mut kernel = Kernel::new(1).starting_at(0, 0);
    exchange(&mut kernel, Sent, 0);
    let (mut records, mut placed) = (Vec::new(), None);
    for record in kernel.records {
        if let Record::Opened(opened) = record {
            let opened = OpenedRecord { flags: OPENED_TLS, ..opened };
            placed = Some(Record::Opened(opened));
            records.push(Record::Opened(OpenedRecord { family: 0, ..opened }));
        } else {
            records.push(record);
        }
    }
    (records, placed.expect("it is announced"))
}

#[test]
fn what_is_said_before_the_socket_is_known_has_its_address() {
    let (records, placed) = session();
    // The announcement and the request; then the socket; then the answer.
    let (before, after) = records.split_at(2);
    let mut onlooker = Onlooker::new();
    onlooker.watch(before);
    assert_eq!(onlooker.began, 0);
    onlooker.watch(&[placed]);
    assert_eq!(onlooker.began, 1);
    onlooker.watch(after);
    assert!(matches!(onlooker.ended[0].connection.remote, Endpoint::Internet(_)), "{:?}", onlooker.ended);
    assert_eq!((onlooker.outcomes().len(), onlooker.lost()), (1, 0));
    assert_eq!(onlooker.connections.accounts.held_bytes, 0);
}

#[test]
fn a_socket_that_never_becomes_known_is_not_waited_for() {
    let (records, _) = session();
    let mut onlooker = Onlooker::new();
    onlooker.watch(&records);
    assert_eq!(onlooker.began, 0);
    onlooker.time(2_000_000 + HELD_NANOSECONDS);
    assert_eq!((onlooker.began, onlooker.lost()), (1, 0));
    assert_eq!(onlooker.ended[0].connection.remote, Endpoint::Unknown);
    assert_eq!(onlooker.connections.accounts.held_bytes, 0);
}

#[test]
fn what_waits_is_heard_when_the_session_ends() {
    let (records, _) = session();
    let mut onlooker = Onlooker::new();
    onlooker.watch(&records);
    onlooker.connections.finish(&mut super::Pairing {
        exchanges: &mut onlooker.exchanges,
        began: &mut onlooker.began,
        ended: &mut onlooker.ended,
    });
    assert_eq!((onlooker.began, onlooker.ended.len()), (1, 1));
}
