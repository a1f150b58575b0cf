// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A map of sockets with a verdict on every message: whoever is in it has its own send and receive functions replaced by
//! the kernel (`tcp_bpf_sendmsg`, `tcp_bpf_recvmsg`). In: sockets. Out: the same, which work as before.
//!
//! The few commands of bpf(2) that this takes, for aya asks for an object file. Numbers and layouts are those of
//! include/uapi/linux/bpf.h.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd},
};

const MAP_CREATE: i64 = 0;
const MAP_UPDATE_ELEM: i64 = 2;
const PROG_LOAD: i64 = 5;
const PROG_ATTACH: i64 = 8;

const MAP_TYPE_SOCKMAP: u32 = 15;
const PROG_TYPE_SK_MSG: u32 = 16;
const SK_MSG_VERDICT: u32 = 7;

/// `r0 = SK_PASS; exit`
const PASS: [u64; 2] = [1 << 32 | 0xb7, 0x95];

#[repr(C)]
struct ProgLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    rest: [u64; 3],
}

#[repr(C)]
struct UpdateElem {
    map: u64,
    key: u64,
    value: u64,
    flags: u64,
}

/// Dropped, the sockets have their functions back.
pub struct Sockmap {
    map: OwnedFd,
    _program: OwnedFd,
}

impl Sockmap {
    /// For this many sockets.
    pub fn passing(entries: u32) -> io::Result<Self> {
        let number_bytes = size_of::<u32>() as u32;
        let map = descriptor(MAP_CREATE, &[MAP_TYPE_SOCKMAP, number_bytes, number_bytes, entries])?;
        let program = descriptor(
            PROG_LOAD,
            &ProgLoad {
                kind: PROG_TYPE_SK_MSG,
                instructions: PASS.len() as u32,
                code: PASS.as_ptr() as u64,
                license: c"GPL".as_ptr() as u64,
                rest: [0; 3],
            },
        )?;
        bpf(PROG_ATTACH, &[map.as_raw_fd() as u32, program.as_raw_fd() as u32, SK_MSG_VERDICT, 0])?;
        Ok(Self { map, _program: program })
    }

    /// Takes a connected socket in.
    pub fn insert(&self, place: u32, socket: &impl AsRawFd) -> io::Result<()> {
        let socket = socket.as_raw_fd();
        let update = UpdateElem {
            map: self.map.as_raw_fd() as u64,
            key: &raw const place as u64,
            value: &raw const socket as u64,
            flags: 0,
        };
        bpf(MAP_UPDATE_ELEM, &update).map(drop)
    }
}

fn descriptor<T>(command: i64, attributes: &T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel has just made this descriptor for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: i64, attributes: &T) -> io::Result<i32> {
    // SAFETY: the attributes are as long as is said; what they point to is alive, and as long as the kernel takes it for.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
