// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! rustls: one record is encrypted, or decrypted, by a method of an object that lies still as long as its key is in use.
//!
//! In: the methods' arguments (`MessageEncrypter::encrypt`, `MessageDecrypter::decrypt`), and what they leave behind. Out: the
//! plaintext of records that carry data. What came in is bound by the memory that it was received into and decrypted in; what
//! goes out by the bytes of the record, which somebody sends then.
//! Does not: know how the compiler has laid out a connection, which moves about. The two arguments that are looked into are
//! believed only where lengths and heads are a record's.

use agent_common::{losses::Loss, plaintext::SessionKey};
use aya_ebpf::{
    helpers::bpf_probe_read_user,
    macros::map,
    maps::{Array, LruHashMap},
};

use super::{
    arguments::RustMethod,
    ciphertext,
    plaintext::{SENT_BIT, tls_said},
    receives, sessions,
};
use crate::{emit::count, entries::now, processes::Thread};

/// Threads whose call is remembered. Larger: kernel memory, 100 bytes each. Smaller: of two threads whose ids collide while
/// both are in such a call, one is not read, and counted.
const CALLS: u32 = 4096;

/// Objects that encrypt. Larger: kernel memory, 80 bytes each. Smaller: with more connections at once the longest silent ones
/// have to be found again, and their next record is not read, and counted.
const ENCRYPTERS: u32 = 8192;

/// Slices that one record is made of. Larger: more instructions. Smaller: programs that write many small pieces at once are
/// read to this one only.
const SLICES: u64 = 24;

/// RFC 8446, section 5.1; RFC 5246, section 6.2.1.
const HEAD_BYTES: u64 = 5;
const APPLICATION_DATA: u8 = 23;
const VERSION: [u8; 2] = [3, 3];

/// What a record is longer than its plaintext by: TLS 1.3, with its type; 1.2, with or without a nonce before it.
const OVER_1_3: u64 = 17;
const OVER_1_2: u64 = 16;
const NONCE_BYTES: u64 = 8;
const MOST_BYTES: u64 = 1 << 14;

/// `ContentType::ApplicationData` and `ProtocolVersion::TLSv1_2`, which all such messages have, by their places among the variants;
/// a byte of the six and two of them, in either order.
const DATA: u64 = 3;
const TLS_1_2: u64 = 4;

#[inline(always)]
fn is_data(kind: u64) -> bool {
    let type_first = kind & 0xff == DATA && kind >> 16 & 0xffff == TLS_1_2;
    let version_first = kind & 0xffff == TLS_1_2 && kind >> 32 & 0xff == DATA;
    type_first || version_first
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    /// 0 where the slot is free.
    thread: u64,
    /// The stack pointer at the method's entry.
    stack: u64,
    object: u64,
    result: u64,
    sequence: u64,
    time_ns: u64,
    /// The slice, or an array of slices of which `skipped` bytes are not of this record.
    place: u64,
    slices: u64,
    skipped: u64,
    bytes: u64,
    is_data: u64,
}

/// By the low bits of the thread's id.
#[map]
static RUST_CALL_BY_THREAD: Array<Call> = Array::with_max_entries(CALLS, 0);

/// An object that encrypts: the socket on which its records were seen, or 0 and what its session is called until then.
#[repr(C)]
#[derive(Clone, Copy)]
struct Encrypter {
    socket: u64,
    session: u64,
}

#[map]
static ENCRYPTER_BY_OBJECT: LruHashMap<SessionKey, Encrypter> = LruHashMap::with_max_entries(ENCRYPTERS, 0);

/// Set in the address of an object where another one's could stand: objects lie at even addresses.
const OBJECT_BIT: u64 = 1;

#[inline(always)]
fn slot(thread: Thread) -> Option<&'static mut Call> {
    // SAFETY: a map value; other threads that share the slot make it not match.
    RUST_CALL_BY_THREAD.get_ptr_mut(thread.tid % CALLS).map(|slot| unsafe { &mut *slot })
}

/// `OutboundPlainMessage`: an enum `OutboundChunks` of one slice, behind a null, or of an array of them with a beginning and an
/// end; then a type and a version.
#[inline(always)]
pub fn encrypt_begins(thread: Thread, stack: u64, method: RustMethod) -> Option<()> {
    receives::want();
    // SAFETY: the helper checks the address in the process.
    let [array, first, second, end, kind] = unsafe { bpf_probe_read_user(method.message as *const [u64; 5]).ok()? };
    let is_single = array == 0;
    let call = slot(thread)?;
    if call.thread != 0 && call.thread != thread.key() {
        count(Loss::TlsCallsCollided, 1);
    }
    *call = Call {
        thread: thread.key(),
        stack,
        object: method.object,
        result: method.result,
        sequence: method.sequence,
        time_ns: now(),
        place: if is_single { first } else { array },
        slices: if is_single { 0 } else { first },
        skipped: if is_single { 0 } else { second },
        bytes: if is_single { second } else { end.wrapping_sub(second) },
        is_data: u64::from(is_data(kind)),
    };
    Some(())
}

#[inline(always)]
fn take(thread: Thread, stack: u64) -> Option<Call> {
    let slot = slot(thread)?;
    if slot.thread != thread.key() || slot.stack != stack {
        return None;
    }
    slot.thread = 0;
    Some(*slot)
}

#[inline(always)]
pub fn encrypt_ends(thread: Thread, stack: u64) -> Option<()> {
    let call = take(thread, stack)?;
    if call.bytes > MOST_BYTES {
        return None;
    }
    let (record, is_1_3) = encrypted(call.result, call.bytes)?;
    let object = sessions::key(thread.tgid, call.object);
    let known = ENCRYPTER_BY_OBJECT.get_ptr_mut(&object);
    // SAFETY: a map value.
    let known = known.map(|known| unsafe { *known });
    // A new key is a new object, if at an old one's address.
    let encrypter = match known {
        Some(known) if call.sequence != 0 => known,
        _ => {
            let fresh = Encrypter { socket: 0, session: now() << 1 | OBJECT_BIT };
            ENCRYPTER_BY_OBJECT.insert(&object, &fresh, 0).ok()?;
            fresh
        }
    };
    if encrypter.socket == 0 {
        ciphertext::wait_for(record + HEAD_BYTES, &sessions::key(thread.tgid, call.object | OBJECT_BIT));
    }
    if call.is_data == 0 || call.bytes == 0 {
        return None;
    }
    let is_first = call.sequence == u64::from(!is_1_3);
    if encrypter.socket == 0 && !is_first {
        // It was said on a session that is known by its socket, perhaps, and this one's is not.
        count(Loss::RecordUnbound, 1);
        return None;
    }
    let session = if encrypter.socket == 0 { encrypter.session } else { session_of(thread.tgid, encrypter.socket) };
    meet(thread.tgid, session, is_first);
    if call.slices == 0 {
        tls_said(session, call.place, call.bytes | SENT_BIT, call.time_ns, encrypter.socket);
    } else {
        say_slices(&call, session, encrypter.socket);
    }
    Some(())
}

#[inline(always)]
fn say_slices(call: &Call, session: u64, socket: u64) {
    let (mut skipped, mut left) = (call.skipped, call.bytes);
    for index in 0..SLICES {
        if index >= call.slices || left == 0 {
            return;
        }
        // SAFETY: the helper checks the address in the process.
        let slice = unsafe { bpf_probe_read_user((call.place + index * 16) as *const [u64; 2]) };
        let Ok([from, length]) = slice else { return };
        if skipped >= length {
            skipped -= length;
            continue;
        }
        let length = if length - skipped < left { length - skipped } else { left };
        tls_said(session, from + skipped, length | SENT_BIT, call.time_ns, socket);
        (skipped, left) = (0, left - length);
    }
    if left != 0 {
        // A length at an address that nobody can read.
        tls_said(session, 0, left | SENT_BIT, call.time_ns, socket);
    }
}

/// Where the record lies that a call has made of so many bytes, and whether it is one of TLS 1.3. A `Result` of a `Vec`: its
/// capacity, place and length, at its beginning or behind a word.
#[inline(always)]
fn encrypted(result: u64, bytes: u64) -> Option<(u64, bool)> {
    // SAFETY: the helper checks the address in the process.
    let words: [u64; 4] = unsafe { bpf_probe_read_user(result as *const [u64; 4]).ok()? };
    let (place, length) = if is_length(words[2], bytes) {
        (words[1], words[2])
    } else if is_length(words[3], bytes) {
        (words[2], words[3])
    } else {
        return None;
    };
    Some((place, length == HEAD_BYTES + bytes + OVER_1_3))
}

#[inline(always)]
fn is_length(length: u64, bytes: u64) -> bool {
    let over = length.wrapping_sub(HEAD_BYTES + bytes);
    over == OVER_1_3 || over == OVER_1_2 || over == OVER_1_2 + NONCE_BYTES
}

/// `InboundOpaqueMessage`: a slice, then a version and a type. The slice lies where it was received.
#[inline(always)]
pub fn decrypt_begins(thread: Thread, stack: u64, method: RustMethod) -> Option<()> {
    receives::want();
    // SAFETY: the helper checks the address in the process.
    let [place, bytes] = unsafe { bpf_probe_read_user(method.message as *const [u64; 2]).ok()? };
    // SAFETY: as above.
    let head: [u8; 5] = unsafe { bpf_probe_read_user(place.wrapping_sub(HEAD_BYTES) as *const [u8; 5]).ok()? };
    let length = u64::from(head[3]) << 8 | u64::from(head[4]);
    if head[0] != APPLICATION_DATA || head[1] != VERSION[0] || head[2] != VERSION[1] || length != bytes {
        return None;
    }
    let call = slot(thread)?;
    *call = Call {
        thread: thread.key(),
        stack,
        object: 0,
        result: 0,
        sequence: method.sequence,
        time_ns: 0,
        place,
        slices: 0,
        skipped: 0,
        bytes,
        is_data: 1,
    };
    Some(())
}

/// In TLS 1.3 the type stands behind the plaintext, which nobody pads. In 1.2 the head has said it.
#[inline(always)]
pub fn decrypt_ends(thread: Thread, stack: u64, kind: RecordKind) -> Option<()> {
    let call = take(thread, stack)?;
    let (place, bytes) = match kind {
        RecordKind::Typed => {
            let bytes = call.bytes.checked_sub(OVER_1_3)?;
            // SAFETY: the helper checks the address in the process.
            let kind: u8 = unsafe { bpf_probe_read_user((call.place + bytes) as *const u8).ok()? };
            if kind != APPLICATION_DATA {
                return None;
            }
            (call.place, bytes)
        }
        RecordKind::Nonced => (call.place + NONCE_BYTES, call.bytes.checked_sub(OVER_1_2 + NONCE_BYTES)?),
        RecordKind::Bare => (call.place, call.bytes.checked_sub(OVER_1_2)?),
    };
    if bytes == 0 || bytes > MOST_BYTES {
        return None;
    }
    // Its last byte came last.
    let (first, last) = (call.place - HEAD_BYTES, call.place + call.bytes - 1);
    let Some(socket) = receives::socket_of(thread, first, last) else {
        count(Loss::RecordUnbound, 1);
        return None;
    };
    let session = session_of(thread.tgid, socket);
    meet(thread.tgid, session, call.sequence == u64::from(kind != RecordKind::Typed));
    tls_said(session, place, bytes, 0, socket);
    Some(())
}

/// What lies around the plaintext of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// TLS 1.3: its type, and a tag.
    Typed,
    /// 1.2 with AES-GCM: a nonce, and a tag.
    Nonced,
    /// 1.2 with ChaCha20: a tag.
    Bare,
}

/// The session that has the socket, or will have it.
#[inline(always)]
fn session_of(tgid: u32, socket: u64) -> u64 {
    match sessions::on_socket(socket) {
        Some(key) if key.tgid == u64::from(tgid) => key.address,
        _ => socket,
    }
}

#[inline(always)]
fn meet(tgid: u32, session: u64, is_first: bool) {
    let key = sessions::key(tgid, session);
    if is_first && sessions::get(&key).is_none() {
        sessions::create(&key);
    }
}

/// A record was sent on a socket that an object was waiting for, if this is one's name.
#[inline(always)]
pub fn object_sent(key: &SessionKey, socket: u64) -> Option<SessionKey> {
    let object = SessionKey { tgid: key.tgid, address: key.address & !OBJECT_BIT };
    let encrypter = ENCRYPTER_BY_OBJECT.get_ptr_mut(&object)?;
    // SAFETY: a map value.
    let encrypter = unsafe { &mut *encrypter };
    encrypter.socket = socket;
    Some(SessionKey { tgid: key.tgid, address: encrypter.session })
}

#[inline(always)]
pub const fn is_object(key: &SessionKey) -> bool {
    key.address & OBJECT_BIT != 0
}
