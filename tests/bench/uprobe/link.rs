// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One link over many places of a file, with a program that does nothing. Layout of `struct { … } uprobe_multi` in
//! include/uapi/linux/bpf.h, Linux 6.6.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use crate::bpf::{KPROBE, load_nothing};

const LINK_CREATE: i64 = 28;
const TRACE_UPROBE_MULTI: u32 = 48;
const RETURN: u32 = 1;

/// Places in a file at which functions are entered, and such whose return is caught.
#[derive(Debug, Default)]
pub struct Places {
    pub entered: Vec<u64>,
    pub returned: Vec<u64>,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    reference_counters: u64,
    cookies: u64,
    count: u32,
    probe_flags: u32,
    process: u32,
    padding: u32,
}

pub fn attach(file: &File, places: &Places) -> io::Result<Vec<OwnedFd>> {
    let mut held = Vec::new();
    for (offsets, flags) in [(&places.returned, RETURN), (&places.entered, 0)] {
        if offsets.is_empty() {
            continue;
        }
        let program = load_nothing(KPROBE, TRACE_UPROBE_MULTI, 0)?;
        let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let attributes = LinkCreate {
            program: program.as_raw_fd() as u32,
            target: 0,
            attach_type: TRACE_UPROBE_MULTI,
            flags: 0,
            path: path.as_ptr() as u64,
            offsets: offsets.as_ptr() as u64,
            reference_counters: 0,
            cookies: 0,
            count: offsets.len() as u32,
            probe_flags: flags,
            process: 0,
            padding: 0,
        };
        let size = size_of::<LinkCreate>();
        // SAFETY: the command reads its attributes, and what they point to is alive.
        let link = unsafe { libc::syscall(libc::SYS_bpf, LINK_CREATE, std::ptr::from_ref(&attributes), size) };
        if link < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for the caller.
        held.extend([program, unsafe { OwnedFd::from_raw_fd(link as i32) }]);
    }
    Ok(held)
}
