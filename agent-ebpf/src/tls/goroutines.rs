// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Go's `crypto/tls`: who reads, and the socket that a connection holds.
//!
//! `Conn.Read` learns at its entry whose bytes it will give, and hands them over by a copy further on, on the same
//! goroutine. Results on return are not looked at: a return probe writes to a stack that Go may move.

use agent_common::{losses::Loss, plaintext::SessionKey};
use aya_ebpf::{helpers::bpf_probe_read_user, macros::map, maps::LruHashMap};

use crate::{emit::count, socket};

/// Readers that are remembered. Larger: kernel memory, 100 bytes each. Smaller: with more goroutines that wait in a read at
/// once, what the longest waiting ones get is not seen, and counted.
const READERS: u32 = 16_384;

/// The connection that a goroutine reads from.
#[map]
static CONNECTION_BY_GOROUTINE: LruHashMap<SessionKey, u64> = LruHashMap::with_max_entries(READERS, 0);

/// `net.netFD`: a mutex of sixteen bytes, the descriptor, 32 bytes of the poller, the family and the type. The same from
/// Go 1.9 to 1.26 (src/net/fd_posix.go, src/internal/poll/fd_unix.go).
#[repr(C)]
#[derive(Clone, Copy)]
struct NetDescriptor {
    mutex: [u64; 2],
    descriptor: i64,
    poller: [u64; 4],
    family: u64,
    kind: u64,
}

const STREAM: u64 = 1;

/// `bytes.Reader`: a slice and how far it was read (src/bytes/reader.go).
#[repr(C)]
#[derive(Clone, Copy)]
struct BytesReader {
    start: u64,
    length: u64,
    capacity: u64,
    read: u64,
}

#[inline(always)]
pub fn begin_read(tgid: u32, goroutine: u64, connection: u64) {
    let key = SessionKey { tgid: u64::from(tgid), address: goroutine };
    let _ = CONNECTION_BY_GOROUTINE.insert(&key, &connection, 0);
}

#[inline(always)]
pub fn reader(tgid: u32, goroutine: u64) -> Option<u64> {
    let key = SessionKey { tgid: u64::from(tgid), address: goroutine };
    let connection = CONNECTION_BY_GOROUTINE.get_ptr(&key);
    if connection.is_none() {
        count(Loss::ReaderUnknown, 1);
    }
    // SAFETY: a map value.
    connection.map(|connection| unsafe { *connection })
}

/// What a `bytes.Reader` will give to a buffer of `room` bytes: where it lies and how much it is.
#[inline(always)]
pub fn unread(reader: u64, room: u64) -> Option<(u64, u64)> {
    // SAFETY: the helper checks the address in the process.
    let reader = unsafe { bpf_probe_read_user(reader as *const BytesReader).ok()? };
    let left = reader.length.checked_sub(reader.read)?;
    Some((reader.start.wrapping_add(reader.read), if left < room { left } else { room }))
}

/// The socket of a `tls.Conn`: its first field is the `net.Conn` below it, in most programs a `*net.TCPConn`, which is known
/// by what it leads to. Another kind of connection gives none.
#[inline(always)]
pub fn socket(connection: u64) -> Option<u64> {
    // SAFETY: the helper checks the addresses in the process.
    let below: [u64; 2] = unsafe { bpf_probe_read_user(connection as *const [u64; 2]).ok()? };
    // SAFETY: as above.
    let network: u64 = unsafe { bpf_probe_read_user(below[1] as *const u64).ok()? };
    // SAFETY: as above.
    let found = unsafe { bpf_probe_read_user(network as *const NetDescriptor).ok()? };
    let is_internet = found.family == u64::from(socket::FAMILY_V4) || found.family == u64::from(socket::FAMILY_V6);
    if !is_internet || found.kind != STREAM || found.descriptor < 0 {
        return None;
    }
    let found = socket::find(found.descriptor as u32)?;
    found.followed_family().map(|_| found.sk)
}
