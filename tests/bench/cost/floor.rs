// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The floor: a program of two instructions on each of the given hooks. What is left is the price of being called.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bpf::{self, KPROBE, RAW_TRACEPOINT, TRACING},
    hooks::Hook,
};

/// Dropped, everything is detached.
pub struct Floor {
    _descriptors: Vec<OwnedFd>,
}

pub fn attach(hooks: &BTreeSet<Hook>) -> Result<Floor> {
    let mut descriptors = Vec::new();
    for hook in hooks {
        let (program, link) = attach_one(hook).with_context(|| format!("the floor has no {hook:?}"))?;
        descriptors.extend([program, link]);
    }
    Ok(Floor { _descriptors: descriptors })
}

fn attach_one(hook: &Hook) -> Result<(OwnedFd, OwnedFd)> {
    match hook {
        Hook::RawTracepoint { name } => {
            let program = bpf::load_nothing(RAW_TRACEPOINT, 0, 0)?;
            let link = bpf::open_raw_tracepoint(&program, Some(&CString::new(name.as_str())?))?;
            Ok((program, link))
        }
        Hook::Typed { attach_type, type_id } => {
            let program = bpf::load_nothing(TRACING, *attach_type, *type_id)?;
            let link = bpf::open_raw_tracepoint(&program, None)?;
            Ok((program, link))
        }
        Hook::Kprobe { function, is_return } => {
            let program = bpf::load_nothing(KPROBE, 0, 0)?;
            let event = open_kprobe(function, *is_return)?;
            // SAFETY: commands of include/uapi/linux/perf_event.h with a descriptor, and with nothing.
            let attached = unsafe {
                libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_SET_BPF as _, program.as_raw_fd()) == 0
                    && libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_ENABLE as _, 0) == 0
            };
            ensure!(attached, "the probe takes no program: {}", io::Error::last_os_error());
            Ok((program, event))
        }
    }
}

const PERF_FLAG_FD_CLOEXEC: u64 = 1 << 3;
const PERF_EVENT_IOC_ENABLE: u64 = 0x2400;
const PERF_EVENT_IOC_SET_BPF: u64 = 0x4004_2408;

/// `struct perf_event_attr` up to `config2`, which is its second published size and all that probes need.
#[repr(C)]
#[derive(Default)]
struct PerfEvent {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    function: u64,
    offset: u64,
}

fn open_kprobe(function: &str, is_return: bool) -> Result<OwnedFd> {
    const SOURCE: &str = "/sys/bus/event_source/devices/kprobe";
    let kind = fs::read_to_string(format!("{SOURCE}/type"))?.trim().parse()?;
    let format = fs::read_to_string(format!("{SOURCE}/format/retprobe"))?;
    let bit: u32 = format.trim().strip_prefix("config:").context("the format of a return probe")?.parse()?;
    let function = CString::new(function)?;
    let event = PerfEvent {
        kind,
        size: size_of::<PerfEvent>() as u32,
        config: u64::from(is_return) << bit,
        function: function.as_ptr() as u64,
        ..PerfEvent::default()
    };
    let (every_process, processor, no_group) = (-1, 0, -1);
    // SAFETY: the event and the name in it are alive and as long as it says.
    let result = unsafe {
        let flags = PERF_FLAG_FD_CLOEXEC;
        libc::syscall(libc::SYS_perf_event_open, &raw const event, every_process, processor, no_group, flags)
    };
    ensure!(result >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
