// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The few commands of bpf(2) that the bench needs and aya does not offer: walking all links, and loading a program of
//! given instructions. Numbers and layouts are those of include/uapi/linux/bpf.h.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

pub const RAW_TRACEPOINT: u32 = 17;
pub const TRACING: u32 = 26;
pub const KPROBE: u32 = 2;

const PROG_LOAD: i64 = 5;
const OBJ_GET_INFO_BY_FD: i64 = 15;
const RAW_TRACEPOINT_OPEN: i64 = 17;
const LINK_GET_FD_BY_ID: i64 = 30;
const LINK_GET_NEXT_ID: i64 = 31;

/// `r0 = 0; exit`
const NOTHING: [u64; 2] = [0xb7, 0x95];

/// Fields of `union bpf_attr` that follow each other up to `expected_attach_type` and `attach_btf_id`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
    type_fd: u32,
    function_size: u32,
    functions: u64,
    functions_count: u32,
    line_size: u32,
    lines: u64,
    lines_count: u32,
    attach_type_id: u32,
}

/// The first fields of `struct bpf_link_info`, whose union begins with `words`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkInfo {
    pub kind: u32,
    pub id: u32,
    pub program: u32,
    padding: u32,
    pub words: [u32; 12],
}

/// A program that does nothing, for a hook of this kind.
pub fn load_nothing(kind: u32, attach_type: u32, attach_type_id: u32) -> io::Result<OwnedFd> {
    let attributes = ProgLoad {
        kind,
        instructions: NOTHING.len() as u32,
        code: NOTHING.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        name: *b"nothing\0\0\0\0\0\0\0\0\0",
        attach_type,
        attach_type_id,
        ..ProgLoad::default()
    };
    descriptor(PROG_LOAD, &attributes)
}

/// Attaches to a raw tracepoint; without a name, to what the program was loaded for.
pub fn open_raw_tracepoint(program: &OwnedFd, name: Option<&CStr>) -> io::Result<OwnedFd> {
    let name = name.map_or(0, |name| name.as_ptr() as u64);
    descriptor(RAW_TRACEPOINT_OPEN, &[name, program.as_raw_fd() as u64])
}

/// Every link of the machine.
pub fn links() -> io::Result<Vec<OwnedFd>> {
    let mut links = Vec::new();
    let mut id = 0_u32;
    loop {
        let mut attributes = [id, 0, 0];
        match call(LINK_GET_NEXT_ID, &mut attributes) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(links),
            result => result?,
        };
        id = attributes[1];
        links.push(descriptor(LINK_GET_FD_BY_ID, &[id, 0, 0])?);
    }
}

/// What the kernel says of a link, and the name of its tracepoint where it is on one.
pub fn link_info(link: &OwnedFd) -> io::Result<(LinkInfo, String)> {
    let mut name = [0_u8; 128];
    let mut info = LinkInfo::default();
    fill_info(link, &mut info)?;
    if info.kind == LINK_RAW_TRACEPOINT {
        let at = name.as_mut_ptr() as u64;
        info = LinkInfo { kind: info.kind, ..LinkInfo::default() };
        info.words[..3].copy_from_slice(&[at as u32, (at >> 32) as u32, name.len() as u32]);
        fill_info(link, &mut info)?;
    }
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    Ok((info, String::from_utf8_lossy(&name[..end]).into_owned()))
}

pub const LINK_RAW_TRACEPOINT: u32 = 1;
pub const LINK_TRACING: u32 = 2;
pub const LINK_ITERATOR: u32 = 4;
pub const LINK_PERF_EVENT: u32 = 7;

fn fill_info(link: &OwnedFd, info: &mut LinkInfo) -> io::Result<()> {
    let size = size_of::<LinkInfo>() as u64;
    let mut attributes = [link.as_raw_fd() as u64 | size << 32, std::ptr::from_mut(info) as u64];
    call(OBJ_GET_INFO_BY_FD, &mut attributes).map(drop)
}

fn descriptor<T>(command: i64, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: these commands only read their attributes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}

fn call<T>(command: i64, attributes: &mut T) -> io::Result<i64> {
    // SAFETY: the attributes are writable for the size that is said; the addresses in them are of values that are alive.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
