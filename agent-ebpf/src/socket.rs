// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! From a file descriptor of the current task to its socket, and what a socket is: task → files → file → socket → sock.

use agent_common::records::{OPENED_RECEIVED_BEFORE, OPENED_SENT_BEFORE, OpenedRecord};
use aya_ebpf::helpers::{
    bpf_get_current_task,
    generated::{bpf_get_current_task_btf, bpf_skc_to_tcp_sock},
};

use crate::{
    entries,
    fields::{self, field, offset, task_field, typed_field},
};

pub const FAMILY_UNIX: u16 = 1;
pub const FAMILY_V4: u16 = 2;
pub const FAMILY_V6: u16 = 10;

const TYPE_STREAM: u16 = 1;
const PROTOCOL_TCP: u16 = 6;
/// States of include/net/tcp_states.h: those in which no FIN of this end is on its way.
const STATE_ESTABLISHED: u8 = 1;
const STATE_CLOSE_WAIT: u8 = 8;
/// `SOCK_DONE` of include/net/sock.h: TCP sets it when a FIN comes in, and only then.
const FLAG_DONE: u64 = 1 << 1;
/// `RCV_SHUTDOWN` of include/net/sock.h.
const RECEIVE_SHUTDOWN: u8 = 1;

const MODE_FORMAT: u16 = 0o170_000;
const MODE_SOCKET: u16 = 0o140_000;

/// Addresses of a socket's parts in the kernel.
#[derive(Clone, Copy)]
pub struct Socket {
    pub socket: u64,
    pub sk: u64,
}

/// Where the socket behind a descriptor of the current task would be, if it is one: `is_socket` tells. Who finds what this gives
/// in the table of connections need not ask, for no other file keeps the address of a followed socket there.
#[inline(always)]
pub fn find(descriptor: u32) -> Option<Socket> {
    let file = file(descriptor)?;
    if file == 0 {
        return None;
    }
    let socket = field!(u64, file, file_private_data)?;
    let sk = field!(u64, socket, socket_sk)?;
    (sk != 0).then_some(Socket { socket, sk })
}

/// Whether a descriptor of the current task is a socket: the file's own inode says so. What seems to be a socket would, by
/// chance, too.
#[inline(always)]
pub fn is_socket(descriptor: u32) -> bool {
    let mode = || {
        let inode = field!(u64, file(descriptor)?, file_inode)?;
        field!(u16, inode, inode_mode)
    };
    mode().is_some_and(|mode| mode & MODE_FORMAT == MODE_SOCKET)
}

/// The file behind a descriptor of the current task; 0 for none.
#[inline(always)]
fn file(descriptor: u32) -> Option<u64> {
    let is_typed = fields::task_is_typed();
    // SAFETY: take no argument.
    let task = unsafe { if is_typed { bpf_get_current_task_btf() as u64 } else { bpf_get_current_task() } };
    let files = task_field!(is_typed, u64, task, task_files)?;
    let table = task_field!(is_typed, u64, files, files_fdt)?;
    if descriptor >= task_field!(is_typed, u32, table, fdt_max_fds)? {
        return None;
    }
    let slots = task_field!(is_typed, u64, table, fdt_fd)?;
    fields::read::<u64>(slots + u64::from(descriptor) * 8, 0)
}

impl Socket {
    /// The family, for stream sockets that are followed.
    #[inline(always)]
    pub fn followed_family(self) -> Option<u16> {
        let family = field!(u16, self.sk, sock_family)?;
        if field!(u16, self.socket, socket_type)? != TYPE_STREAM {
            return None;
        }
        match family {
            FAMILY_UNIX => Some(family),
            FAMILY_V4 | FAMILY_V6 => (field!(u16, self.sk, sock_protocol)? == PROTOCOL_TCP).then_some(family),
            _ => None,
        }
    }

    #[inline(always)]
    pub fn inode_number(self) -> u64 {
        field!(u64, self.socket, socket_file)
            .and_then(|file| field!(u64, file, file_inode))
            .and_then(|inode| field!(u64, inode, inode_number))
            .unwrap_or(0)
    }

    /// Whether this descriptor is the only reference to the file: closing it closes the socket.
    #[inline(always)]
    pub fn is_last_reference(self) -> bool {
        field!(u64, self.socket, socket_file)
            .and_then(|file| field!(u64, file, file_references))
            .is_some_and(|count| count == u64::from(fields::kernel(|kernel| &kernel.file_single_reference)))
    }
}

/// When bytes that begin at `position` left, in a send that returns now: its entry's time is not needed, for nothing that is the
/// answer to them can be older.
///
/// It is the time of the last packet, which is theirs or a later acknowledgement's. They may not have left at all: then it is
/// now. With pacing TCP says when the next packet may leave, and it is now, too.
#[inline(always)]
pub fn left_at(tcp: u64, position: u32) -> Option<u64> {
    let has_left = typed_field!(true, u32, tcp, tcp_send_next)?.wrapping_sub(position) as i32 > 0;
    let is_paced = typed_field!(true, u32, tcp, sock_pacing)? != 0;
    if has_left && !is_paced { typed_field!(true, u64, tcp, tcp_left) } else { Some(entries::now()) }
}

/// Sequence numbers past the last byte sent, and past the last byte that the application has read, when a call that `sent`
/// or received returns. `TYPED` where `tcp` comes from `as_tcp`.
///
/// A FIN takes a sequence number as well: where one has come or gone, it is left out here, so that nothing seems to be missing
/// behind the last byte.
#[inline(always)]
pub fn tcp_positions<const TYPED: bool>(tcp: u64, sent: bool, is_ending: bool) -> Option<(u32, u32)> {
    let (sent_to, received_to) =
        (typed_field!(TYPED, u32, tcp, tcp_sent)?, typed_field!(TYPED, u32, tcp, tcp_received)?);
    if is_ending { without_fins(tcp, sent, sent_to, received_to) } else { Some((sent_to, received_to)) }
}

#[inline(always)]
fn without_fins(sk: u64, sent: bool, sent_to: u32, received_to: u32) -> Option<(u32, u32)> {
    let state = field!(u8, sk, sock_state)?;
    if state == STATE_ESTABLISHED {
        return Some((sent_to, received_to));
    }
    // What was sent lies before the FIN. A connection that was reset has sent none perhaps: one byte too few said to
    // have been sent delays nothing, one too many would be waited for.
    let sent_fin = !sent && state != STATE_CLOSE_WAIT;
    // Where a FIN has come, it is the last that was received: all is read when it is.
    let read_fin = has_received_fin(sk)? && received_to == field!(u32, sk, tcp_receive_next)?;
    Some((sent_to.wrapping_sub(u32::from(sent_fin)), received_to.wrapping_sub(u32::from(read_fin))))
}

/// Whether a FIN may have come or gone already.
#[inline(always)]
pub fn is_ending(sk: u64) -> bool {
    field!(u8, sk, sock_state) != Some(STATE_ESTABLISHED)
}

/// The socket as what the verifier knows to be a TCP socket, if it is one.
#[inline(always)]
pub fn as_tcp(sk: u64) -> Option<u64> {
    // SAFETY: the helper looks at the socket, whose type the verifier checks.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sk as *mut _) } as u64;
    (tcp != 0).then_some(tcp)
}

#[inline(always)]
fn has_received_fin(sk: u64) -> Option<bool> {
    Some(field!(u64, sk, sock_flags)? & FLAG_DONE != 0)
}

/// Whether bytes have come that the application has yet to read; a FIN behind them is none.
#[inline(always)]
pub fn has_unread(sk: u64) -> Option<bool> {
    let waiting = field!(u32, sk, tcp_receive_next)?.wrapping_sub(field!(u32, sk, tcp_received)?);
    Some(waiting > u32::from(has_received_fin(sk)?))
}

/// Whether a read of nothing is the end of what comes in: a read that asked for nothing gives nothing, too.
#[inline(always)]
pub fn has_read_all(sk: u64, is_unix: bool) -> Option<bool> {
    let shut = field!(u8, sk, sock_shutdown)? & RECEIVE_SHUTDOWN != 0;
    Some(shut && (is_unix || field!(u32, sk, tcp_received)? == field!(u32, sk, tcp_receive_next)?))
}

/// `OPENED_*` bits: whether bytes had passed before the call that moved `bytes`.
///
/// The streams' first sequence numbers are what was acknowledged less how many bytes were; a SYN or FIN may count as
/// one, so that a single byte before is not noticed.
#[inline(always)]
pub fn tcp_bytes_before(sk: u64, sent: bool, bytes: u32) -> Option<u16> {
    let (sent_to, received_to) = tcp_positions::<false>(sk, sent, true)?;
    let sent_from = field!(u32, sk, tcp_acknowledged)?.wrapping_sub(field!(u64, sk, tcp_bytes_acknowledged)? as u32);
    let received_from = field!(u32, sk, tcp_receive_next)?.wrapping_sub(field!(u64, sk, tcp_bytes_received)? as u32);
    let sent_before = sent_to.wrapping_sub(if sent { bytes } else { 0 }).wrapping_sub(sent_from) as i32;
    let received_before = received_to.wrapping_sub(if sent { 0 } else { bytes }).wrapping_sub(received_from) as i32;
    let mut flags = 0;
    if sent_before > 1 {
        flags |= OPENED_SENT_BEFORE;
    }
    if received_before > 1 {
        flags |= OPENED_RECEIVED_BEFORE;
    }
    Some(flags)
}

/// Fills in the addresses of a connection's two ends.
#[inline(always)]
pub fn describe(socket: Socket, family: u16, sent: bool, bytes: u32, record: &mut OpenedRecord) {
    // Read again: what the helper gives is a number, and a pointer whose type the verifier knows cannot be masked.
    let sk = field!(u64, socket.socket, socket_sk).unwrap_or(0);
    record.family = family;
    record.socket = fields::masked(sk);
    record.network_namespace = network_namespace(sk).unwrap_or(0);
    if family == FAMILY_UNIX {
        (record.local_port, record.remote_port, record.flags) = (0, 0, 0);
        let peer = field!(u64, sk, unix_peer).unwrap_or(0);
        write_address(&mut record.local_address, fields::masked(sk), 0);
        write_address(&mut record.remote_address, fields::masked(peer), 0);
        return;
    }
    record.local_port = field!(u16, sk, sock_local_port).unwrap_or(0);
    record.remote_port = u16::from_be(field!(u16, sk, sock_remote_port).unwrap_or(0));
    record.flags = tcp_bytes_before(sk, sent, bytes).unwrap_or(0);
    if family == FAMILY_V4 {
        let (local, remote) = (field!(u32, sk, sock_local_v4), field!(u32, sk, sock_remote_v4));
        write_address(&mut record.local_address, u64::from(local.unwrap_or(0)), 0);
        write_address(&mut record.remote_address, u64::from(remote.unwrap_or(0)), 0);
        return;
    }
    if let (Some(local), Some(remote)) = (offset!(sock_local_v6), offset!(sock_remote_v6)) {
        fields::copy(&mut record.local_address, sk, local);
        fields::copy(&mut record.remote_address, sk, remote);
    } else {
        write_address(&mut record.local_address, 0, 0);
        write_address(&mut record.remote_address, 0, 0);
    }
}

/// Sixteen bytes as two numbers, in the machine's own order.
#[inline(always)]
fn write_address(to: &mut [u8; 16], low: u64, high: u64) {
    let halves = (&raw mut *to).cast::<u64>();
    // SAFETY: sixteen bytes; their place may be odd.
    unsafe {
        halves.write_unaligned(low);
        halves.add(1).write_unaligned(high);
    }
}

#[inline(always)]
fn network_namespace(sk: u64) -> Option<u32> {
    let net = field!(u64, sk, sock_net)?;
    let inside = offset!(net_namespace)? + offset!(namespace_number)?;
    fields::read::<u32>(net, inside)
}
