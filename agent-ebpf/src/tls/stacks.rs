// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Whether a thread is on the stack that it was started with, or on one that the program has made itself: there a call can be left
//! to go on elsewhere, with other calls begun and ended meanwhile, perhaps on another thread.
//!
//! The first thread's stack is where the kernel has put it. What C libraries start has the thread's own block, which its pointer
//! leads to, at the top of its stack (glibc's nptl, musl). A thread that a program gives a stack of another form is taken for one
//! on a foreign stack: its calls then tell no socket, which is the lesser mistake.

use aya_ebpf::{helpers::bpf_get_current_task, macros::map, maps::LruHashMap};

use super::flag::Flag;
use crate::{fields::field, processes::Thread};

/// The usual most that a stack may grow to. Larger: a foreign one that lies below it by chance is not recognised. Smaller:
/// threads that are deep in their own are taken for such.
const STACK_BYTES: u64 = 8 << 20;

/// Processes that were seen on foreign stacks. Larger: kernel memory. Smaller: one that was forgotten is recognised again by its
/// next such call.
const PROCESSES: u32 = 1024;

#[map]
static PROCESS_WITH_STACKS: LruHashMap<u32, u32> = LruHashMap::with_max_entries(PROCESSES, 0);

/// Set once there is one.
static ARE_FOREIGN: Flag = Flag::new();

/// Whether any process was seen on a foreign stack.
#[inline(always)]
pub fn are_foreign() -> bool {
    ARE_FOREIGN.is_set()
}

/// Whether the thread's process has other stacks than those of its threads, as far as was seen by now.
#[inline(always)]
pub fn has_foreign(thread: Thread, stack: u64) -> bool {
    if are_foreign() && PROCESS_WITH_STACKS.get_ptr(&thread.tgid).is_some() {
        return true;
    }
    let Some(top) = top(thread) else { return true };
    if top.wrapping_sub(stack) < STACK_BYTES {
        return false;
    }
    let _ = PROCESS_WITH_STACKS.insert(&thread.tgid, &0, 0);
    ARE_FOREIGN.set();
    true
}

#[inline(always)]
fn top(thread: Thread) -> Option<u64> {
    // SAFETY: takes no argument.
    let task = unsafe { bpf_get_current_task() };
    if thread.tid == thread.tgid {
        return field!(u64, field!(u64, task, task_mm)?, mm_stack);
    }
    let thread = task + u64::from(crate::fields::offset!(task_thread)?);
    field!(u64, thread, thread_pointer)
}
