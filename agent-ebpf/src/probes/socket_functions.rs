// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! What a send, a receive and the end of a socket mean, for the kernel functions behind all calls: io_uring, sendfile and
//! splice included. The hooks themselves are in `typed` and `kprobes`.
//!
//! The functions are those in a socket's own operations: above what sockmap and kTLS replace, so that each byte is
//! seen once, and in clear.

use agent_common::records::{CLOSED_FINISHED, CLOSED_RESET, CONNECTION_UNIX};

use crate::{
    connection,
    entries::now,
    iterator,
    processes::Thread,
    socket::Socket,
    transfer::{self, Payload, Transfer},
};

/// `MSG_OOB`, `MSG_PEEK` and `MSG_ERRQUEUE`: what they give is not the next of the stream.
pub const NOT_THE_STREAM: u64 = 0x1 | 0x2 | 0x2000;
/// `MSG_TRUNC`: on TCP the bytes are thrown away, and the buffer holds whatever it held.
pub const THROWN_AWAY: u64 = 0x20;

/// A function that has returned `result`.
#[derive(Clone, Copy)]
pub struct Returned {
    /// The `struct msghdr`; 0 where the bytes are pages of the kernel, or thrown away. A number, for an `Option` leaves its
    /// value unset, which the verifier of Linux 6.1 minds even where it is only moved.
    pub message: u64,
    pub result: i32,
    pub sent: bool,
}

#[inline(always)]
pub fn handle<const TYPED: bool>(
    found: Socket,
    thread: Thread,
    returned: Returned,
    began_ns: impl FnOnce() -> u64,
) -> Option<()> {
    let Returned { message, result, sent } = returned;
    if result < 0 {
        return if is_broken(i64::from(result)) { broken(found.sk) } else { None };
    }
    if result == 0 {
        return if sent { None } else { transfer::report_received_end(found.sk, thread, now()) };
    }
    let bytes = result as u32;
    transfer::report::<TYPED>(
        found,
        &Transfer { thread, sent, bytes, later: 0 },
        || true,
        began_ns,
        || Some(if message == 0 { Payload::UNREAD } else { iterator::moved::<TYPED>(message, bytes) }),
    )
}

/// `EPIPE`, `ECONNRESET` and `ETIMEDOUT`: the connection is gone, and the process has been told.
#[inline(always)]
pub fn is_broken(result: i64) -> bool {
    result == -32 || result == -104 || result == -110
}

#[inline(always)]
pub fn broken(sk: u64) -> Option<()> {
    connection::finish(connection::get(sk)?, CLOSED_RESET);
    Some(())
}

/// The last descriptor of a unix socket is closed.
#[inline(always)]
pub fn unix_released(sk: u64) -> Option<()> {
    let followed = connection::get(sk)?;
    connection::finish(followed, CLOSED_FINISHED);
    connection::forget(sk);
    Some(())
}

/// `shutdown`: TCP tells its own state; a unix socket only says it here.
#[inline(always)]
pub fn unix_shut(sk: u64, thread: Thread, how: u64) -> Option<()> {
    const SHUT_WR: u64 = 1;
    const SHUT_RDWR: u64 = 2;
    let followed = connection::get(sk)?;
    // SAFETY: a map value.
    if unsafe { (*followed).flags } & CONNECTION_UNIX == 0 {
        return None;
    }
    match how {
        SHUT_WR => transfer::report_end_of(sk, thread, true, now()),
        SHUT_RDWR => {
            connection::finish(followed, CLOSED_FINISHED);
            Some(())
        }
        _ => None,
    }
}
