// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The backends: which kernel programs each consists of, and what each is attached to.
//!
//! In: a loaded object. Out: its programs, attached, or what the kernel has refused. All backends give the same records.

use std::path::Path;

use aya::{
    Btf, Ebpf, Endianness,
    programs::{FEntry, FExit, KProbe, RawTracePoint},
};

use log::debug;

use super::{CaptureError, KernelTypes, error::refused};
use crate::config::BackendChoice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// At the entry and return of the kernel's socket functions, by their types.
    Fentry,
    /// The same functions, by probes.
    Kprobe,
    /// System calls, as they return.
    Syscall,
}

/// What a program is, and is attached to.
#[derive(Clone, Copy)]
enum Hook {
    Tracepoint(&'static str),
    Entry(&'static str),
    Return(&'static str),
    /// Entry or return, as the program itself says.
    Probe(&'static [&'static str]),
}

/// Every backend has these: what tells of processes comes before what reads their bytes.
const COMMON: [(&str, Hook); 5] = [
    ("process_fork", Hook::Tracepoint("sched_process_fork")),
    ("process_exec", Hook::Tracepoint("sched_process_exec")),
    ("process_exit", Hook::Tracepoint("sched_process_exit")),
    ("socket_state_change", Hook::Tracepoint("inet_sock_set_state")),
    ("socket_destroyed", Hook::Tracepoint("tcp_destroy_sock")),
];

const SYSCALL: [(&str, Hook); 2] =
    [("syscall_enter", Hook::Tracepoint("sys_enter")), ("syscall_exit", Hook::Tracepoint("sys_exit"))];

/// Returns before entries, but for sends: a return whose entry was not seen has its own time only. A TCP send needs none.
const FENTRY: [(&str, Hook); 16] = [
    ("inet_receive_return", Hook::Return("inet_recvmsg")),
    ("inet6_receive_return", Hook::Return("inet6_recvmsg")),
    ("unix_receive_return", Hook::Return("unix_stream_recvmsg")),
    ("inet_splice_return", Hook::Return("tcp_splice_read")),
    ("unix_splice_return", Hook::Return("unix_stream_splice_read")),
    ("send_wait_entry", Hook::Entry("sk_stream_wait_memory")),
    ("inet_send_return", Hook::Return("inet_sendmsg")),
    ("inet6_send_return", Hook::Return("inet6_sendmsg")),
    ("unix_send_entry", Hook::Entry("unix_stream_sendmsg")),
    ("unix_send_return", Hook::Return("unix_stream_sendmsg")),
    ("inet_page_return", Hook::Return("inet_sendpage")),
    ("unix_page_entry", Hook::Entry("unix_stream_sendpage")),
    ("unix_page_return", Hook::Return("unix_stream_sendpage")),
    ("unix_release_entry", Hook::Entry("unix_release")),
    ("unix_shutdown_entry", Hook::Entry("unix_shutdown")),
    ("file_mapped_entry", Hook::Entry(FILE_MAPPED)),
];

const KPROBE_ENTRIES: [(&str, Hook); 7] = [
    ("receive_probe", Hook::Probe(&["inet_recvmsg", "inet6_recvmsg", "unix_stream_recvmsg"])),
    ("splice_probe", Hook::Probe(&["tcp_splice_read", "unix_stream_splice_read"])),
    ("send_probe", Hook::Probe(&["inet_sendmsg", "inet6_sendmsg", "unix_stream_sendmsg"])),
    ("send_page_probe", Hook::Probe(&["inet_sendpage", "unix_stream_sendpage"])),
    ("unix_release_probe", Hook::Probe(&["unix_release"])),
    ("unix_shutdown_probe", Hook::Probe(&["unix_shutdown"])),
    ("file_mapped_probe", Hook::Probe(&[FILE_MAPPED])),
];

/// What tells how sends and receives have ended, before Linux 6.3.
const KPROBE_RETURNS: [(&str, Hook); 3] = [
    ("receive_settled_probe", Hook::Probe(&["tcp_cleanup_rbuf"])),
    ("receive_return_probe", Hook::Probe(&["unix_stream_recvmsg", "unix_stream_splice_read"])),
    (
        "send_return_probe",
        Hook::Probe(&["inet_sendmsg", "inet6_sendmsg", "unix_stream_sendmsg", "inet_sendpage", "unix_stream_sendpage"]),
    ),
];

/// And from it on, at a fifth of the price.
const KPROBE_LENGTHS: [(&str, Hook); 4] = [
    ("received_length", Hook::Tracepoint("sock_recv_length")),
    ("receive_return_probe", Hook::Probe(&["tcp_splice_read", "unix_stream_splice_read"])),
    ("sent_length", Hook::Tracepoint(SENT_LENGTH)),
    ("send_return_probe", Hook::Probe(&["inet_sendpage", "unix_stream_sendpage"])),
];

/// Where the kernel puts probes into what is mapped: a library has come. Not there in kernels that have no such probes.
const FILE_MAPPED: &str = "uprobe_mmap";

/// One of the tracepoints of Linux 6.3; the other came with it.
const SENT_LENGTH: &str = "sock_send_length";

/// The program that sees the end of calls that were under way when the functions' hooks came.
pub const EARLY_CALLS: &str = "early_call_exit";

/// Where a kernel that has probes says so. Asked first: it costs nothing, where loading the programs costs.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// Functions that are missing from kernels of some version or configuration, and are not needed there: `sendpage` was
/// taken out in Linux 6.5, and IPv6 or unix sockets may be left out or be a module.
const OPTIONAL: [&str; 10] = [
    "inet_sendpage",
    "unix_stream_sendpage",
    "inet6_sendmsg",
    "inet6_recvmsg",
    "unix_stream_sendmsg",
    "unix_stream_recvmsg",
    "unix_stream_splice_read",
    "unix_release",
    "unix_shutdown",
    FILE_MAPPED,
];

impl Backend {
    /// What to try, best first.
    #[must_use]
    pub const fn candidates(choice: BackendChoice) -> &'static [Self] {
        match choice {
            BackendChoice::Auto => &[Self::Fentry, Self::Kprobe, Self::Syscall],
            BackendChoice::Fentry => &[Self::Fentry],
            BackendChoice::Kprobe => &[Self::Kprobe],
            BackendChoice::Syscall => &[Self::Syscall],
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Syscall => "syscall",
        }
    }

    /// What it has besides what all have, in the order in which it is attached.
    fn own(self, kernel: &KernelTypes) -> Vec<(&'static str, Hook)> {
        match self {
            Self::Fentry => FENTRY.to_vec(),
            Self::Kprobe if kernel.has_tracepoint(SENT_LENGTH) => [&KPROBE_LENGTHS[..], &KPROBE_ENTRIES].concat(),
            Self::Kprobe => [&KPROBE_RETURNS[..], &KPROBE_ENTRIES].concat(),
            Self::Syscall => SYSCALL.to_vec(),
        }
    }

    /// Whether it hooks functions rather than system calls, and so misses the end of calls that are under way.
    #[must_use]
    pub const fn hooks_functions(self) -> bool {
        !matches!(self, Self::Syscall)
    }

    /// Loads and attaches every program; answers how many hooks there are. `before_attaching` runs when all is loaded.
    pub(super) fn attach(
        self,
        programs: &mut Ebpf,
        kernel: &KernelTypes,
        before_attaching: impl FnOnce(&mut Ebpf) -> Result<(), CaptureError>,
    ) -> Result<usize, CaptureError> {
        // What is refused is refused here, before anything is attached.
        let targets = self.load(programs, kernel)?;
        before_attaching(programs)?;
        targets.iter().map(|target| target.attach(programs)).sum()
    }

    /// Loads every program. Gives them in the order in which they are to be attached.
    pub(super) fn load(self, programs: &mut Ebpf, kernel: &KernelTypes) -> Result<Vec<Target>, CaptureError> {
        if let Some(function) = self.missing(kernel) {
            return Err(CaptureError::FunctionAbsent { function });
        }
        if self == Self::Kprobe && !Path::new(KPROBES).exists() {
            return Err(CaptureError::NoKprobes);
        }
        let here = |hooks: &[(&'static str, Hook)]| -> Vec<Target> {
            hooks.iter().filter_map(|&(name, hook)| Target::here(name, hook, kernel)).collect()
        };
        let own = here(&self.own(kernel));
        let types = if self == Self::Fentry { Some(types_of(&own, kernel)?) } else { None };
        own.iter().try_for_each(|target| target.load(programs, types.as_ref()))?;
        let mut targets = here(&COMMON);
        targets.iter().try_for_each(|target| target.load(programs, None))?;
        targets.extend(own);
        Ok(targets)
    }

    /// A function that this backend cannot do without, and that this kernel does not have.
    fn missing(self, kernel: &KernelTypes) -> Option<&'static str> {
        let functions = self.own(kernel).into_iter().flat_map(|(_, hook)| match hook {
            Hook::Tracepoint(_) => Vec::new(),
            Hook::Entry(function) | Hook::Return(function) => vec![function],
            Hook::Probe(functions) => functions.to_vec(),
        });
        let mut functions = functions;
        functions.find(|function| !OPTIONAL.contains(function) && !kernel.has_function(function))
    }
}

/// What the loader has to know of the functions.
fn types_of(targets: &[Target], kernel: &KernelTypes) -> Result<Btf, CaptureError> {
    let functions: Vec<&str> = targets.iter().flat_map(|target| target.functions.iter().copied()).collect();
    Btf::parse(&kernel.functions_alone(&functions), Endianness::default()).map_err(CaptureError::Types)
}

/// A program and what it is attached to in this kernel.
pub(super) struct Target {
    pub(super) program: &'static str,
    hook: Hook,
    /// Of a probe's functions those that this kernel has.
    functions: Vec<&'static str>,
}

impl Target {
    /// Nothing where this kernel has none of the functions.
    fn here(program: &'static str, hook: Hook, kernel: &KernelTypes) -> Option<Self> {
        let functions: Vec<&'static str> = match hook {
            Hook::Tracepoint(_) => Vec::new(),
            Hook::Entry(function) | Hook::Return(function) => vec![function],
            Hook::Probe(functions) => functions.to_vec(),
        };
        let had = functions.iter().copied().filter(|function| kernel.has_function(function)).collect::<Vec<_>>();
        (functions.is_empty() || !had.is_empty()).then_some(Self { program, hook, functions: had })
    }

    fn load(&self, programs: &mut Ebpf, types: Option<&Btf>) -> Result<(), CaptureError> {
        let program = programs.program_mut(self.program).expect("the object holds every program of the lists");
        let typed = || types.expect("given to backends that use types");
        match self.hook {
            Hook::Tracepoint(_) => <&mut RawTracePoint>::try_from(program).and_then(|program| program.load()),
            Hook::Entry(function) => {
                <&mut FEntry>::try_from(program).and_then(|program| program.load(function, typed()))
            }
            Hook::Return(function) => {
                <&mut FExit>::try_from(program).and_then(|program| program.load(function, typed()))
            }
            Hook::Probe(_) => <&mut KProbe>::try_from(program).and_then(KProbe::load),
        }
        .map_err(|source| refused(self.program, source))?;
        let program = programs.program(self.program).expect("it was there above");
        if let Ok(Some(steps)) = program.info().map(|info| info.verified_instruction_count()) {
            debug!("{}: the verifier walked {steps} instructions", self.program);
        }
        Ok(())
    }

    fn attach(&self, programs: &mut Ebpf) -> Result<usize, CaptureError> {
        let program = programs.program_mut(self.program).expect("the object holds every program of the lists");
        match self.hook {
            Hook::Tracepoint(name) => {
                <&mut RawTracePoint>::try_from(program).and_then(|program| program.attach(name)).map(drop)
            }
            Hook::Entry(_) => <&mut FEntry>::try_from(program).and_then(FEntry::attach).map(drop),
            Hook::Return(_) => <&mut FExit>::try_from(program).and_then(FExit::attach).map(drop),
            Hook::Probe(_) => <&mut KProbe>::try_from(program).and_then(|program| {
                self.functions.iter().try_for_each(|function| program.attach(function, 0).map(drop))
            }),
        }
        .map_err(|source| refused(self.program, source))?;
        Ok(self.functions.len().max(1))
    }
}
