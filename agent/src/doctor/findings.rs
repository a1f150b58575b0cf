// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is looked at, and how.

use std::{fs, path::Path};

use procfs::process::Process;

use super::{
    Finding, ProcessReport, Report, cluster,
    privileges::{CAPABILITIES, Capability, effective, holds, missing_for_capture},
};
use crate::{
    capture::{Backend, Capture, CaptureError, CaptureOptions, KernelTypes},
    config::{BackendChoice, KubernetesConfig},
};

const KERNEL: &str = "kernel";
const PRIVILEGES: &str = "privileges";
const MACHINE: &str = "machine";
const BACKENDS: &str = "backends";

/// Bytes of the ring buffer of the programs that are loaded to see whether they can be.
const TRIAL_RING_BYTES: u32 = 64 * 1024;

/// Looks at everything, at these processes, and at the cluster. The programs are really loaded and attached, and detached again.
#[must_use]
pub fn examine(pids: &[u32], kubernetes: &KubernetesConfig) -> Report {
    let mut findings = vec![types(), lockdown(), kprobes()];
    findings.extend(capabilities());
    findings.extend([process_ids(), tracefs(), control_groups()]);
    let backends = [Backend::Fentry, Backend::Kprobe, Backend::Syscall].map(|kind| (kind, backend(kind)));
    let backend = backends.iter().find(|(_, finding)| finding.works).map(|(kind, _)| kind.name());
    findings.extend(backends.map(|(_, finding)| finding));
    findings.extend(cluster::findings(kubernetes));
    Report {
        version: env!("CARGO_PKG_VERSION"),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        architecture: std::env::consts::ARCH,
        backend,
        findings,
        processes: ProcessReport::of(pids),
    }
}

fn types() -> Finding {
    const NAME: &str = "type information (BTF)";
    match KernelTypes::read().map(|kernel| kernel.offsets()) {
        Ok(offsets) => {
            let absent: Vec<&str> = offsets.absent().collect();
            if absent.is_empty() {
                Finding::yes(KERNEL, NAME, "every field that is read was found")
            } else {
                Finding::yes(KERNEL, NAME, format!("there, without {}", absent.join(", ")))
            }
        }
        Err(error) => {
            Finding::no(KERNEL, NAME, error.to_string(), "nothing can be captured: a kernel with CONFIG_DEBUG_INFO_BTF")
        }
    }
}

fn lockdown() -> Finding {
    const NAME: &str = "lockdown";
    let state = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let current = state.split(['[', ']']).nth(1).unwrap_or("not known");
    if current == "confidentiality" {
        let remedy = "kernel memory cannot be read: boot without lockdown=confidentiality";
        return Finding::no(KERNEL, NAME, current, remedy);
    }
    Finding::yes(KERNEL, NAME, current)
}

fn kprobes() -> Finding {
    const NAME: &str = "kprobes";
    if Path::new("/sys/kernel/tracing/kprobe_events").exists() || Path::new("/sys/kernel/debug/kprobes").exists() {
        Finding::yes(KERNEL, NAME, "there")
    } else {
        Finding::no(KERNEL, NAME, "not in this kernel, or tracefs is not mounted", "not needed by the syscall backend")
    }
}

fn capabilities() -> Vec<Finding> {
    let Some(effective) = effective() else {
        return vec![Finding::no(PRIVILEGES, "capabilities", "/proc/self/status is not readable", "mount /proc")];
    };
    let finding = |Capability { number, name, purpose, remedy }: &Capability| {
        if holds(effective, *number) {
            Finding::yes(PRIVILEGES, *name, *purpose)
        } else {
            Finding::no(PRIVILEGES, *name, format!("missing: cannot {purpose}"), remedy)
        }
    };
    CAPABILITIES.iter().map(finding).collect()
}

/// The kernel reports processes by the numbers of its first pid namespace: `/proc` must show the same.
fn process_ids() -> Finding {
    const NAME: &str = "process ids of the machine";
    let nested = Process::myself().ok().and_then(|own| own.status().ok()).and_then(|status| status.nspid);
    match nested {
        Some(ids) if ids.len() > 1 => {
            let detail = "this process lives in another pid namespace";
            Finding::no(MACHINE, NAME, detail, "processes cannot be named: set hostPID: true, or --pid=host")
        }
        _ => Finding::yes(MACHINE, NAME, "/proc shows the machine's own"),
    }
}

fn tracefs() -> Finding {
    const NAME: &str = "tracefs";
    match mount_of("tracefs") {
        Some(place) => Finding::yes(MACHINE, NAME, place),
        None => {
            let remedy = "not needed by the syscall backend; mount -t tracefs none /sys/kernel/tracing";
            Finding::no(MACHINE, NAME, "not mounted", remedy)
        }
    }
}

/// By what the kernel says of this process: a hierarchy need not be mounted to tell who is in which container, and in a
/// container the unified one often is not.
fn control_groups() -> Finding {
    const NAME: &str = "control groups";
    let groups = Process::myself().ok().and_then(|own| own.cgroups().ok());
    let is_there = |unified| groups.iter().flatten().any(|group| (group.hierarchy == 0) == unified);
    match (is_there(true), is_there(false)) {
        (true, true) => Finding::yes(MACHINE, NAME, "versions 1 and 2"),
        (true, false) => Finding::yes(MACHINE, NAME, "version 2"),
        (false, true) => Finding::yes(MACHINE, NAME, "version 1"),
        (false, false) => Finding::no(MACHINE, NAME, "not in this kernel", "containers and pods are not told apart"),
    }
}

fn mount_of(kind: &str) -> Option<String> {
    let mounts = Process::myself().ok()?.mountinfo().ok()?;
    mounts.into_iter().find(|mount| mount.fs_type == kind).map(|mount| mount.mount_point.display().to_string())
}

/// What a run with this backend would find: the programs are loaded, attached and let go.
fn backend(kind: Backend) -> Finding {
    let (choice, sees, remedy) = match kind {
        Backend::Fentry => (
            BackendChoice::Fentry,
            "loads and attaches",
            "the next backend is used; this one needs CONFIG_FUNCTION_TRACER, and no lockdown that forbids it",
        ),
        Backend::Kprobe => (
            BackendChoice::Kprobe,
            "loads and attaches; what kTLS decrypts and sockmaps redirect is not seen",
            "the next backend is used; this one needs CONFIG_KPROBES",
        ),
        Backend::Syscall => (
            BackendChoice::Syscall,
            "loads and attaches; io_uring, and payloads of sendfile and splice, are not seen",
            "nothing can be captured; see what is missing above",
        ),
    };
    if let Some(missing) = missing_for_capture() {
        return Finding::no(BACKENDS, kind.name(), format!("missing {missing}"), remedy);
    }
    let options = CaptureOptions {
        backend: choice,
        ring_bytes: TRIAL_RING_BYTES,
        judge_every_exec: false,
        ports: Vec::new(),
        reads_tls: true,
    };
    match Capture::start(&options) {
        Ok(_) => Finding::yes(BACKENDS, kind.name(), sees),
        Err(CaptureError::Backend { source, .. }) => Finding::no(BACKENDS, kind.name(), source.in_a_line(), remedy),
        Err(error) => Finding::no(BACKENDS, kind.name(), error.in_a_line(), remedy),
    }
}
