// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a connection's first record says about it.
//!
//! In: `OpenedRecord`. Out: `ConnectionFacts`. Does not: resolve names.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
};

use agent_common::records::{OPENED_RECEIVED_BEFORE, OPENED_SENT_BEFORE, OPENED_TLS, OpenedRecord};

use crate::exchanges::{ConnectionFacts, Endpoint, Handshake};

pub(super) fn facts(record: &OpenedRecord, handshake: Option<Rc<Handshake>>) -> ConnectionFacts {
    ConnectionFacts {
        id: record.connection,
        socket: record.socket,
        local: endpoint(record.family, record.local_address, record.local_port),
        remote: endpoint(record.family, record.remote_address, record.remote_port),
        network_namespace: record.network_namespace,
        is_tls: is_tls(record),
        handshake,
        joined_mid_stream: record.flags & (OPENED_RECEIVED_BEFORE | OPENED_SENT_BEFORE) != 0,
    }
}

pub(super) const fn is_tls(record: &OpenedRecord) -> bool {
    record.flags & OPENED_TLS != 0
}

pub(super) fn is_unix(record: &OpenedRecord) -> bool {
    i32::from(record.family) == libc::AF_UNIX
}

fn endpoint(family: u16, bytes: [u8; 16], port: u16) -> Endpoint {
    let (low, _) = bytes.split_first_chunk::<8>().expect("sixteen bytes begin with eight");
    match i32::from(family) {
        0 => Endpoint::Unknown,
        libc::AF_UNIX => Endpoint::Unix(u64::from_ne_bytes(*low)),
        libc::AF_INET => {
            let address = Ipv4Addr::new(low[0], low[1], low[2], low[3]);
            Endpoint::Internet(SocketAddr::new(address.into(), port))
        }
        _ => {
            let address: IpAddr = Ipv6Addr::from(bytes).to_canonical();
            Endpoint::Internet(SocketAddr::new(address, port))
        }
    }
}
