// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Who is watched: a byte per process id, looked up before anything else is done.

use agent_common::{
    limits::PROCESSES_PER_BLOCK,
    records::{WATCH_CAPTURED, Watch},
};
use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task_btf},
    macros::map,
    maps::Array,
};

use crate::fields::{task_is_typed, typed_field};

const BLOCK: usize = PROCESSES_PER_BLOCK as usize;

/// Sized by the daemon to the machine's largest process id. Bytes, so that two processors never change one together, and
/// mapped into the daemon, so that it changes one without its neighbours.
#[map]
static WATCH_BY_PROCESS: Array<[u8; BLOCK]> = Array::with_max_entries(512, BPF_F_MMAPABLE);

/// A thread, by the numbers of the initial pid namespace, whichever namespace it lives in.
#[derive(Clone, Copy)]
pub struct Thread {
    pub tgid: u32,
    pub tid: u32,
}

impl Thread {
    /// Both numbers in one.
    #[inline(always)]
    pub fn key(self) -> u64 {
        u64::from(self.tgid) << 32 | u64::from(self.tid)
    }
}

#[inline(always)]
pub fn current() -> Thread {
    let both = bpf_get_current_pid_tgid();
    Thread { tgid: (both >> 32) as u32, tid: both as u32 }
}

#[inline(always)]
fn entry(tgid: u32) -> Option<*mut u8> {
    let block = WATCH_BY_PROCESS.get_ptr_mut(tgid / PROCESSES_PER_BLOCK)?;
    // SAFETY: the index is below the block's length.
    Some(unsafe { block.cast::<u8>().add(tgid as usize % BLOCK) })
}

#[inline(always)]
pub fn watch(tgid: u32) -> u8 {
    // SAFETY: the pointer is into a map value; a torn read of a byte does not exist.
    entry(tgid).map_or(Watch::No as u8, |byte| unsafe { byte.read_volatile() })
}

#[inline(always)]
pub fn set_watch(tgid: u32, watch: u8) {
    if let Some(byte) = entry(tgid) {
        // SAFETY: as above.
        unsafe { byte.write_volatile(watch) }
    }
}

#[inline(always)]
pub fn is_captured(watch: u8) -> bool {
    watch & WATCH_CAPTURED != 0
}

/// The current thread, if its process is watched.
#[inline(always)]
pub fn watched() -> Option<Thread> {
    if !task_is_typed() {
        let thread = current();
        return is_captured(watch(thread.tgid)).then_some(thread);
    }
    // SAFETY: takes no argument.
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    let tgid = typed_field!(true, u32, task, task_tgid)?;
    if !is_captured(watch(tgid)) {
        return None;
    }
    Some(Thread { tgid, tid: typed_field!(true, u32, task, task_tid)? })
}
