// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the hellos of a TLS handshake say, seen in clear on a socket, for the connection that TLS then carries there.
//!
//! In: records of sockets. Out: version and server name, by socket. Does not: keep bytes; a hello that does not come in one
//! piece, or in its head and one piece, is not known.

use std::rc::Rc;

use agent_common::records::{DATA_SENT, DataRecord};
use agent_protocols::tls::{self, Hello, RECORD_HEAD_BYTES, Version};
use rustc_hash::FxHashMap;

use crate::exchanges::Handshake;

/// Sockets whose hellos are kept. Larger: memory, 100 bytes each. Smaller: with more at once all are forgotten at times, and
/// connections that begin just then do not say their version.
const SOCKETS: usize = 16_384;

#[derive(Default)]
pub(super) struct Handshakes {
    by_socket: FxHashMap<u64, Known>,
    /// Heads of records that have come alone, over all sockets.
    heads_alone: usize,
}

#[derive(Default)]
struct Known {
    handshake: Handshake,
    /// The head of a record has come, and what it heads has not: by direction.
    head_alone: [bool; 2],
}

impl Handshakes {
    /// Looks at what a socket moves; at nothing but its first two bytes, in nearly all cases.
    pub fn handle_data(&mut self, socket: Option<u64>, record: &DataRecord, payload: &[u8]) {
        if tls::begins_handshake(payload) {
            if let Some(socket) = socket {
                self.begin(socket, record, payload);
            }
        } else if self.heads_alone > 0
            && let Some(known) = socket.and_then(|socket| self.by_socket.get_mut(&socket))
            && std::mem::take(&mut known.head_alone[way(record)])
        {
            self.heads_alone -= 1;
            known.learn(payload);
        }
    }

    fn begin(&mut self, socket: u64, record: &DataRecord, payload: &[u8]) {
        if self.by_socket.len() >= SOCKETS && !self.by_socket.contains_key(&socket) {
            self.by_socket.clear();
            self.heads_alone = 0;
        }
        let known = self.by_socket.entry(socket).or_default();
        match payload.get(RECORD_HEAD_BYTES..) {
            Some([]) => self.heads_alone += usize::from(!std::mem::replace(&mut known.head_alone[way(record)], true)),
            Some(message) => known.learn(message),
            None => {}
        }
    }

    /// What is known of the handshake on a socket. It is asked for once.
    pub fn take(&mut self, socket: u64) -> Option<Rc<Handshake>> {
        let known = self.by_socket.remove(&socket)?;
        self.heads_alone -= known.head_alone.iter().filter(|alone| **alone).count();
        Some(Rc::new(known.handshake))
    }
}

impl Known {
    fn learn(&mut self, message: &[u8]) {
        match tls::hello(message) {
            Some(Hello::Client { server_name }) => {
                let name = server_name.and_then(|name| str::from_utf8(name).ok());
                self.handshake.server_name = name.map(Box::from);
            }
            Some(Hello::Server { version }) => self.handshake.version = Version::name(version),
            None => {}
        }
    }
}

const fn way(record: &DataRecord) -> usize {
    (record.flags & DATA_SENT != 0) as usize
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    /// A server's hello of TLS 1.2 without extensions.
    fn server_hello() -> Vec<u8> {
        let mut bytes = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
        bytes.extend([7; 32]);
        bytes.extend([0, 0xc0, 0x2f, 0]);
        bytes
    }

    #[test]
    fn a_hello_is_known_whole_and_behind_its_head() {
        let record = DataRecord::zeroed();
        let hello = server_hello();
        for pieces in [&[&hello[..]][..], &[&hello[..RECORD_HEAD_BYTES], &hello[RECORD_HEAD_BYTES..]]] {
            let mut handshakes = Handshakes::default();
            for piece in pieces {
                handshakes.handle_data(Some(5), &record, piece);
            }
            assert_eq!(handshakes.take(5).expect("it was seen").version, Some("1.2"));
            assert!(handshakes.take(5).is_none());
        }
    }

    #[test]
    fn what_begins_no_handshake_is_not_kept() {
        let mut handshakes = Handshakes::default();
        handshakes.handle_data(Some(5), &DataRecord::zeroed(), b"GET / HTTP/1.1\r\n");
        handshakes.handle_data(None, &DataRecord::zeroed(), &server_hello());
        assert!(handshakes.by_socket.is_empty());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut handshakes = Handshakes::default();
        for socket in 0..2 * SOCKETS as u64 {
            handshakes.handle_data(Some(socket), &DataRecord::zeroed(), &server_hello());
            assert!(handshakes.by_socket.len() <= SOCKETS);
        }
    }
}
