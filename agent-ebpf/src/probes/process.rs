// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Processes that come and go: a fork inherits, an exec is judged again, an exit frees.

use agent_common::records::{ProcessChange, ProcessRecord, RecordKind, Watch};
use aya_ebpf::{
    helpers::{bpf_get_current_comm, generated::bpf_ktime_get_ns},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};

use crate::{
    calls,
    emit::emit,
    fields::{field, typed_field},
    processes::{self, Thread},
    tls,
};

/// Not zero where the daemon has to see a program before it can say whether it is watched: what it does until then is
/// captured. Zero where only a listen on a port can select.
#[unsafe(no_mangle)]
static JUDGE_EVERY_EXEC: u8 = 0;

/// Not zero where calls under way are kept by thread.
#[unsafe(no_mangle)]
static KEEPS_CALLS: u8 = 0;

/// `TP_PROTO(struct task_struct *parent, struct task_struct *child)`
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(context: RawTracePointContext) -> i32 {
    let _ = forked(context.arg::<u64>(1));
    0
}

/// `TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(_context: RawTracePointContext) -> i32 {
    let tgid = processes::current().tgid;
    let before = processes::watch(tgid);
    // SAFETY: a static; volatile, because the daemon replaces it at load.
    let judged = unsafe { (&raw const JUDGE_EVERY_EXEC).read_volatile() } != 0;
    if before == Watch::Always as u8 {
        report(ProcessChange::Executed, tgid, 0, 0);
    } else if judged || processes::is_captured(before) {
        processes::set_watch(tgid, Watch::Undecided as u8);
        report(ProcessChange::Executed, tgid, 0, 0);
    } else {
        processes::set_watch(tgid, Watch::No as u8);
    }
    0
}

/// `TP_PROTO(struct task_struct *p)`, from Linux 6.17 on with `bool group_dead`
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(context: RawTracePointContext) -> i32 {
    // SAFETY: a static; volatile, because the daemon replaces it at load.
    if unsafe { (&raw const KEEPS_CALLS).read_volatile() } != 0 {
        calls::forget(processes::current().tid);
    }
    tls::thread_gone(processes::current());
    let _ = exited(context.arg::<u64>(0));
    0
}

#[inline(always)]
fn forked(child: u64) -> Option<()> {
    let parent = processes::current().tgid;
    let child = field!(u32, child, task_tgid)?;
    if child == parent {
        return None;
    }
    let inherited = processes::watch(parent);
    if processes::is_captured(inherited) {
        processes::set_watch(child, inherited);
        report(ProcessChange::Forked, child, parent, 0);
    }
    Some(())
}

/// The last thread of a process takes it along: `signal->live` counts those that are left.
#[inline(always)]
fn exited(task: u64) -> Option<()> {
    let signal = field!(u64, task, task_signal)?;
    if field!(i32, signal, signal_live)? > 0 {
        return None;
    }
    let tgid = field!(u32, task, task_tgid)?;
    if processes::watch(tgid) != Watch::No as u8 {
        processes::set_watch(tgid, Watch::No as u8);
        report(ProcessChange::Exited, tgid, 0, 0);
    }
    Some(())
}

/// `VM_EXEC` of include/linux/mm.h.
const EXECUTABLE: u64 = 4;

/// `int uprobe_mmap(struct vm_area_struct *vma)`: where the kernel itself puts probes into a mapping of a file that has come. No
/// other function is called for so few mappings, and the process's map is locked: who reads it then finds the mapping there.
#[inline(always)]
pub fn file_mapped<const TYPED: bool>(vma: u64, thread: Thread) -> Option<()> {
    if typed_field!(TYPED, u64, vma, vma_flags)? & EXECUTABLE != 0 {
        code_mapped(thread);
    }
    Some(())
}

/// Code of a file was mapped: a library has come.
#[inline(always)]
pub fn code_mapped(thread: Thread) {
    if tls::is_read() {
        report(ProcessChange::Mapped, thread.tgid, 0, 0);
    }
}

#[inline(always)]
pub fn report(change: ProcessChange, tgid: u32, parent: u32, port: u16) {
    let record = ProcessRecord {
        kind: RecordKind::Process as u32,
        change: change as u32,
        tgid,
        parent,
        // SAFETY: takes no argument.
        time_ns: unsafe { bpf_ktime_get_ns() },
        port,
        padding: [0; 6],
        name: bpf_get_current_comm().unwrap_or([0; 16]),
    };
    emit(&raw const record, size_of::<ProcessRecord>() as u64);
}
