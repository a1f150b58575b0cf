// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Programs that carry their records to the socket themselves, on an event loop: which session a socket belongs to is told
//! by the bytes. What a library encrypts inside a call on a session, and what is then sent on a socket, begin alike.
//!
//! Sixteen bytes behind the head of a TLS record are compared: a hello's random bytes, or ciphertext. Once is enough for
//! the life of a session. Records that do not go out as they came, or not first in a send, leave it unbound.

use agent_common::plaintext::SessionKey;
use aya_ebpf::{
    helpers::bpf_probe_read_user,
    macros::map,
    maps::{Array, LruHashMap},
};

use super::{calls, sessions};
use crate::processes::Thread;

/// Records that wait to be sent. Larger: kernel memory, 100 bytes each. Smaller: with more sessions that begin at once, some
/// stay without an address.
const RECORDS: u32 = 8192;

#[map]
static SESSION_BY_CIPHERTEXT: LruHashMap<[u64; 2], SessionKey> = LruHashMap::with_max_entries(RECORDS, 0);

/// Not zero once a record has waited: until then no send is looked at.
#[map]
static COMPARES_RECORDS: Array<u32> = Array::with_max_entries(1, 0);

/// RFC 8446, section 5.1: a type, a version, a length.
const HEAD_BYTES: u64 = 5;
const FIRST_TYPE: u8 = 20;
const LAST_TYPE: u8 = 23;
const VERSION_MAJOR: u8 = 3;

/// Bytes without which nothing is compared.
pub const COMPARED_BYTES: u64 = HEAD_BYTES + 16;

/// A hello that asks for another one has the same random bytes always (RFC 8446, section 4.1.3): the third to the tenth.
const RETRY: u64 = u64::from_ne_bytes([0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d]);

/// A library hands out what it has encrypted, inside a call of this thread.
#[inline(always)]
pub fn encrypted(thread: Thread, from: u64, bytes: u64) -> Option<()> {
    let call = calls::current(thread)?;
    if call.socket != 0 || bytes < COMPARED_BYTES {
        return None;
    }
    let key = sessions::key(thread.tgid, call.session);
    // SAFETY: a map value.
    if sessions::get(&key).is_some_and(|session| unsafe { (*session).socket != 0 }) {
        return None;
    }
    let begins = record(from)?;
    SESSION_BY_CIPHERTEXT.insert(&begins, &key, 0).ok()?;
    let compares = COMPARES_RECORDS.get_ptr_mut(0)?;
    // SAFETY: the only entry of an array; every writer writes the same.
    unsafe { *compares = 1 }
    Some(())
}

#[inline(always)]
pub fn is_compared() -> bool {
    // SAFETY: the only entry of an array.
    COMPARES_RECORDS.get_ptr(0).is_some_and(|compares| unsafe { *compares != 0 })
}

/// Bytes that begin at `from` were sent on a socket.
#[inline(always)]
pub fn sent(sk: u64, from: u64) -> Option<()> {
    let begins = record(from)?;
    let key = SESSION_BY_CIPHERTEXT.get_ptr(&begins)?;
    // SAFETY: a map value.
    let key = unsafe { *key };
    let _ = SESSION_BY_CIPHERTEXT.remove(&begins);
    sessions::bind(&key, sessions::meet(&key)?, sk);
    Some(())
}

/// What tells a record from every other one; absent where no record begins there, or one that does not tell.
#[inline(always)]
fn record(from: u64) -> Option<[u64; 2]> {
    // SAFETY: the helper checks the addresses in the process.
    let head: [u8; 2] = unsafe { bpf_probe_read_user(from as *const [u8; 2]).ok()? };
    if head[0] < FIRST_TYPE || head[0] > LAST_TYPE || head[1] != VERSION_MAJOR {
        return None;
    }
    // SAFETY: as above.
    let begins: [u64; 2] = unsafe { bpf_probe_read_user((from + HEAD_BYTES) as *const [u64; 2]).ok()? };
    (begins[1] != RETRY).then_some(begins)
}
