// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The `fentry` backend: programs at the entry and the return of the kernel's socket functions, by their types.
//!
//! A send's entry only notes the time. Its return, and a receive's, have the arguments still.
//! Not seen: what a thread was waiting for when the hooks came, which `early_calls` sees.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use super::socket_functions::{self, NOT_THE_STREAM, Returned, THROWN_AWAY};
use crate::{
    entries,
    fields::typed_field,
    processes::{self, Thread},
    socket::Socket,
};

/// One program for each function that it is attached to: the verifier checks each against that function's types.
macro_rules! programs {
    ($($kind:ident($context:ident) $handler:ident: $($name:ident)*;)*) => {
        $($(
            #[$kind]
            pub fn $name(context: $context) -> i32 {
                let _ = $handler(&context);
                0
            }
        )*)*
    };
}

programs! {
    fentry(FEntryContext) send_began: inet_send_entry inet6_send_entry unix_send_entry inet_page_entry unix_page_entry;
    fexit(FExitContext) message_sent: inet_send_return inet6_send_return unix_send_return;
    fexit(FExitContext) page_sent: inet_page_return unix_page_return;
    fexit(FExitContext) message_received: inet_receive_return inet6_receive_return unix_receive_return;
    fexit(FExitContext) pages_received: inet_splice_return unix_splice_return;
    fentry(FEntryContext) unix_released: unix_release_entry;
    fentry(FEntryContext) unix_shut: unix_shutdown_entry;
}

/// The thread, if its process is watched.
#[inline(always)]
fn watched() -> Option<Thread> {
    let thread = processes::current();
    processes::is_captured(processes::watch(thread.tgid)).then_some(thread)
}

/// The first argument of every function here: `struct socket *sock`.
#[inline(always)]
fn socket_at(socket: u64) -> Option<Socket> {
    Some(Socket { socket, sk: typed_field!(true, u64, socket, socket_sk)? })
}

#[inline(always)]
fn send_began(_: &FEntryContext) -> Option<()> {
    entries::note(watched()?);
    Some(())
}

/// `int inet_sendmsg(struct socket *sock, struct msghdr *msg, size_t size)`, and so for `inet6` and `unix_stream`
#[inline(always)]
fn message_sent(context: &FExitContext) -> Option<()> {
    let thread = watched()?;
    returned(thread, context.arg(0), context.arg(1), context.arg(3), true)
}

/// `ssize_t inet_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags)`, and so for
/// `unix_stream`; before Linux 6.5
#[inline(always)]
fn page_sent(context: &FExitContext) -> Option<()> {
    let thread = watched()?;
    returned(thread, context.arg(0), 0, context.arg(5), true)
}

/// `int inet_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)`, and so for `inet6` and
/// `unix_stream`
#[inline(always)]
fn message_received(context: &FExitContext) -> Option<()> {
    let thread = watched()?;
    let (asked, flags, result) = (context.arg::<u64>(2), context.arg::<u64>(3), context.arg::<i32>(4));
    if flags & NOT_THE_STREAM != 0 || (result == 0 && asked == 0) {
        return None;
    }
    let message = if flags & THROWN_AWAY == 0 { context.arg(1) } else { 0 };
    returned(thread, context.arg(0), message, result, false)
}

/// `ssize_t tcp_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe, size_t len,
/// unsigned int flags)`, and so for `unix_stream`
#[inline(always)]
fn pages_received(context: &FExitContext) -> Option<()> {
    let thread = watched()?;
    let result = context.arg::<i32>(5);
    if result == 0 { None } else { returned(thread, context.arg(0), 0, result, false) }
}

#[inline(always)]
fn returned(thread: Thread, socket: u64, message: u64, result: i32, sent: bool) -> Option<()> {
    let found = socket_at(socket)?;
    socket_functions::handle::<true>(found, thread, Returned { message, result, sent }, || entries::take(thread, sent))
}

/// `int unix_release(struct socket *sock)`
#[inline(always)]
fn unix_released(context: &FEntryContext) -> Option<()> {
    socket_functions::unix_released(socket_at(context.arg(0))?.sk)
}

/// `int unix_shutdown(struct socket *sock, int mode)`
#[inline(always)]
fn unix_shut(context: &FEntryContext) -> Option<()> {
    let thread = watched()?;
    socket_functions::unix_shut(socket_at(context.arg(0))?.sk, thread, context.arg(1))
}
