// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The hooks that are in use, as the kernel lists them: whatever Onlooker has attached, without its help.
//!
//! Only kprobes have no target in their links before Linux 6.6; the kernel's list of kprobes has them.

use std::{collections::BTreeSet, fs, io};

use anyhow::{Context as _, Result, bail, ensure};

use crate::bpf::{self, LINK_ITERATOR, LINK_PERF_EVENT, LINK_RAW_TRACEPOINT, LINK_TRACING};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    RawTracepoint {
        name: String,
    },
    /// A kernel function, or a tracepoint, by the number of its type.
    Typed {
        attach_type: u32,
        type_id: u32,
    },
    Kprobe {
        function: String,
        is_return: bool,
    },
}

/// Every hook of the machine. Iterators are none: nobody passes there.
pub fn in_use() -> Result<BTreeSet<Hook>> {
    let mut hooks = BTreeSet::new();
    let mut has_probes = false;
    for link in bpf::links()? {
        let (info, name) = bpf::link_info(&link)?;
        match info.kind {
            LINK_RAW_TRACEPOINT => drop(hooks.insert(Hook::RawTracepoint { name })),
            // attach_type, target_obj_id, target_btf_id
            LINK_TRACING => drop(hooks.insert(Hook::Typed { attach_type: info.words[0], type_id: info.words[2] })),
            LINK_PERF_EVENT => has_probes = true,
            LINK_ITERATOR => {}
            kind => bail!("a link of the kind {kind}, of which the floor knows nothing"),
        }
    }
    if has_probes {
        let probes = kprobes()?;
        ensure!(!probes.is_empty(), "there are links to probes, and no kprobes");
        hooks.extend(probes);
    }
    Ok(hooks)
}

/// `ffffffff9a1b2c30  k  tcp_sendmsg+0x0    [FTRACE]`; `r` for the function's return.
fn kprobes() -> Result<Vec<Hook>> {
    const PLACE: &str = "/sys/kernel/debug";
    let list = format!("{PLACE}/kprobes/list");
    if fs::metadata(&list).is_err() {
        // SAFETY: strings that end in a zero, and no data.
        let result = unsafe {
            libc::mount(c"none".as_ptr(), c"/sys/kernel/debug".as_ptr(), c"debugfs".as_ptr(), 0, std::ptr::null())
        };
        ensure!(result == 0, "no debugfs: {}", io::Error::last_os_error());
    }
    let text = fs::read_to_string(&list)?;
    let probe = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let is_return = words.next()? == "r";
        let function = words.next()?.split('+').next()?.to_owned();
        Some(Hook::Kprobe { function, is_return })
    };
    text.lines().map(|line| probe(line).with_context(|| format!("a kprobe as {line:?}"))).collect()
}
