// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! System calls that move bytes on sockets: the `syscall` backend.
//!
//! Everything is read when a call returns: its arguments are still in the saved registers, and calls that were already
//! in the kernel when the hook was attached are seen too. The entry only notes the time, for calls that send: what is
//! sent has left before the call returns, and a response must never seem older than its request.
//! Not seen here: io_uring, and the payload of sendfile and splice.

use agent_common::{
    limits::ENTRY_SLOTS,
    records::{CLOSED_FINISHED, CLOSED_RESET, CONNECTION_UNIX},
};
use aya_ebpf::{
    helpers::{bpf_probe_read_user, generated::bpf_ktime_get_ns},
    macros::{map, raw_tracepoint},
    maps::Array,
    programs::RawTracePointContext,
};

use crate::{
    connection, processes,
    processes::Thread,
    registers::{Call, number},
    socket,
    transfer::{self, Payload, Transfer},
};

/// `MSG_OOB`, `MSG_PEEK` and `MSG_ERRQUEUE`: what they give is not the next of the stream.
const NOT_THE_STREAM: u64 = 0x1 | 0x2 | 0x2000;
/// `MSG_TRUNC`: on TCP the bytes are thrown away, and the buffer holds whatever it held.
const THROWN_AWAY: u64 = 0x20;

/// Messages of one `sendmmsg` or `recvmmsg` that are read; on stream sockets more than one is rare.
const MESSAGES_PER_CALL: u64 = 8;

/// Size of `struct mmsghdr`; the length that was moved follows the `struct msghdr`.
const MESSAGE_BYTES: u64 = 64;
const MESSAGE_LENGTH_AT: u64 = 56;
/// `struct msghdr`: the vector, its length, and the flags, the latter as the kernel gives them back.
const HEADER_VECTOR_AT: u64 = 16;

/// When a thread entered the call that it is in.
#[repr(C)]
struct Entry {
    thread: u64,
    time_ns: u64,
}

/// By the low bits of the thread's id. A collision is noticed by the thread, and costs the time of entry.
#[map]
static ENTRY_BY_THREAD: Array<Entry> = Array::with_max_entries(ENTRY_SLOTS, 0);

#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn syscall_enter(context: RawTracePointContext) -> i32 {
    let thread = processes::current();
    if processes::is_captured(processes::watch(thread.tgid)) {
        enter(&context, thread);
    }
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn syscall_exit(context: RawTracePointContext) -> i32 {
    let thread = processes::current();
    if processes::is_captured(processes::watch(thread.tgid)) {
        let _ = exit(&context, thread);
    }
    0
}

#[inline(always)]
fn enter(context: &RawTracePointContext, thread: Thread) {
    match context.arg::<u64>(1) {
        number::WRITE
        | number::WRITEV
        | number::SENDTO
        | number::SENDMSG
        | number::SENDMMSG
        | number::SENDFILE
        | number::SPLICE
        | number::PWRITEV2 => note_entry(thread),
        number::CLOSE => {
            let _ = close(context);
        }
        _ => {}
    }
}

#[inline(always)]
fn note_entry(thread: Thread) {
    if let Some(entry) = ENTRY_BY_THREAD.get_ptr_mut(thread.tid % ENTRY_SLOTS) {
        // SAFETY: a map value; a thread that shares the slot makes it not match.
        unsafe {
            (*entry).thread = key(thread);
            (*entry).time_ns = bpf_ktime_get_ns();
        }
    }
}

#[inline(always)]
fn key(thread: Thread) -> u64 {
    u64::from(thread.tgid) << 32 | u64::from(thread.tid)
}

/// Unix sockets have no state to watch: the last descriptor's close is their end.
#[inline(always)]
fn close(context: &RawTracePointContext) -> Option<()> {
    let call = Call::read(context.arg::<u64>(0))?;
    let found = socket::find(call.arguments[0] as u32)?;
    let followed = connection::get(found.sk)?;
    // SAFETY: a map value.
    if unsafe { (*followed).flags } & CONNECTION_UNIX != 0 && found.is_last_reference() {
        connection::finish(followed, CLOSED_FINISHED);
        connection::forget(found.sk);
    }
    Some(())
}

#[inline(always)]
fn exit(context: &RawTracePointContext, thread: Thread) -> Option<()> {
    let result = context.arg::<i64>(1);
    if result < 0 && !is_broken(result) {
        return None;
    }
    let call = Call::read(context.arg::<u64>(0))?;
    let [descriptor, second, third, fourth] = call.arguments;
    let sent = match call.number {
        number::READ | number::READV | number::RECVFROM | number::RECVMSG | number::RECVMMSG | number::PREADV2 => false,
        number::WRITE
        | number::WRITEV
        | number::SENDTO
        | number::SENDMSG
        | number::SENDMMSG
        | number::PWRITEV2
        | number::SENDFILE => true,
        number::SPLICE => return splice(thread, &call, result),
        number::SHUTDOWN if result == 0 => return shutdown(thread, descriptor as u32, second),
        _ => return None,
    };
    if result < 0 {
        return broken(descriptor as u32);
    }
    let payload = match call.number {
        number::READ | number::WRITE | number::SENDTO => Payload::Buffer(second),
        number::RECVFROM if fourth & NOT_THE_STREAM != 0 => return None,
        number::RECVFROM if fourth & THROWN_AWAY != 0 => Payload::Unread,
        number::RECVFROM => Payload::Buffer(second),
        number::READV | number::WRITEV | number::PREADV2 | number::PWRITEV2 => {
            Payload::Vector { pieces: second, count: third }
        }
        number::SENDMSG => message(second)?,
        number::RECVMSG if third & NOT_THE_STREAM != 0 => return None,
        number::RECVMSG if third & THROWN_AWAY != 0 => Payload::Unread,
        number::RECVMSG => message(second)?,
        number::SENDMMSG | number::RECVMMSG => return messages(thread, &call, result as u64, sent),
        _ => Payload::Unread,
    };
    if result == 0 {
        // A read of nothing is the end of the stream, unless nothing was asked for.
        let asked = !matches!(call.number, number::READ | number::RECVFROM) || third != 0;
        return if sent || !asked { None } else { transfer::report_received_end(descriptor as u32, thread, now()) };
    }
    report(thread, descriptor as u32, sent, result as u64, 0, payload)
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: takes no argument.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
fn report(thread: Thread, descriptor: u32, sent: bool, bytes: u64, later: u64, payload: Payload) -> Option<()> {
    let now = now();
    let mut time_ns = now;
    if sent && let Some(entry) = ENTRY_BY_THREAD.get_ptr_mut(thread.tid % ENTRY_SLOTS) {
        // SAFETY: a map value.
        let (owner, entered) = unsafe { ((*entry).thread, (*entry).time_ns) };
        if owner == key(thread) && entered < now {
            time_ns = entered;
        }
    }
    let duration = now - time_ns;
    let duration_ns = if duration > u64::from(u32::MAX) { u32::MAX } else { duration as u32 };
    transfer::report(
        descriptor,
        &Transfer { thread, sent, bytes: bytes as u32, later: later as u32, payload, time_ns, duration_ns },
    )
}

/// The vector of a `struct msghdr`.
#[inline(always)]
fn message(header: u64) -> Option<Payload> {
    // SAFETY: the helper checks the address in the process.
    let vector = unsafe { bpf_probe_read_user((header + HEADER_VECTOR_AT) as *const [u64; 2]).ok()? };
    Some(Payload::Vector { pieces: vector[0], count: vector[1] })
}

/// Several messages in one call: each is a piece of the stream.
#[inline(always)]
fn messages(thread: Thread, call: &Call, count: u64, sent: bool) -> Option<()> {
    let [descriptor, headers, _, flags] = call.arguments;
    if !sent && flags & NOT_THE_STREAM != 0 {
        return None;
    }
    let mut later = 0;
    for index in 0..MESSAGES_PER_CALL {
        if index < count {
            later += message_bytes(headers, index)?;
        }
    }
    if later == 0 {
        return if sent || count == 0 { None } else { transfer::report_received_end(descriptor as u32, thread, now()) };
    }
    for index in 0..MESSAGES_PER_CALL {
        if index >= count {
            break;
        }
        let bytes = message_bytes(headers, index)?;
        later -= bytes;
        let discarded = !sent && flags & THROWN_AWAY != 0;
        let header = if discarded { 0 } else { headers + index * MESSAGE_BYTES };
        report_message(descriptor, u64::from(sent), header, bytes, later);
    }
    Some(())
}

/// One of several messages; without a header its payload is not read.
///
/// A function of its own with plain numbers as arguments: the verifier walks it once, and not once per message.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn report_message(descriptor: u64, sent: u64, header: u64, bytes: u64, later: u64) -> u64 {
    let payload = if header == 0 { Some(Payload::Unread) } else { message(header) };
    if let Some(payload) = payload {
        let _ = report(processes::current(), descriptor as u32, sent != 0, bytes, later, payload);
    }
    0
}

#[inline(always)]
fn message_bytes(headers: u64, index: u64) -> Option<u64> {
    let length_at = headers + index * MESSAGE_BYTES + MESSAGE_LENGTH_AT;
    // SAFETY: the helper checks the address in the process.
    unsafe { bpf_probe_read_user(length_at as *const u32).ok().map(u64::from) }
}

/// Bytes that pass from or to a pipe without being seen.
#[inline(always)]
fn splice(thread: Thread, call: &Call, result: i64) -> Option<()> {
    if result <= 0 {
        return None;
    }
    let [from, _, to, _] = call.arguments;
    if socket::find(to as u32).is_some() {
        report(thread, to as u32, true, result as u64, 0, Payload::Unread)
    } else {
        report(thread, from as u32, false, result as u64, 0, Payload::Unread)
    }
}

/// `shutdown`: TCP tells its own state; a unix socket only says it here.
#[inline(always)]
fn shutdown(thread: Thread, descriptor: u32, how: u64) -> Option<()> {
    const SHUT_WR: u64 = 1;
    const SHUT_RDWR: u64 = 2;
    let found = socket::find(descriptor)?;
    let followed = connection::get(found.sk)?;
    // SAFETY: a map value.
    if unsafe { (*followed).flags } & CONNECTION_UNIX == 0 {
        return None;
    }
    match how {
        SHUT_WR => transfer::report_end_of(found.sk, thread, true, now()),
        SHUT_RDWR => {
            connection::finish(followed, CLOSED_FINISHED);
            Some(())
        }
        _ => None,
    }
}

/// `EPIPE`, `ECONNRESET` and `ETIMEDOUT`: the connection is gone, and the process has been told.
#[inline(always)]
fn is_broken(result: i64) -> bool {
    result == -32 || result == -104 || result == -110
}

#[inline(always)]
fn broken(descriptor: u32) -> Option<()> {
    let found = socket::find(descriptor)?;
    connection::finish(connection::get(found.sk)?, CLOSED_RESET);
    Some(())
}
