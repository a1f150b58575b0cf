// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The records in the ring buffer. Each begins with its kind; integers are in the machine's own order.
//!
//! Every field is written by the kernel program, padding is spelled out, and a payload is exactly `captured` bytes:
//! no byte of the ring's earlier content is ever read by the daemon. `Pod` is derived, which fails where padding hides.

use bytemuck::{Pod, Zeroable};

/// What a record is; its first four bytes.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    Opened = 1,
    Data = 2,
    Closed = 3,
    Process = 4,
}

/// First sight of a connection: the first bytes that a watched process moves on it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct OpenedRecord {
    pub kind: u32,
    pub tgid: u32,
    /// Unique while the kernel runs.
    pub connection: u64,
    pub time_ns: u64,
    /// `AF_INET`, `AF_INET6` or `AF_UNIX`; 0 with `OPENED_TLS` where the socket is not known yet.
    pub family: u16,
    pub local_port: u16,
    pub remote_port: u16,
    /// `OPENED_*` bits.
    pub flags: u16,
    /// IPv4 addresses are in the first four bytes. Unix: the socket's address in the kernel, masked, in the first eight,
    /// so that both ends of a pair can be matched.
    pub local_address: [u8; 16],
    /// As above; unix: the peer socket.
    pub remote_address: [u8; 16],
    /// What the daemon calls the socket by when it tells the kernel to stop copying: its address in the kernel, masked.
    pub socket: u64,
    /// Inode number of the network namespace.
    pub network_namespace: u32,
    pub padding: u32,
}

/// Bytes had been received before the first record.
pub const OPENED_RECEIVED_BEFORE: u16 = 1;
/// Bytes had been sent before the first record.
pub const OPENED_SENT_BEFORE: u16 = 2;

/// It is what TLS carries on a socket, read from the library that does: a connection of its own. Another such record of the
/// same connection may follow, when its socket has become known.
pub const OPENED_TLS: u16 = 4;

/// Bytes moved by one call, or by a part of it; the payload follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct DataRecord {
    pub kind: u32,
    pub tgid: u32,
    pub tid: u32,
    /// `DATA_*` bits.
    pub flags: u32,
    pub connection: u64,
    /// Sent: when the call was entered, or the bytes left. Received: when it returned.
    pub time_ns: u64,
    /// Old recordings say here how long the call took.
    pub padding: u32,
    /// Bytes that this record stands for. 0 with `DATA_END`.
    pub length: u32,
    /// Bytes of payload behind this header: the first `captured` of `length`.
    pub captured: u32,
    /// Where in the direction's stream the first byte lies: TCP's sequence number, or for unix sockets a count.
    pub position: u32,
    /// The same for the other direction at the time of the record: what had been sent when this was received.
    pub other_position: u32,
    /// Changes of direction on this connection, this record's included: 1 for the first. Counted as they took place, not as
    /// records are written: a response that is read before the call has returned that sent its request comes after it.
    pub turn: u32,
}

/// The bytes were sent by the watched process; without it they were received.
pub const DATA_SENT: u32 = 1;
/// The direction has ended in order: a read of nothing, or a shutdown.
pub const DATA_END: u32 = 2;
/// The payload could not be read; see `Loss::PayloadUnreadable`.
pub const DATA_UNREADABLE: u32 = 4;

/// A connection is gone.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct ClosedRecord {
    pub kind: u32,
    /// `CLOSED_*`.
    pub reason: u32,
    pub connection: u64,
    pub time_ns: u64,
    /// Changes of direction over the connection's life.
    pub turns: u32,
    pub padding: u32,
}

/// In order.
pub const CLOSED_FINISHED: u32 = 0;
/// By a reset or another error.
pub const CLOSED_RESET: u32 = 1;

/// Something happened to a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct ProcessRecord {
    pub kind: u32,
    /// A `ProcessChange`.
    pub change: u32,
    pub tgid: u32,
    /// Fork: the parent. Otherwise 0.
    pub parent: u32,
    pub time_ns: u64,
    /// Listen: the port. Otherwise 0.
    pub port: u16,
    pub padding: [u8; 6],
    pub name: [u8; 16],
}

#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessChange {
    Forked = 1,
    Executed = 2,
    Listened = 3,
    Exited = 4,
    /// It has mapped code of a file, so that libraries may have come; told by the `syscall` backend only.
    Mapped = 5,
}

/// What the kernel does with a process's calls; a byte per process id. Where it captures, the lowest bit is set: one test
/// for the programs, which make it at every call of every process.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Not looked at. A listen on a selected port changes it.
    No = 0,
    /// Judged and not wanted. A listen on a selected port or an exec is judged again; its exit is reported.
    Refused = 2,
    /// Captured, and so are its children.
    Yes = 1,
    /// Captured until the daemon has judged it.
    Undecided = 3,
    /// Captured, and so are its children, through every exec: chosen by process id.
    Always = 5,
}

/// The bit of a `Watch` that means captured.
pub const WATCH_CAPTURED: u8 = 1;

/// What the kernel keeps of a connection, by the address of its socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Connection {
    pub id: u64,
    /// Of the socket's file: tells a unix socket from a later one at the same address.
    pub inode: u64,
    /// `CONNECTION_*` bits.
    pub flags: u32,
    /// Changes of direction so far.
    pub turn: u32,
    /// The last turn of which a record was delivered.
    pub reported_turn: u32,
    /// Payload bytes that may still be copied in this turn.
    pub budget: u32,
    /// Bytes sent and received since first sight, modulo 2³²; unix sockets only.
    pub sent: u32,
    pub received: u32,
    /// How far the sent direction has been counted into a turn.
    pub sent_counted: u32,
    /// Not zero once a FIN has come or gone, or it was not established when it was first seen. Not a flag: it is set where
    /// packets come in, while another processor changes those.
    pub is_ending: u32,
    /// Of a framed connection: how far its frames have come, received and sent.
    pub lanes: [Lane; 2],
}

/// One direction of a framed connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Lane {
    /// How far in the direction's stream this is so.
    pub position: u32,
    /// A `LANE_*`.
    pub state: u32,
    /// Bytes that have not come of the frame, or of its header.
    pub left: u32,
    /// Bytes at the frame's beginning that have not come, and are copied in any case.
    pub begin_left: u32,
    /// The header's first bytes.
    pub header: [u8; 8],
}

/// Nobody knows where a frame begins.
pub const LANE_LOST: u32 = 0;
/// In a frame's header.
pub const LANE_HEADER: u32 = 1;
/// In a frame that is copied whole.
pub const LANE_WHOLE: u32 = 2;
/// In a frame of data, which is counted.
pub const LANE_COUNTED: u32 = 3;

/// The last bytes went out; without it they came in.
pub const CONNECTION_LAST_SENT: u32 = 1;
/// The `OpenedRecord` was delivered.
pub const CONNECTION_REPORTED: u32 = 2;
/// Nothing more is reported; the entry stays until the socket is gone.
pub const CONNECTION_OVER: u32 = 4;
/// It is a unix socket.
pub const CONNECTION_UNIX: u32 = 8;
/// A reset came in.
pub const CONNECTION_RESET: u32 = 16;
/// The end of the received bytes was reported.
pub const CONNECTION_RECEIVED_END: u32 = 32;
/// Frames follow one another on it, behind headers that say how long they are.
pub const CONNECTION_FRAMED: u32 = 64;

/// How the daemon waits for records; the first entry of the kernel's `READER` array.
pub mod reader {
    /// It is reading, or will look again by itself soon.
    pub const AWAKE: u32 = 0;
    /// It sleeps on a timer: wake it when the ring fills past a watermark.
    pub const NAPPING: u32 = 1;
    /// It sleeps without a timer: wake it for the next record.
    pub const ASLEEP: u32 = 2;
}
