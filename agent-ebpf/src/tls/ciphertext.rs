// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Programs that carry their records to the socket themselves, on an event loop: which session a socket belongs to is told
//! by the bytes. What a library encrypts inside a call on a session, and what is then sent on a socket, begin alike.
//!
//! Sixteen bytes behind the head of a TLS record are compared: a hello's random bytes, or ciphertext. Once is enough for
//! the life of a session. Records that do not go out as they came, or not first in a send, leave it unbound.

use agent_common::plaintext::SessionKey;
use aya_ebpf::{helpers::bpf_probe_read_user, macros::map, maps::LruHashMap};

use super::{calls, flag::Flag, plaintext::announce_place, rustls, sessions};
use crate::{
    gather::{first_byte, gathered},
    processes::Thread,
    transfer::{Payload, scratch_and_connection},
};

/// Records that wait to be sent. Larger: kernel memory, 100 bytes each. Smaller: with more sessions that begin at once, some
/// stay without an address.
const RECORDS: u32 = 8192;

#[map]
static SESSION_BY_CIPHERTEXT: LruHashMap<[u64; 2], SessionKey> = LruHashMap::with_max_entries(RECORDS, 0);

/// Set once a record has waited: until then no send is looked at.
static COMPARES_RECORDS: Flag = Flag::new();

/// RFC 8446, section 5.1: a type, a version, a length.
const HEAD_BYTES: u64 = 5;
const FIRST_TYPE: u8 = 20;
const LAST_TYPE: u8 = 23;
const VERSION_MAJOR: u8 = 3;

/// Bytes without which nothing is compared.
const COMPARED_BYTES: u64 = HEAD_BYTES + 16;

/// A hello that asks for another one has the same random bytes always (RFC 8446, section 4.1.3): the third to the tenth.
const RETRY: u64 = u64::from_ne_bytes([0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d]);

/// A library hands out what it has encrypted, inside a call of this thread.
#[inline(always)]
pub fn encrypted(thread: Thread, stack: u64, from: u64, bytes: u64) -> Option<()> {
    let call = calls::current(thread, stack)?;
    if call.socket != 0 || bytes < COMPARED_BYTES {
        return None;
    }
    let key = sessions::key(thread.tgid, call.session);
    // SAFETY: a map value.
    if sessions::get(&key).is_some_and(|session| unsafe { (*session).socket != 0 }) {
        return None;
    }
    wait(&record(from)?, &key)
}

/// The session, or the object, of which a record's bytes begin at `from`, behind its head.
#[inline(always)]
pub fn wait_for(from: u64, key: &SessionKey) -> Option<()> {
    wait(&begins(from)?, key)
}

#[inline(always)]
fn wait(begins: &[u64; 2], key: &SessionKey) -> Option<()> {
    SESSION_BY_CIPHERTEXT.insert(begins, key, 0).ok()?;
    COMPARES_RECORDS.set();
    Some(())
}

/// Whether the first bytes of what is sent are to be shown to [`compare_sent`].
#[inline(always)]
pub fn compares_sent(bytes: u32) -> bool {
    COMPARES_RECORDS.is_set() && u64::from(bytes) >= COMPARED_BYTES
}

/// What was sent on the socket in the scratch is shown to those who know its bytes.
#[inline(always)]
pub fn compare_sent(payload: Payload, slot: u64) {
    let Payload { kind, place, skipped } = payload;
    compare_bytes(kind, place, skipped, slot);
}

/// A function of its own with plain numbers: the verifier walks it once.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn compare_bytes(kind: u64, place: u64, skipped: u64, slot: u64) -> u64 {
    let Some((scratch, _)) = scratch_and_connection(slot) else { return 0 };
    if let Some(from) = first_byte(kind, place, skipped) {
        let _ = sent(gathered!(scratch.found.sk), from);
    }
    0
}

/// Bytes that begin at `from` were sent on a socket.
#[inline(always)]
fn sent(sk: u64, from: u64) -> Option<()> {
    let begins = record(from)?;
    let key = SESSION_BY_CIPHERTEXT.get_ptr(&begins)?;
    // SAFETY: a map value.
    let key = unsafe { *key };
    let _ = SESSION_BY_CIPHERTEXT.remove(&begins);
    if rustls::is_object(&key) {
        let key = rustls::object_sent(&key, sk)?;
        // Nothing may have been said yet.
        sessions::bind(&key, sessions::get(&key)?, sk);
        return announce_place(&key);
    }
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
    begins(from + HEAD_BYTES)
}

#[inline(always)]
fn begins(from: u64) -> Option<[u64; 2]> {
    // SAFETY: the helper checks the address in the process.
    let begins: [u64; 2] = unsafe { bpf_probe_read_user(from as *const [u64; 2]).ok()? };
    (begins[1] != RETRY).then_some(begins)
}
