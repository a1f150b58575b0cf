// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The capabilities of this process, by name.

use procfs::process::Process;

/// What each capability is needed for, and what is lost without it, with its number in include/uapi/linux/capability.h.
/// `tests/deploy/profiles.rs` shows each.
pub const CAPABILITIES: [Capability; 4] = [
    Capability {
        number: 39,
        name: "CAP_BPF",
        purpose: "load the kernel programs and their maps",
        remedy: "nothing can be captured: add it, or run as root",
    },
    Capability {
        number: 38,
        name: "CAP_PERFMON",
        purpose: "attach them and let them read memory",
        remedy: "nothing can be captured: add it, or run as root",
    },
    Capability {
        number: 19,
        name: "CAP_SYS_PTRACE",
        purpose: "look at executables and libraries of other users' processes",
        remedy: "their TLS is not read, and --exe knows the names of their programs only: add it, or run as root",
    },
    Capability {
        number: 2,
        name: "CAP_DAC_READ_SEARCH",
        purpose: "open what other users' permissions forbid: descriptors, environments, files",
        remedy: "of their processes that run already --open-port finds none, and OTEL_SERVICE_NAME is not read: add it, or run \
                 as root",
    },
];

pub struct Capability {
    pub number: u32,
    pub name: &'static str,
    pub purpose: &'static str,
    pub remedy: &'static str,
}

/// Before `CAP_BPF` there was this one, which still holds the others.
const CAP_SYS_ADMIN: u32 = 21;

/// Bits of the effective capabilities; absent where `/proc` is not readable.
#[must_use]
pub fn effective() -> Option<u64> {
    Process::myself().ok()?.status().ok().map(|status| status.capeff)
}

#[must_use]
pub fn holds(effective: u64, capability: u32) -> bool {
    effective >> capability & 1 == 1
}

/// The capabilities that capture needs and this process lacks, for a sentence; absent where it has them all.
#[must_use]
pub fn missing_for_capture() -> Option<String> {
    let effective = effective()?;
    if holds(effective, CAP_SYS_ADMIN) {
        return None;
    }
    let missing: Vec<&str> =
        CAPABILITIES[..2].iter().filter(|needed| !holds(effective, needed.number)).map(|needed| needed.name).collect();
    (!missing.is_empty()).then(|| missing.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_bits() {
        assert!(holds(1 << 39, 39));
        assert!(!holds(1 << 39, 38));
    }
}
