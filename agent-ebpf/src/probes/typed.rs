// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The `fentry` backend: programs at the entry and the return of the kernel's socket functions, by their types; and where files
//! are mapped.
//!
//! Their returns have the arguments still. When a send was, TCP knows itself: by its last packet, or, for a call that waits for
//! room, by the moment at which it began to wait. The entry of a unix send only notes the time.
//! Not seen: what a thread was waiting for when the hooks came, which `early_calls` sees.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use super::{
    process,
    socket_functions::{self, NOT_THE_STREAM, Returned, THROWN_AWAY},
};
use crate::{
    entries,
    fields::typed_field,
    processes::{Thread, watched},
    socket::Socket,
};

/// One program for each function that it is attached to: the verifier checks each against that function's types. Who is not
/// watched costs a few instructions: the handler is a function of its own, which saves the registers that it needs itself.
macro_rules! programs {
    ($($kind:ident($context:ident) $handler:ident: $($name:ident)*;)*) => {
        $($(
            #[$kind]
            pub fn $name(context: $context) -> i32 {
                if let Some(thread) = watched() {
                    $handler(context.as_ptr(), thread);
                }
                0
            }
        )*)*
    };
}

programs! {
    fentry(FEntryContext) send_began: unix_send_entry unix_page_entry;
    fentry(FEntryContext) send_waits: send_wait_entry;
    fexit(FExitContext) message_sent: inet_send_return inet6_send_return unix_send_return;
    fexit(FExitContext) page_sent: inet_page_return unix_page_return;
    fexit(FExitContext) message_received: inet_receive_return inet6_receive_return unix_receive_return;
    fexit(FExitContext) pages_received: inet_splice_return unix_splice_return;
    fentry(FEntryContext) unix_shut: unix_shutdown_entry;
    fentry(FEntryContext) file_mapped: file_mapped_entry;
}

/// The first argument of every function of sockets: `struct socket *sock`.
#[inline(always)]
fn socket_at(socket: u64) -> Option<Socket> {
    Some(Socket { socket, sk: typed_field!(true, u64, socket, socket_sk)? })
}

#[inline(always)]
fn send_began(_: *mut c_void, thread: Thread) {
    entries::note(thread);
}

/// `int sk_stream_wait_memory(struct sock *sk, long *timeo_p)`: once for each time that a send finds no room
#[inline(always)]
fn send_waits(_: *mut c_void, thread: Thread) {
    entries::note_first(thread);
}

/// `int inet_sendmsg(struct socket *sock, struct msghdr *msg, size_t size)`, and so for `inet6` and `unix_stream`
#[inline(never)]
fn message_sent(context: *mut c_void, thread: Thread) {
    let context = FExitContext::new(context);
    let _ = returned(thread, context.arg(0), context.arg(1), context.arg(3), true);
}

/// `ssize_t inet_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags)`, and so for
/// `unix_stream`; before Linux 6.5
#[inline(never)]
fn page_sent(context: *mut c_void, thread: Thread) {
    let context = FExitContext::new(context);
    let _ = returned(thread, context.arg(0), 0, context.arg(5), true);
}

/// `int inet_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)`, and so for `inet6` and
/// `unix_stream`
#[inline(never)]
fn message_received(context: *mut c_void, thread: Thread) {
    let context = FExitContext::new(context);
    let (asked, flags, result) = (context.arg::<u64>(2), context.arg::<u64>(3), context.arg::<i32>(4));
    if flags & NOT_THE_STREAM != 0 || (result == 0 && asked == 0) {
        return;
    }
    let message = if flags & THROWN_AWAY == 0 { context.arg(1) } else { 0 };
    let _ = returned(thread, context.arg(0), message, result, false);
}

/// `ssize_t tcp_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe, size_t len,
/// unsigned int flags)`, and so for `unix_stream`
#[inline(never)]
fn pages_received(context: *mut c_void, thread: Thread) {
    let context = FExitContext::new(context);
    let result = context.arg::<i32>(5);
    if result != 0 {
        let _ = returned(thread, context.arg(0), 0, result, false);
    }
}

#[inline(always)]
fn returned(thread: Thread, socket: u64, message: u64, result: i32, sent: bool) -> Option<()> {
    let found = socket_at(socket)?;
    // Taken whatever the result is: what one send has left would be the next one's.
    let began_ns = if sent { entries::take(thread) } else { 0 };
    socket_functions::handle::<true>(found, thread, Returned { message, result, sent }, || began_ns)
}

/// `int unix_release(struct socket *sock)`
#[fentry]
pub fn unix_release_entry(context: FEntryContext) -> i32 {
    if let Some(found) = socket_at(context.arg(0)) {
        let _ = socket_functions::unix_released(found.sk);
    }
    0
}

/// `int unix_shutdown(struct socket *sock, int mode)`
#[inline(never)]
fn unix_shut(context: *mut c_void, thread: Thread) {
    let context = FEntryContext::new(context);
    if let Some(found) = socket_at(context.arg(0)) {
        let _ = socket_functions::unix_shut(found.sk, thread, context.arg(1));
    }
}

#[inline(never)]
fn file_mapped(context: *mut c_void, thread: Thread) {
    let _ = process::file_mapped::<true>(FEntryContext::new(context).arg(0), thread);
}
