// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Events of perf, for probes and for samples: opened, for whatever runs on the guest's one processor.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use anyhow::{Result, ensure};

/// `PERF_EVENT_IOC_ENABLE`
pub const ENABLE: libc::c_ulong = 0x2400;

const PERF_FLAG_FD_CLOEXEC: u64 = 1 << 3;

/// `struct perf_event_attr` up to `config2`, as include/uapi/linux/perf_event.h has it: its second published size, and all
/// that is needed here.
#[repr(C)]
#[derive(Default)]
pub struct Event {
    pub kind: u32,
    /// Filled in by `open`.
    pub size: u32,
    pub config: u64,
    pub sample_period: u64,
    pub sample_type: u64,
    pub read_format: u64,
    pub flags: u64,
    pub wakeup: u32,
    pub breakpoint: u32,
    /// Of a kprobe: its function's name.
    pub config1: u64,
    pub config2: u64,
}

impl Event {
    pub fn open(mut self) -> Result<OwnedFd> {
        self.size = size_of::<Self>() as u32;
        let (every_process, processor, no_group) = (-1, 0, -1);
        // SAFETY: the event is alive and as long as it says; who made it answers for what it points to.
        let result = unsafe {
            let flags = PERF_FLAG_FD_CLOEXEC;
            libc::syscall(libc::SYS_perf_event_open, &raw const self, every_process, processor, no_group, flags)
        };
        ensure!(result >= 0, "no event of perf: {}", io::Error::last_os_error());
        // SAFETY: the kernel has just made this descriptor for the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
    }
}
