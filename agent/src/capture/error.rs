// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why capture could not start: what is missing, and what to do about it.

use std::io;

use crate::config::BackendChoice;

#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error(
        "the kernel has no type information at {path} ({source}): a kernel built with CONFIG_DEBUG_INFO_BTF is needed, \
         and in a container /sys must be the host's"
    )]
    Btf { path: &'static str, source: io::Error },
    #[error("the kernel's type information is damaged: nothing can be read safely")]
    BtfDamaged,
    #[error("this kernel has no {field}, without which no socket can be found")]
    FieldAbsent { field: &'static str },
    #[error("missing {missing}: run as root, or give these capabilities to the process or container")]
    Privileges { missing: String },
    #[error("backend {backend:?} is not part of this version: use --backend auto or --backend syscall")]
    BackendNotBuilt { backend: BackendChoice },
    #[error("the kernel refused the programs: {source} (`onlooker doctor` tells more)")]
    Load { source: Box<aya::EbpfError> },
    #[error("the kernel refused the program {program}: {source} (`onlooker doctor` tells more)")]
    Program { program: &'static str, source: Box<aya::programs::ProgramError> },
    #[error("the kernel refused the map {map}: {source}")]
    Map { map: &'static str, source: Box<aya::maps::MapError> },
    #[error("the memory shared with the kernel programs could not be mapped: {source}")]
    Share { source: io::Error },
    #[error("waiting for records failed: {source}")]
    Wait { source: io::Error },
    #[error("the largest process id could not be read from /proc/sys/kernel/pid_max: is /proc the host's?")]
    LargestProcess,
}

impl CaptureError {
    /// 2 for what was asked for and does not exist, 3 for what the kernel or the privileges forbid, 1 for a failure later.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::BackendNotBuilt { .. } => 2,
            Self::Wait { .. } => 1,
            _ => 3,
        }
    }
}
