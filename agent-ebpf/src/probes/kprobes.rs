// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The `kprobe` backend: the same functions through probes at their entry, which has their arguments, and what tells of
//! their end. The entry's are kept by thread, in `calls`.
//!
//! From Linux 6.3 on two tracepoints tell how every send and receive has ended. Before, return probes do, of which the
//! kernel keeps room for a few calls under way only (`max(10, 2 × processors)`): a receive, in which threads wait for as
//! long as they like, has none but one where TCP settles what was read, in `tcp_cleanup_rbuf`.
//! Not seen before Linux 6.3: what more threads than that send at once while they block, or receive so on unix sockets;
//! and what a sockmap redirects into a socket or kTLS has decrypted, which TCP does not settle. After it: TCP under SMC.

use aya_ebpf::{
    macros::{kprobe, kretprobe, raw_tracepoint},
    programs::{ProbeContext, RawTracePointContext, RetProbeContext},
};

use super::{
    process,
    socket_functions::{self, NOT_THE_STREAM, Returned, THROWN_AWAY},
};
use crate::{
    calls::{self, Call, NOTHING, PEEK, RECEIVE, SEND},
    entries,
    fields::field,
    processes::{Thread, watched},
    socket::Socket,
};

#[inline(always)]
fn begin(thread: Thread, kind: u32, socket: u64, message: u64, asked: u64) -> Option<()> {
    let call = calls::begin(thread.tid)?;
    // SAFETY: a map value, and the thread's own.
    let call = unsafe { &mut *call };
    (call.kind, call.reported, call.socket, call.message, call.asked) = (kind, 0, socket, message, asked);
    if kind == SEND {
        call.time_ns = entries::now();
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

/// `unix_stream_recvmsg`, `unix_stream_splice_read`; from Linux 6.3 on `tcp_splice_read`
#[kretprobe]
pub fn receive_return_probe(context: RetProbeContext) -> u32 {
    let _ = ended(context.ret::<i32>(), RECEIVE);
    0
}

/// `TP_PROTO(struct sock *sk, int ret, int flags)`, for every family of sockets
#[raw_tracepoint(tracepoint = "sock_send_length")]
pub fn sent_length(context: RawTracePointContext) -> i32 {
    let _ = told(&context, SEND);
    0
}

/// `TP_PROTO(struct sock *sk, int ret, int flags)`, for every family of sockets
#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub fn received_length(context: RawTracePointContext) -> i32 {
    let _ = told(&context, RECEIVE);
    0
}

#[inline(always)]
fn told(context: &RawTracePointContext, kind: u32) -> Option<()> {
    let thread = watched()?;
    let Call { socket, message, asked, time_ns, .. } = end(thread, kind)?;
    let (sk, result, sent) = (context.arg::<u64>(0), context.arg::<i32>(1), kind == SEND);
    if !sent && result == 0 && asked == 0 {
        return None;
    }
    socket_functions::handle::<false>(Socket { socket, sk }, thread, Returned { message, result, sent }, || time_ns)
}

#[inline(always)]
fn ended(result: i32, kind: u32) -> Option<()> {
    let thread = watched()?;
    let Call { socket, message, asked, time_ns, .. } = end(thread, kind)?;
    let sent = kind == SEND;
    if !sent && result == 0 && asked == 0 {
        return None;
    }
    report(socket, Returned { message, result, sent }, time_ns)
}

/// What the thread had begun, if it was that. Another that ends without an entry that was seen finds nothing then.
#[inline(always)]
fn end(thread: Thread, kind: u32) -> Option<Call> {
    let call = calls::find(thread.tid)?;
    // SAFETY: a map value, and the thread's own.
    let (begun, known) = unsafe { ((*call).kind, *call) };
    // SAFETY: as above.
    unsafe { (*call).kind = NOTHING }
    (begun == kind).then_some(known)
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
    let call = calls::find(thread.tid)?;
    // SAFETY: a map value, and the thread's own.
    let Call { kind, reported, socket, message, asked, .. } = unsafe { *call };
    if kind != RECEIVE || (copied == 0 && asked == 0) || field!(u64, socket, socket_sk)? != sk {
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
    report(socket, Returned { message, result, sent: false }, 0)
}

#[inline(always)]
fn report(socket: u64, returned: Returned, began_ns: u64) -> Option<()> {
    let Returned { message, result, sent } = returned;
    let moved = u64::from(result as u32) | if sent { SENT_BIT } else { 0 };
    report_packed_probe(socket, message, moved, began_ns);
    Some(())
}

const SENT_BIT: u64 = 1 << 32;

/// A function of its own with plain numbers as arguments: the verifier walks it once, and not once for each way here.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn report_packed_probe(socket: u64, message: u64, moved: u64, began_ns: u64) -> u64 {
    let Some(sk) = field!(u64, socket, socket_sk) else { return 0 };
    let returned = Returned { message, result: moved as i32, sent: moved & SENT_BIT != 0 };
    let _ =
        socket_functions::handle::<false>(Socket { socket, sk }, crate::processes::current(), returned, || began_ns);
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

/// `int uprobe_mmap(struct vm_area_struct *vma)`
#[kprobe]
pub fn file_mapped_probe(context: ProbeContext) -> u32 {
    let _ = file_mapped(&context);
    0
}

#[inline(always)]
fn file_mapped(context: &ProbeContext) -> Option<()> {
    let thread = watched()?;
    process::file_mapped::<false>(context.arg(0)?, thread)
}
