// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The floor: a program of two instructions on each of the given hooks. What is left is the price of being called.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bpf::{self, KPROBE, RAW_TRACEPOINT, TRACING},
    hooks::Hook,
    perf::{self, Event},
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
                    && libc::ioctl(event.as_raw_fd(), perf::ENABLE as _, 0) == 0
            };
            ensure!(attached, "the probe takes no program: {}", io::Error::last_os_error());
            Ok((program, event))
        }
    }
}

const PERF_EVENT_IOC_SET_BPF: u64 = 0x4004_2408;

fn open_kprobe(function: &str, is_return: bool) -> Result<OwnedFd> {
    const SOURCE: &str = "/sys/bus/event_source/devices/kprobe";
    let kind = fs::read_to_string(format!("{SOURCE}/type"))?.trim().parse()?;
    let format = fs::read_to_string(format!("{SOURCE}/format/retprobe"))?;
    let bit: u32 = format.trim().strip_prefix("config:").context("the format of a return probe")?.parse()?;
    let function = CString::new(function)?;
    let event = Event {
        kind,
        config: u64::from(is_return) << bit,
        // Alive until the event is open.
        config1: function.as_ptr() as u64,
        ..Event::default()
    };
    event.open()
}
