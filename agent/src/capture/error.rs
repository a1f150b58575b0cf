// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why capture could not start: what is missing, and what to do about it.

use std::io;

use super::Backend;

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
    #[error("the kernel's type information could not be read again: {0}")]
    Types(#[source] aya::BtfError),
    #[error("this kernel has no kprobes (CONFIG_KPROBES, CONFIG_PERF_EVENTS)")]
    NoKprobes,
    #[error("this kernel has no function {function}")]
    FunctionAbsent { function: &'static str },
    #[error("the {} backend does not work here: {source}", backend.name())]
    Backend { backend: Backend, source: Box<Self> },
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
    /// 3 for what the kernel or the privileges forbid, 1 for a failure later.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Wait { .. } => 1,
            _ => 3,
        }
    }

    /// Without what the kernel's verifier says over pages.
    #[must_use]
    pub fn in_a_line(&self) -> String {
        let text = self.to_string();
        text.split_once('\n').map_or(text.as_str(), |(line, _)| line).to_owned()
    }

    /// The cause in one word, for a label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Btf { .. } | Self::BtfDamaged | Self::Types(_) => "no_type_information",
            Self::FieldAbsent { .. } => "field_absent",
            Self::FunctionAbsent { .. } => "function_absent",
            Self::NoKprobes => "no_kprobes",
            Self::Privileges { .. } => "privileges_missing",
            Self::Load { .. } | Self::Program { .. } => "program_refused",
            Self::Map { .. } | Self::Share { .. } => "map_refused",
            Self::Wait { .. } | Self::LargestProcess => "other",
            Self::Backend { source, .. } => source.reason(),
        }
    }
}

/// A program that the kernel did not take.
pub(super) fn refused(program: &'static str, source: aya::programs::ProgramError) -> CaptureError {
    CaptureError::Program { program, source: Box::new(source) }
}
