// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The programs at probes in libraries: each in two forms, for one link over many places (Linux 6.6) and for a link a place.

use agent_common::plaintext::{Action, Cookie, Given, Told};
use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_probe_read_user, generated::bpf_get_attach_cookie},
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};

use super::{
    IS_SPOKEN,
    arguments::{self, RETURN_ADDRESS_BYTES},
    calls::{self, TlsCall},
    ciphertext, goroutines,
    plaintext::{SENT_BIT, tls_said},
    rustls::{self, RecordKind},
    sessions,
};
use crate::{
    entries::now,
    processes::{self, Thread},
};

#[uprobe(multi)]
pub fn tls_enter_multi(context: ProbeContext) -> Option<()> {
    enter(&context)
}

#[uprobe]
pub fn tls_enter(context: ProbeContext) -> Option<()> {
    enter(&context)
}

#[uprobe(multi)]
pub fn tls_leave_multi(context: ProbeContext) -> Option<()> {
    leave(&context)
}

#[uprobe]
pub fn tls_leave(context: ProbeContext) -> Option<()> {
    leave(&context)
}

#[uretprobe(multi)]
pub fn tls_return_multi(context: RetProbeContext) -> Option<()> {
    caught(&context)
}

#[uretprobe]
pub fn tls_return(context: RetProbeContext) -> Option<()> {
    caught(&context)
}

#[uprobe(multi)]
pub fn tls_go_multi(context: ProbeContext) -> Option<()> {
    go(&context)
}

#[uprobe]
pub fn tls_go(context: ProbeContext) -> Option<()> {
    go(&context)
}

/// The thread, where it is one of a watched process: others pass the same probes.
#[inline(always)]
fn watched() -> Option<Thread> {
    let thread = processes::current();
    if !processes::is_captured(processes::watch(thread.tgid)) {
        return None;
    }
    IS_SPOKEN.set();
    Some(thread)
}

#[inline(always)]
fn enter(context: &ProbeContext) -> Option<()> {
    let thread = watched()?;
    // SAFETY: the program's own context.
    let cookie = Cookie(unsafe { bpf_get_attach_cookie(context.as_ptr()) });
    let stack = arguments::stack(context) + cookie.stack();
    if cookie.action() == Action::Encrypt as u8 {
        return rustls::encrypt_begins(thread, stack, arguments::rust(context));
    }
    if cookie.action() == Action::Decrypt as u8 {
        return rustls::decrypt_begins(thread, stack, arguments::rust(context));
    }
    let first = context.arg::<u64>(0)?;
    if cookie.action() == Action::Destroy as u8 {
        sessions::end(&sessions::key(thread.tgid, first));
        return None;
    }
    if cookie.given() == Given::LayeredFirstArgument as u8 && !is_layered(first) {
        return None;
    }
    let buffer = context.arg::<u64>(1)?;
    let (fourth, fifth) = arguments::fourth_and_fifth(context);
    let told_at = if cookie.told() == Told::ThroughFifthArgument as u8 { fifth } else { fourth };
    if cookie.action() == Action::Ciphertext as u8 {
        return ciphertext::encrypted(thread, stack, buffer, u64::from(context.arg::<u32>(2)?));
    }
    if cookie.action() == Action::Descriptor as u8 {
        return sessions::give(&sessions::key(thread.tgid, first), buffer as u32);
    }
    if calls::is_after_unseen(thread) {
        sessions::interrupt(&sessions::key(thread.tgid, first));
    }
    let is_open = u64::from(cookie.action() == Action::OpenHandshake as u8);
    let (session, time_ns) = (first, now());
    let call = TlsCall { thread: thread.key(), session, buffer, told_at, time_ns, stack, socket: 0, is_open };
    calls::begin(thread, &call);
    None
}

/// `PR_DESC_LAYERED` of nspr/prio.h.
const LAYERED: u32 = 4;

/// A `PRFileDesc` begins with its `PRIOMethods`, and these with what it is a descriptor of: a file, a socket, or another
/// descriptor. TLS is a layer on one; files and sockets in clear pass the same functions.
#[inline(always)]
fn is_layered(descriptor: u64) -> bool {
    // SAFETY: the helper checks the addresses in the process.
    let methods = unsafe { bpf_probe_read_user(descriptor as *const u64) };
    // SAFETY: as above.
    methods.is_ok_and(|methods| unsafe { bpf_probe_read_user(methods as *const u32) } == Ok(LAYERED))
}

#[inline(always)]
fn leave(context: &ProbeContext) -> Option<()> {
    let thread = watched()?;
    // SAFETY: the program's own context.
    let cookie = Cookie(unsafe { bpf_get_attach_cookie(context.as_ptr()) });
    if cookie.unless().is_some_and(|condition| arguments::holds(context, condition)) {
        return None;
    }
    let result = arguments::result(context, cookie.result())?;
    ended(thread, cookie, result, arguments::stack(context) + cookie.stack())
}

#[inline(always)]
fn caught(context: &RetProbeContext) -> Option<()> {
    let thread = watched()?;
    // SAFETY: the program's own context.
    let cookie = Cookie(unsafe { bpf_get_attach_cookie(context.as_ptr()) });
    ended(thread, cookie, context.ret::<u64>(), arguments::stack_at_return(context) - RETURN_ADDRESS_BYTES)
}

/// A function gives its result, with the stack where it was at its entry.
#[inline(always)]
fn ended(thread: Thread, cookie: Cookie, result: u64, stack: u64) -> Option<()> {
    if cookie.action() == Action::Encrypt as u8 {
        return rustls::encrypt_ends(thread, stack);
    }
    if cookie.action() == Action::Decrypt as u8 {
        let kind = match cookie.told() {
            told if told == Told::TypedRecord as u8 => RecordKind::Typed,
            told if told == Told::NoncedRecord as u8 => RecordKind::Nonced,
            _ => RecordKind::Bare,
        };
        return rustls::decrypt_ends(thread, stack, kind);
    }
    if cookie.action() == Action::Create as u8 && cookie.given() == Given::Returned as u8 {
        if result != 0 {
            sessions::create(&sessions::key(thread.tgid, result));
        }
        return None;
    }
    let call = calls::end(thread, stack)?;
    if cookie.action() == Action::Create as u8 {
        // SAFETY: the helper checks the address in the process.
        let address = unsafe { bpf_probe_read_user(call.session as *const u64).ok()? };
        sessions::create(&sessions::key(thread.tgid, address));
        return None;
    }
    let bytes = match cookie.told() {
        told if told == Told::Returned as u8 => result as i32,
        told if is_through_argument(told) && result as i32 > 0 => {
            // SAFETY: as above.
            unsafe { bpf_probe_read_user(call.told_at as *const u64).ok()? as i32 }
        }
        _ => 0,
    };
    if bytes > 0 {
        let way = if cookie.action() == Action::Write as u8 { SENT_BIT } else { 0 };
        tls_said(call.session, call.buffer, bytes as u64 | way, call.time_ns, call.socket);
    } else if call.socket != 0 {
        // Nothing was said yet, but the socket is known from now on.
        let key = sessions::key(thread.tgid, call.session);
        sessions::bind(&key, sessions::meet(&key)?, call.socket);
    }
    None
}

#[inline(always)]
fn is_through_argument(told: u8) -> bool {
    told == Told::ThroughFourthArgument as u8 || told == Told::ThroughFifthArgument as u8
}

#[inline(always)]
fn go(context: &ProbeContext) -> Option<()> {
    let thread = watched()?;
    // SAFETY: the program's own context.
    let cookie = Cookie(unsafe { bpf_get_attach_cookie(context.as_ptr()) });
    if cookie.unless().is_some_and(|condition| arguments::holds(context, condition)) {
        return None;
    }
    let registers = arguments::go(context);
    let action = cookie.action();
    if action == Action::GoCreate as u8 {
        sessions::create(&sessions::key(thread.tgid, registers.first));
    } else if action == Action::GoRead as u8 {
        goroutines::begin_read(thread.tgid, registers.goroutine, registers.first);
    } else if action == Action::GoWrite as u8 {
        go_said(thread, registers.first, registers.second, registers.third, SENT_BIT);
    } else {
        let connection = goroutines::reader(thread.tgid, registers.goroutine)?;
        let (from, bytes) = if action == Action::GoCopyReader as u8 {
            goroutines::unread(registers.first, registers.third)?
        } else {
            (registers.second, registers.third)
        };
        go_said(thread, connection, from, bytes, 0);
    }
    None
}

#[inline(always)]
fn go_said(thread: Thread, connection: u64, from: u64, bytes: u64, way: u64) {
    if bytes == 0 || bytes > i32::MAX as u64 {
        return;
    }
    let key = sessions::key(thread.tgid, connection);
    // SAFETY: a map value.
    let is_bound = sessions::get(&key).is_some_and(|session| unsafe { (*session).socket != 0 });
    let sk = if is_bound { 0 } else { goroutines::socket(connection).unwrap_or(0) };
    tls_said(connection, from, bytes | way, now(), sk);
}
