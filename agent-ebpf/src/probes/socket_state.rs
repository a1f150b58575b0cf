// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! What TCP sockets go through: a listen marks its process, a shutdown ends a direction, a death ends the connection.

use agent_common::records::{CLOSED_FINISHED, CONNECTION_RESET, ProcessChange, Watch};
use aya_ebpf::{
    helpers::generated::bpf_ktime_get_ns,
    macros::{map, raw_tracepoint},
    maps::Array,
    programs::RawTracePointContext,
};

use crate::{connection, fields::field, probes::process, processes, socket, tls, transfer};

/// States of include/net/tcp_states.h.
const ESTABLISHED: i32 = 1;
const FIN_WAIT1: i32 = 4;
const CLOSE: i32 = 7;
const CLOSE_WAIT: i32 = 8;
const LAST_ACK: i32 = 9;
const LISTEN: i32 = 10;

/// `RCV_SHUTDOWN | SEND_SHUTDOWN` of include/net/sock.h: the descriptor was closed, or shut down both ways.
const SHUT_BOTH: u8 = 3;

const PORTS_PER_BLOCK: u32 = 64;

/// A `Watch` per port: what a listen on it makes of the process.
#[map]
static SELECTED_PORTS: Array<[u8; PORTS_PER_BLOCK as usize]> = Array::with_max_entries(65_536 / PORTS_PER_BLOCK, 0);

/// `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)`
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn socket_state_change(context: RawTracePointContext) -> i32 {
    let sk = context.arg::<u64>(0);
    match context.arg::<i32>(2) {
        LISTEN => {
            let _ = listened(sk);
        }
        // An entry that is there now belongs to an earlier socket at this address.
        ESTABLISHED => {
            tls::socket_gone(sk);
            connection::forget(sk);
        }
        FIN_WAIT1 | LAST_ACK => {
            let _ = sending_ended(sk);
        }
        CLOSE_WAIT => {
            if let Some(followed) = connection::get(sk) {
                connection::end(followed);
            }
        }
        CLOSE => {
            let _ = closed(sk);
        }
        _ => {}
    }
    0
}

/// `TP_PROTO(struct sock *sk)`
#[raw_tracepoint(tracepoint = "tcp_destroy_sock")]
pub fn socket_destroyed(context: RawTracePointContext) -> i32 {
    let sk = context.arg::<u64>(0);
    tls::socket_gone(sk);
    if let Some(followed) = connection::get(sk) {
        connection::finish(followed, CLOSED_FINISHED);
        connection::forget(sk);
    }
    0
}

#[inline(always)]
fn listened(sk: u64) -> Option<()> {
    let port = field!(u16, sk, sock_local_port)?;
    let thread = processes::current();
    let block = SELECTED_PORTS.get(u32::from(port) / PORTS_PER_BLOCK)?;
    let selected = block[usize::from(port) % PORTS_PER_BLOCK as usize];
    if selected != Watch::No as u8 && !processes::is_captured(processes::watch(thread.tgid)) {
        processes::set_watch(thread.tgid, selected);
    }
    process::report(ProcessChange::Listened, thread.tgid, 0, port);
    Some(())
}

#[inline(always)]
fn sending_ended(sk: u64) -> Option<()> {
    let followed = connection::get(sk)?;
    connection::end(followed);
    // Where the peer has finished first, a shutdown of sending looks like a close. But what was not read can be read yet
    // only after a shutdown: a close throws it away, and sends a reset.
    if field!(u8, sk, sock_shutdown)? & SHUT_BOTH == SHUT_BOTH && !socket::has_unread(sk)? {
        tls::socket_gone(sk);
        connection::finish(followed, CLOSED_FINISHED);
        return Some(());
    }
    // SAFETY: takes no argument.
    transfer::report_end_of(sk, processes::current(), true, unsafe { bpf_ktime_get_ns() })
}

/// Both ends have finished, or one has broken off. There may be bytes that the application has yet to read: the
/// connection ends when it is told, or closes its descriptor.
#[inline(always)]
fn closed(sk: u64) -> Option<()> {
    let followed = connection::get(sk)?;
    connection::end(followed);
    if field!(i32, sk, sock_error)? != 0 {
        // SAFETY: a map value.
        unsafe { (*followed).flags |= CONNECTION_RESET }
    }
    Some(())
}
