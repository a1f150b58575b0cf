// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Calls that threads were waiting in when the hooks of `typed` or `kprobes` came: those only see calls from their entry.
//! These threads' next return from a system call is looked at as the `syscall` backend would.
//!
//! The daemon lists the threads, attaches this before the other hooks, and detaches it when none is left.

use agent_common::limits::EARLY_CALLS;
use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::{map, raw_tracepoint},
    maps::{Array, HashMap},
    programs::RawTracePointContext,
};

use super::syscall;
use crate::processes;

#[map]
static EARLY_CALL_BY_THREAD: HashMap<u32, u32> = HashMap::with_max_entries(EARLY_CALLS, BPF_F_NO_PREALLOC);

/// How many of them have returned.
#[map]
static EARLY_CALLS_ENDED: Array<u32> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn early_call_exit(context: RawTracePointContext) -> i32 {
    let thread = processes::current();
    if EARLY_CALL_BY_THREAD.get_ptr(&thread.tid).is_none() {
        return 0;
    }
    let _ = EARLY_CALL_BY_THREAD.remove(&thread.tid);
    if let Some(ended) = EARLY_CALLS_ENDED.get_ptr_mut(0) {
        // SAFETY: the only entry of an array. Two threads that return together may count as one: the daemon then waits
        // for its time limit instead.
        unsafe { *ended += 1 }
    }
    if processes::is_captured(processes::watch(thread.tgid)) {
        let _ = syscall::exit(&context, thread);
    }
    0
}
