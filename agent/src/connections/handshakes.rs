// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the hellos of a TLS handshake say, seen in clear on a socket, for the connection that TLS then carries there.
//!
//! In: records of sockets. Out: version and server name, by socket; and processes that have begun to speak TLS, of which no
//! library has said anything since. Does not: keep bytes; a hello that does not come in one piece, or in its head and one
//! piece, is not known.

use std::{collections::VecDeque, rc::Rc};

use agent_common::records::{DATA_SENT, DataRecord};
use agent_protocols::tls::{self, Hello, RECORD_HEAD_BYTES, Version};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{exchanges::Handshake, moment::KernelTime};

/// Sockets whose hellos are kept. Larger: memory, 100 bytes each. Smaller: with more at once all are forgotten at times, and
/// connections that begin just then do not say their version.
const SOCKETS: usize = 16_384;

/// How long after its hello a process is asked for what it has said. Longer: it is told later that it cannot be read. Shorter:
/// handshakes over slow lines are taken for what cannot be read.
const PATIENCE_NANOSECONDS: u64 = 5_000_000_000;

/// Processes that are known to be read. As `SOCKETS`.
const PROCESSES: usize = 32_768;

/// A process that speaks TLS, of which no plaintext was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    pub tgid: u32,
    /// When it said hello.
    pub since: KernelTime,
}

#[derive(Default)]
pub(super) struct Handshakes {
    by_socket: FxHashMap<u64, Known>,
    /// Sockets by the times of their first hellos.
    waiting: VecDeque<(Unread, u64)>,
    /// Those whose socket has become another one's, with nothing read of them.
    over: VecDeque<Unread>,
    /// Processes whose plaintext was seen, or of which it was told that it was not.
    settled: FxHashSet<u32>,
    /// Heads of records that have come alone, over all sockets.
    heads_alone: usize,
}

#[derive(Default)]
struct Known {
    /// A socket's address is soon another connection's.
    connection: u64,
    tgid: u32,
    since: KernelTime,
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
            self.waiting.clear();
            self.heads_alone = 0;
        }
        let known = self.by_socket.entry(socket).or_default();
        if known.since != KernelTime::default() && known.connection != record.connection {
            self.heads_alone -= known.heads_alone();
            let unread = Unread { tgid: known.tgid, since: known.since };
            if !self.settled.contains(&unread.tgid) && self.over.len() < SOCKETS {
                self.over.push_back(unread);
            }
            *known = Known::default();
        }
        if known.since == KernelTime::default() {
            (known.connection, known.tgid, known.since) = (record.connection, record.tgid, KernelTime(record.time_ns));
            if !self.settled.contains(&record.tgid) && self.waiting.len() < SOCKETS {
                self.waiting.push_back((Unread { tgid: record.tgid, since: known.since }, socket));
            }
        }
        match payload.get(RECORD_HEAD_BYTES..) {
            Some([]) => self.heads_alone += usize::from(!std::mem::replace(&mut known.head_alone[way(record)], true)),
            Some(message) => known.learn(message),
            None => {}
        }
    }

    /// A process that has said hello long ago, and nothing that was seen since; each is named once.
    pub fn poll_unread(&mut self, now: KernelTime) -> Option<Unread> {
        while let Some(unread) = self.over.pop_front() {
            if self.settle(unread.tgid) {
                return Some(unread);
            }
        }
        while let Some(&(unread, socket)) = self.waiting.front()
            && unread.since.0.saturating_add(PATIENCE_NANOSECONDS) <= now.0
        {
            self.waiting.pop_front();
            let is_same = self.by_socket.get(&socket).is_some_and(|known| known.since == unread.since);
            if is_same && self.settle(unread.tgid) {
                return Some(unread);
            }
        }
        None
    }

    /// True the first time.
    fn settle(&mut self, tgid: u32) -> bool {
        if self.settled.len() >= PROCESSES {
            self.settled.clear();
        }
        self.settled.insert(tgid)
    }

    pub fn handle_exit(&mut self, tgid: u32) {
        self.settled.remove(&tgid);
    }

    /// A process's plaintext was seen: what is known of the handshake on the socket, where that is known. It is asked for once.
    pub fn take(&mut self, tgid: u32, socket: u64) -> Option<Rc<Handshake>> {
        self.settle(tgid);
        let known = self.by_socket.remove(&socket)?;
        self.heads_alone -= known.heads_alone();
        Some(Rc::new(known.handshake))
    }
}

impl Known {
    fn heads_alone(&self) -> usize {
        self.head_alone.iter().filter(|alone| **alone).count()
    }

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
            assert_eq!(handshakes.take(7, 5).expect("it was seen").version, Some("1.2"));
            assert!(handshakes.take(7, 5).is_none());
        }
    }

    #[test]
    fn who_says_hello_and_no_more_is_named_once() {
        let mut handshakes = Handshakes::default();
        let says = |tgid, time_ns| DataRecord { tgid, time_ns, ..DataRecord::zeroed() };
        for (tgid, time_ns, socket) in [(7, 10, 1), (7, 20, 2), (8, 30, 3), (9, 40, 4)] {
            handshakes.handle_data(Some(socket), &says(tgid, time_ns), &server_hello());
        }
        // Plaintext on one socket says that the process is read.
        assert!(handshakes.take(8, 3).is_some());
        assert_eq!(handshakes.poll_unread(KernelTime(PATIENCE_NANOSECONDS)), None);
        let now = KernelTime(PATIENCE_NANOSECONDS + 39);
        assert_eq!(handshakes.poll_unread(now), Some(Unread { tgid: 7, since: KernelTime(10) }));
        assert_eq!(handshakes.poll_unread(now), None);
        assert_eq!(handshakes.poll_unread(KernelTime(now.0 + 1)).map(|unread| unread.tgid), Some(9));
    }

    /// The first connection's process has ended meanwhile, or it would have used the socket for something.
    #[test]
    fn a_socket_that_becomes_another_one_s_gives_up_the_first() {
        let mut handshakes = Handshakes::default();
        let says = |tgid, connection, time_ns| DataRecord { tgid, connection, time_ns, ..DataRecord::zeroed() };
        handshakes.handle_data(Some(5), &says(7, 1, 10), &server_hello());
        handshakes.handle_data(Some(5), &says(7, 1, 11), &server_hello());
        assert_eq!(handshakes.poll_unread(KernelTime(20)), None);
        handshakes.handle_data(Some(5), &says(8, 2, 30), &server_hello()[..RECORD_HEAD_BYTES]);
        assert_eq!(handshakes.poll_unread(KernelTime(30)), Some(Unread { tgid: 7, since: KernelTime(10) }));
        // The head that came alone is forgotten with its connection.
        handshakes.handle_data(Some(5), &says(9, 3, 40), &server_hello());
        assert_eq!(handshakes.heads_alone, 0);
        assert!(handshakes.take(9, 5).is_some_and(|known| known.version == Some("1.2")));
        assert_eq!(handshakes.poll_unread(KernelTime(50)).map(|unread| unread.tgid), Some(8));
        assert_eq!(handshakes.poll_unread(KernelTime(PATIENCE_NANOSECONDS * 2)), None);
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
