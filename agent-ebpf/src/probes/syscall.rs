// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! System calls that move bytes on sockets: the `syscall` backend.
//!
//! Everything is read when a call returns: its arguments are still in the saved registers, and calls that were already
//! in the kernel when the hook was attached are seen too. The entry only notes the time, for calls that send: what is
//! sent has left before the call returns, and a response must never seem older than its request.
//! Not seen here: io_uring, and the payload of sendfile and splice.

use agent_common::records::{CLOSED_FINISHED, CONNECTION_UNIX};
use aya_ebpf::{helpers::bpf_probe_read_user, macros::raw_tracepoint, programs::RawTracePointContext};

use super::{
    process,
    socket_functions::{self, NOT_THE_STREAM, THROWN_AWAY, is_broken},
};
use crate::{
    connection,
    entries::{self, now},
    processes,
    processes::Thread,
    registers::{Call, number},
    socket,
    transfer::{self, Payload, Transfer},
};

/// Messages of one `sendmmsg` or `recvmmsg` that are read; on stream sockets more than one is rare.
const MESSAGES_PER_CALL: u64 = 8;

/// Size of `struct mmsghdr`; the length that was moved follows the `struct msghdr`.
const MESSAGE_BYTES: u64 = 64;
const MESSAGE_LENGTH_AT: u64 = 56;
/// `struct msghdr`: the vector, its length, and the flags, the latter as the kernel gives them back.
const HEADER_VECTOR_AT: u64 = 16;

#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn syscall_enter(context: RawTracePointContext) -> i32 {
    if let Some(thread) = processes::watched() {
        enter(&context, thread);
    }
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn syscall_exit(context: RawTracePointContext) -> i32 {
    if let Some(thread) = processes::watched() {
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
        | number::PWRITEV2 => entries::note(thread),
        number::CLOSE => {
            let _ = close(context);
        }
        _ => {}
    }
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
pub fn exit(context: &RawTracePointContext, thread: Thread) -> Option<()> {
    let result = context.arg::<i64>(1);
    if result < 0 && !is_broken(result) {
        return None;
    }
    let call = Call::read(context.arg::<u64>(0))?;
    let [descriptor, second, third] = call.arguments;
    let sent = match call.number {
        number::READ | number::READV | number::RECVFROM | number::RECVMSG | number::RECVMMSG | number::PREADV2 => false,
        number::WRITE
        | number::WRITEV
        | number::SENDTO
        | number::SENDMSG
        | number::SENDMMSG
        | number::PWRITEV2
        | number::SENDFILE => true,
        number::SPLICE => return splice(&call, result),
        number::MMAP => return mapped(&call, thread),
        number::SHUTDOWN if result == 0 => return shutdown(thread, descriptor as u32, second),
        _ => return None,
    };
    if result < 0 {
        return broken(descriptor as u32);
    }
    let (kind, address) = match call.number {
        number::READ | number::WRITE | number::SENDTO => (BUFFER, second),
        number::RECVFROM => match call.fourth()? {
            flags if flags & NOT_THE_STREAM != 0 => return None,
            flags if flags & THROWN_AWAY != 0 => (UNREAD, 0),
            _ => (BUFFER, second),
        },
        number::READV | number::WRITEV | number::PREADV2 | number::PWRITEV2 => (VECTOR, second),
        number::SENDMSG => (MESSAGE, second),
        number::RECVMSG if third & NOT_THE_STREAM != 0 => return None,
        number::RECVMSG if third & THROWN_AWAY != 0 => (UNREAD, 0),
        number::RECVMSG => (MESSAGE, second),
        number::SENDMMSG | number::RECVMMSG => return messages(thread, &call, result as u64, sent),
        _ => (UNREAD, 0),
    };
    if result == 0 {
        // A read of nothing is the end of the stream, unless nothing was asked for.
        let asked = !matches!(call.number, number::READ | number::RECVFROM) || third != 0;
        return if sent || !asked { None } else { report_end(descriptor as u32, thread) };
    }
    report_call(descriptor as u32, sent, kind, address, result as u64, 0);
    Some(())
}

/// What the address of a call's payload means.
const UNREAD: u64 = 0;
const BUFFER: u64 = 1;
/// An array of `struct iovec`.
const VECTOR: u64 = 2;
/// A `struct msghdr`.
const MESSAGE: u64 = 3;

const KIND_SHIFT: u32 = 32;
const SENT_BIT: u64 = 1 << 40;

#[inline(always)]
fn report_call(descriptor: u32, sent: bool, kind: u64, address: u64, bytes: u64, later: u64) {
    let call = u64::from(descriptor) | kind << KIND_SHIFT | if sent { SENT_BIT } else { 0 };
    report_packed(call, address, bytes, later);
}

/// A function of its own with plain numbers as arguments: the verifier walks it once, and not once for each way here.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn report_packed(call: u64, address: u64, bytes: u64, later: u64) -> u64 {
    let _ = report(call as u32, call & SENT_BIT != 0, call >> KIND_SHIFT & 3, address, bytes, later);
    0
}

#[inline(always)]
fn report(descriptor: u32, sent: bool, kind: u64, address: u64, bytes: u64, later: u64) -> Option<()> {
    let found = socket::find(descriptor)?;
    let thread = processes::current();
    let transfer = Transfer { thread, sent, bytes: bytes as u32, later: later as u32 };
    let is_one = || connection::get(found.sk).is_some() || socket::is_socket(descriptor);
    transfer::report::<false>(found, &transfer, is_one, || entries::noted(thread), || payload(kind, address))
}

#[inline(always)]
fn payload(kind: u64, address: u64) -> Option<Payload> {
    Some(match kind {
        BUFFER => Payload::buffer(address),
        VECTOR => Payload::vector(address),
        MESSAGE => {
            // SAFETY: the helper checks the address in the process.
            let pieces = unsafe { bpf_probe_read_user((address + HEADER_VECTOR_AT) as *const u64).ok()? };
            Payload::vector(pieces)
        }
        _ => Payload::UNREAD,
    })
}

/// A read of nothing.
#[inline(always)]
fn report_end(descriptor: u32, thread: Thread) -> Option<()> {
    transfer::report_received_end(socket::find(descriptor)?.sk, thread, now())
}

/// Several messages in one call: each is a piece of the stream.
#[inline(always)]
fn messages(thread: Thread, call: &Call, count: u64, sent: bool) -> Option<()> {
    let ([descriptor, headers, _], flags) = (call.arguments, call.fourth()?);
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
        return if sent || count == 0 { None } else { report_end(descriptor as u32, thread) };
    }
    for index in 0..MESSAGES_PER_CALL {
        if index >= count {
            break;
        }
        let bytes = message_bytes(headers, index)?;
        later -= bytes;
        let discarded = !sent && flags & THROWN_AWAY != 0;
        let header = headers + index * MESSAGE_BYTES;
        report_call(descriptor as u32, sent, if discarded { UNREAD } else { MESSAGE }, header, bytes, later);
    }
    Some(())
}

#[inline(always)]
fn message_bytes(headers: u64, index: u64) -> Option<u64> {
    let length_at = headers + index * MESSAGE_BYTES + MESSAGE_LENGTH_AT;
    // SAFETY: the helper checks the address in the process.
    unsafe { bpf_probe_read_user(length_at as *const u32).ok().map(u64::from) }
}

/// Bytes that pass from or to a pipe without being seen.
#[inline(always)]
fn splice(call: &Call, result: i64) -> Option<()> {
    if result <= 0 {
        return None;
    }
    let [from, _, to] = call.arguments;
    let sent = socket::is_socket(to as u32);
    report_call(if sent { to } else { from } as u32, sent, UNREAD, 0, result as u64, 0);
    Some(())
}

/// `shutdown`: TCP tells its own state; a unix socket only says it here.
#[inline(always)]
fn shutdown(thread: Thread, descriptor: u32, how: u64) -> Option<()> {
    socket_functions::unix_shut(socket::find(descriptor)?.sk, thread, how)
}

/// `PROT_EXEC` and `MAP_ANONYMOUS` of include/uapi/asm-generic/mman-common.h.
const EXECUTABLE: u64 = 4;
const ANONYMOUS: u64 = 32;

#[inline(always)]
fn mapped(call: &Call, thread: Thread) -> Option<()> {
    if call.arguments[2] & EXECUTABLE != 0 && call.fourth()? & ANONYMOUS == 0 {
        process::code_mapped(thread);
    }
    Some(())
}

#[inline(always)]
fn broken(descriptor: u32) -> Option<()> {
    socket_functions::broken(socket::find(descriptor)?.sk)
}
