// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! TLS sessions, by process and by the address at which the library keeps them.
//!
//! An entry ends with its socket, or when the library frees the session, or when a new one is made at its address.

use agent_common::{
    limits::TLS_SESSIONS,
    losses::Loss,
    plaintext::{SESSION_BIT, SESSION_FRESH, SESSION_INTERRUPTED, Session, SessionKey},
    records::{CLOSED_FINISHED, CLOSED_RESET, CONNECTION_RESET},
};
use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, helpers::bpf_get_prandom_u32, macros::map, maps::HashMap};

use crate::{
    connection,
    emit::count,
    fields::field,
    socket::{self, Socket},
};

#[map]
static SESSIONS: HashMap<SessionKey, Session> = HashMap::with_max_entries(TLS_SESSIONS, BPF_F_NO_PREALLOC);

#[map]
static SESSION_BY_SOCKET: HashMap<u64, SessionKey> = HashMap::with_max_entries(TLS_SESSIONS, BPF_F_NO_PREALLOC);

#[inline(always)]
pub const fn key(tgid: u32, address: u64) -> SessionKey {
    SessionKey { tgid: tgid as u64, address }
}

#[inline(always)]
pub fn get(key: &SessionKey) -> Option<*mut Session> {
    SESSIONS.get_ptr_mut(key)
}

/// A session is made: nothing was said on it yet.
#[inline(always)]
pub fn create(key: &SessionKey) {
    end(key);
    let _ = enter(key, SESSION_FRESH);
}

/// The session, entered where it was not known: it is older than the watch.
#[inline(always)]
pub fn meet(key: &SessionKey) -> Option<*mut Session> {
    match get(key) {
        Some(session) => Some(session),
        None => enter(key, 0),
    }
}

#[inline(always)]
fn enter(key: &SessionKey, flags: u64) -> Option<*mut Session> {
    // Where the beginning was not seen positions mean nothing to the other end: they must not match by chance.
    let (sent, received) = if flags & SESSION_FRESH != 0 { (0, 0) } else { (random(), random()) };
    let id = SESSION_BIT | u64::from(random()) << 31 | u64::from(random());
    connection::enter_counted(id, sent, received)?;
    let session = Session { id, socket: 0, flags };
    if SESSIONS.insert(key, &session, 0).is_err() {
        connection::forget(id);
        count(Loss::SessionTableFull, 1);
        return None;
    }
    get(key)
}

#[inline(always)]
fn random() -> u32 {
    // SAFETY: takes no argument.
    unsafe { bpf_get_prandom_u32() }
}

/// A call on the session may have moved bytes unseen, where its beginning was not seen either.
#[inline(always)]
pub fn interrupt(key: &SessionKey) {
    if let Some(session) = meet(key) {
        // SAFETY: a map value.
        let session = unsafe { &mut *session };
        // SAFETY: as above.
        let is_silent = connection::get(session.id).is_some_and(|connection| unsafe { (*connection).turn } == 0);
        if session.flags & SESSION_FRESH == 0 && is_silent {
            session.flags |= SESSION_INTERRUPTED;
        }
    }
}

/// Binds a session to the socket that it was seen to use. One that is bound stays so as long as its socket lives.
#[inline(always)]
pub fn bind(key: &SessionKey, session: *mut Session, sk: u64) {
    // SAFETY: a map value.
    let session = unsafe { &mut *session };
    if sk == 0 || session.socket != 0 || !is_stream(sk) {
        return;
    }
    // A session that was freed unseen has left its socket to this one.
    if let Some(before) = SESSION_BY_SOCKET.get_ptr(&sk) {
        // SAFETY: a map value.
        let before = unsafe { *before };
        if before != *key {
            finish(&before, CLOSED_FINISHED);
            let _ = SESSIONS.remove(&before);
        }
    }
    if SESSION_BY_SOCKET.insert(&sk, key, 0).is_err() {
        count(Loss::SessionTableFull, 1);
        return;
    }
    session.socket = sk;
}

/// A session is given its socket's descriptor. Where it had another socket before, this is the beginning of another one.
#[inline(always)]
pub fn give(key: &SessionKey, descriptor: u32) -> Option<()> {
    let found = socket::find(descriptor)?;
    // SAFETY: a map value.
    if get(key).is_some_and(|session| unsafe { (*session).socket != 0 && (*session).socket != found.sk }) {
        create(key);
    }
    bind(key, meet(key)?, found.sk);
    Some(())
}

/// TLS needs a stream; what a library's callback logs to by the way is none, most of the time.
#[inline(always)]
fn is_stream(sk: u64) -> bool {
    let socket = field!(u64, sk, sock_socket);
    socket.is_some_and(|socket| Socket { socket, sk }.followed_family().is_some())
}

/// The library frees a session.
#[inline(always)]
pub fn end(key: &SessionKey) {
    let Some(session) = get(key) else { return };
    // SAFETY: a map value.
    let sk = unsafe { (*session).socket };
    finish(key, CLOSED_FINISHED);
    let _ = SESSIONS.remove(key);
    if sk != 0 {
        let _ = SESSION_BY_SOCKET.remove(&sk);
    }
}

/// The session that is bound to a socket.
#[inline(always)]
pub fn on_socket(sk: u64) -> Option<SessionKey> {
    // SAFETY: a map value.
    SESSION_BY_SOCKET.get_ptr(&sk).map(|key| unsafe { *key })
}

#[inline(always)]
pub fn socket_gone(sk: u64) {
    let Some(key) = SESSION_BY_SOCKET.get_ptr(&sk) else { return };
    // SAFETY: a map value.
    let key = unsafe { *key };
    let reset = connection::get(sk).is_some_and(|connection| {
        // SAFETY: a map value.
        unsafe { (*connection).flags & CONNECTION_RESET != 0 }
    });
    finish(&key, if reset { CLOSED_RESET } else { CLOSED_FINISHED });
    let _ = SESSIONS.remove(&key);
    let _ = SESSION_BY_SOCKET.remove(&sk);
}

/// Reports a session's end, if anything was said on it, and forgets its connection.
#[inline(always)]
fn finish(key: &SessionKey, reason: u32) {
    let Some(session) = get(key) else { return };
    // SAFETY: a map value.
    let id = unsafe { (*session).id };
    if let Some(connection) = connection::get(id) {
        // SAFETY: as above.
        if unsafe { (*connection).turn } != 0 {
            connection::finish(connection, reason);
        }
        connection::forget(id);
    }
}
