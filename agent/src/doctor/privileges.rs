// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The capabilities of this process, by name.

use procfs::process::Process;

/// What each capability is needed for, with its number in include/uapi/linux/capability.h.
pub const CAPABILITIES: [(u32, &str, &str); 5] = [
    (39, "CAP_BPF", "load the kernel programs and their maps"),
    (38, "CAP_PERFMON", "attach them and let them read memory"),
    (19, "CAP_SYS_PTRACE", "read the executable and environment of other users' processes"),
    (2, "CAP_DAC_READ_SEARCH", "read their files where permissions forbid it"),
    (12, "CAP_NET_ADMIN", "carry context from process to process (not used yet)"),
];

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
        CAPABILITIES[..2].iter().filter(|(number, ..)| !holds(effective, *number)).map(|(_, name, _)| *name).collect();
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
