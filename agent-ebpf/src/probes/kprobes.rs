// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The `kprobe` backend: the same functions through probes at their entry and return.
//!
//! A return probe no longer has the arguments, so the entry keeps them by thread. And the kernel keeps room for a few
//! calls under way only (`max(10, 2 × processors)`): a receive, in which threads wait for as long as they like, has no
//! return probe but one where TCP settles what was read, in `tcp_cleanup_rbuf`.
//! Not seen: what more threads than that send at once while they block, or receive so on unix sockets; and what a
//! sockmap redirects into a socket or kTLS has decrypted, which TCP does not settle.

use agent_common::limits::CALLS;
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::{kprobe, kretprobe, map},
    maps::HashMap,
    programs::{ProbeContext, RetProbeContext},
};

use super::socket_functions::{self, NOT_THE_STREAM, Returned, THROWN_AWAY};
use crate::{
    emit::count,
    entries::{self, Duration},
    fields::field,
    processes::{self, Thread},
    socket::Socket,
};

/// What a thread is doing, or did last.
#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    kind: u32,
    /// Bytes of a receive that have been reported.
    reported: u32,
    socket: u64,
    sk: u64,
    /// The `struct msghdr`; 0 where bytes are pages of the kernel, or thrown away.
    message: u64,
    /// Bytes asked for.
    asked: u64,
    time_ns: u64,
}

const NOTHING: u32 = 0;
const SEND: u32 = 1;
const RECEIVE: u32 = 2;
/// What it reads is not taken from the stream.
const PEEK: u32 = 3;

/// By thread id; removed with the thread.
#[map]
static CALL_BY_THREAD: HashMap<u32, Call> = HashMap::with_max_entries(CALLS, BPF_F_NO_PREALLOC);

/// Drops what is kept of a thread that exits.
#[inline(always)]
pub fn forget(tid: u32) {
    let _ = CALL_BY_THREAD.remove(&tid);
}

#[inline(always)]
fn watched() -> Option<Thread> {
    let thread = processes::current();
    processes::is_captured(processes::watch(thread.tgid)).then_some(thread)
}

#[inline(always)]
fn begin(thread: Thread, kind: u32, socket: u64, message: u64, asked: u64) -> Option<()> {
    let sk = field!(u64, socket, socket_sk)?;
    let call = Call { kind, reported: 0, socket, sk, message, asked, time_ns: entries::now() };
    if let Some(known) = CALL_BY_THREAD.get_ptr_mut(&thread.tid) {
        // SAFETY: a map value, and the thread's own.
        unsafe { *known = call }
    } else if CALL_BY_THREAD.insert(&thread.tid, &call, 0).is_err() {
        count(agent_common::losses::Loss::CallTableFull, 1);
    }
    Some(())
}

/// `int inet_sendmsg(struct socket *sock, struct msghdr *msg, size_t size)`, and so for `inet6` and `unix_stream`
#[kprobe]
pub fn send_probe(context: ProbeContext) -> u32 {
    let _ = send_began(&context, true);
    0
}

/// `ssize_t inet_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags)`, and so for
/// `unix_stream`; before Linux 6.5
#[kprobe]
pub fn send_page_probe(context: ProbeContext) -> u32 {
    let _ = send_began(&context, false);
    0
}

#[inline(always)]
fn send_began(context: &ProbeContext, has_message: bool) -> Option<()> {
    let thread = watched()?;
    let message = if has_message { context.arg(1)? } else { 0 };
    begin(thread, SEND, context.arg(0)?, message, 0)
}

#[kretprobe]
pub fn send_return_probe(context: RetProbeContext) -> u32 {
    let _ = ended(context.ret::<i32>(), SEND);
    0
}

/// `int inet_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)`, and so for `inet6` and
/// `unix_stream`
#[kprobe]
pub fn receive_probe(context: ProbeContext) -> u32 {
    let _ = receive_began(&context);
    0
}

#[inline(always)]
fn receive_began(context: &ProbeContext) -> Option<()> {
    let thread = watched()?;
    let flags = context.arg::<u64>(3)?;
    let kind = if flags & NOT_THE_STREAM == 0 { RECEIVE } else { PEEK };
    let message = if flags & THROWN_AWAY == 0 { context.arg(1)? } else { 0 };
    begin(thread, kind, context.arg(0)?, message, context.arg(2)?)
}

/// `ssize_t tcp_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe, size_t len,
/// unsigned int flags)`, and so for `unix_stream`
#[kprobe]
pub fn splice_probe(context: ProbeContext) -> u32 {
    let _ = splice_began(&context);
    0
}

#[inline(always)]
fn splice_began(context: &ProbeContext) -> Option<()> {
    begin(watched()?, RECEIVE, context.arg(0)?, 0, context.arg(3)?)
}

/// `unix_stream_recvmsg` and `unix_stream_splice_read`
#[kretprobe]
pub fn unix_receive_return_probe(context: RetProbeContext) -> u32 {
    let _ = ended(context.ret::<i32>(), RECEIVE);
    0
}

/// `void tcp_cleanup_rbuf(struct sock *sk, int copied)`: `copied` is what the call will return if it ends here, and so far
/// if it goes on to wait for more.
#[kprobe]
pub fn receive_settled_probe(context: ProbeContext) -> u32 {
    let _ = settled(&context);
    0
}

#[inline(always)]
fn settled(context: &ProbeContext) -> Option<()> {
    let thread = watched()?;
    let (sk, copied) = (context.arg::<u64>(0)?, context.arg::<i32>(1)?);
    let call = CALL_BY_THREAD.get_ptr_mut(&thread.tid)?;
    // SAFETY: a map value, and the thread's own.
    let Call { kind, reported, socket, sk: called, message, asked, .. } = unsafe { *call };
    if kind != RECEIVE || called != sk || (copied == 0 && asked == 0) {
        return None;
    }
    let result = if copied > 0 { copied - reported as i32 } else { copied };
    if copied > 0 {
        if result <= 0 {
            return None;
        }
        // SAFETY: as above.
        unsafe { (*call).reported = copied as u32 }
    }
    let took = Duration { time_ns: entries::now(), duration_ns: 0 };
    report(socket, Returned { message, result, sent: false }, took)
}

#[inline(always)]
fn ended(result: i32, kind: u32) -> Option<()> {
    let thread = watched()?;
    let call = CALL_BY_THREAD.get_ptr_mut(&thread.tid)?;
    // SAFETY: a map value, and the thread's own.
    let Call { kind: begun, socket, message, asked, time_ns, .. } = unsafe { *call };
    // SAFETY: as above. A return whose entry was not seen finds nothing then.
    unsafe { (*call).kind = NOTHING }
    let sent = kind == SEND;
    if begun != kind || (!sent && result == 0 && asked == 0) {
        return None;
    }
    let now = entries::now();
    let took = if sent { entries::since(time_ns, now) } else { Duration { time_ns: now, duration_ns: 0 } };
    report(socket, Returned { message, result, sent }, took)
}

#[inline(always)]
fn report(socket: u64, returned: Returned, took: Duration) -> Option<()> {
    let Returned { message, result, sent } = returned;
    let moved = u64::from(result as u32) | if sent { SENT_BIT } else { 0 };
    report_packed_probe(socket, message, moved, took.time_ns, u64::from(took.duration_ns));
    Some(())
}

const SENT_BIT: u64 = 1 << 32;

/// A function of its own with plain numbers as arguments: the verifier walks it once, and not once for each way here.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn report_packed_probe(socket: u64, message: u64, moved: u64, time_ns: u64, duration_ns: u64) -> u64 {
    let Some(sk) = field!(u64, socket, socket_sk) else { return 0 };
    let returned = Returned { message, result: moved as i32, sent: moved & SENT_BIT != 0 };
    let took = || Duration { time_ns, duration_ns: duration_ns as u32 };
    let _ = socket_functions::handle::<false>(Socket { socket, sk }, processes::current(), returned, took);
    0
}

/// `int unix_release(struct socket *sock)`
#[kprobe]
pub fn unix_release_probe(context: ProbeContext) -> u32 {
    let _ = unix_released(&context);
    0
}

#[inline(always)]
fn unix_released(context: &ProbeContext) -> Option<()> {
    socket_functions::unix_released(field!(u64, context.arg::<u64>(0)?, socket_sk)?)
}

/// `int unix_shutdown(struct socket *sock, int mode)`
#[kprobe]
pub fn unix_shutdown_probe(context: ProbeContext) -> u32 {
    let _ = unix_shut(&context);
    0
}

#[inline(always)]
fn unix_shut(context: &ProbeContext) -> Option<()> {
    let thread = watched()?;
    socket_functions::unix_shut(field!(u64, context.arg::<u64>(0)?, socket_sk)?, thread, context.arg(1)?)
}
