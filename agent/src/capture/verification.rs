// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the kernel's verifier makes of the programs, whatever they are told when they are loaded.
//!
//! In: a backend. Out: for each of its programs, in each combination of its read-only globals, how many instructions the
//! verifier has walked: it prunes what a constant disables, and has to accept what is left. Nothing is attached.
//! Fields are taken away one at a time: what two of them guard together is not tried.

use agent_common::offsets::KernelOffsets;
use aya::{Ebpf, programs::ProgramInfo};

use super::{
    Backend, CaptureError, CaptureOptions, KernelTypes,
    backends::EARLY_CALLS,
    error::refused,
    probes,
    programs::{largest_process, load, optional_fields},
};
use crate::config::BackendChoice;

/// A program that the verifier has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub program: &'static str,
    /// What was told to it, or taken away.
    pub combination: String,
    /// Instructions that the verifier has walked, over all ways through the program; known from Linux 5.16 on.
    pub walked: Option<u32>,
    /// Of the program itself, as it is loaded, in bytes.
    pub bytes: Option<u32>,
}

/// As small as a ring can be: it stays empty.
const RING_BYTES: u32 = 4096;

/// Loads the backend's programs in every combination.
///
/// # Errors
/// Where the kernel has not what the backend needs, or refuses a program.
pub fn verify(backend: Backend) -> Result<Vec<Verified>, CaptureError> {
    let kernel = KernelTypes::read()?;
    let offsets = kernel.offsets();
    let absent: Vec<&str> = offsets.absent().collect();
    let present = optional_fields(backend).iter().filter(|field| !absent.contains(field));
    let mut combinations =
        vec![("all fields".to_owned(), offsets, false), ("all fields, every exec is judged".to_owned(), offsets, true)];
    if offsets.task_is_typed != 0 {
        let untyped = KernelOffsets { task_is_typed: 0, ..offsets };
        combinations.push(("without the task's types".to_owned(), untyped, false));
    }
    combinations.extend(present.map(|field| (format!("without {field}"), offsets.without(field), false)));
    let mut verified = Vec::new();
    for (combination, offsets, judge_every_exec) in combinations {
        verified.extend(verify_one(backend, &kernel, &combination, &offsets, judge_every_exec)?);
    }
    Ok(verified)
}

fn verify_one(
    backend: Backend,
    kernel: &KernelTypes,
    combination: &str,
    offsets: &KernelOffsets,
    judge_every_exec: bool,
) -> Result<Vec<Verified>, CaptureError> {
    let options = CaptureOptions {
        backend: BackendChoice::Auto,
        ring_bytes: RING_BYTES,
        judge_every_exec,
        ports: Vec::new(),
        reads_tls: true,
    };
    let largest_process = largest_process().ok_or(CaptureError::LargestProcess)?;
    let mut programs = load(backend, &options, offsets, fastrand::u64(..), largest_process)?;
    let mut names: Vec<&str> = backend.load(&mut programs, kernel)?.iter().map(|target| target.program).collect();
    if backend.hooks_functions() {
        load_early_calls(&mut programs)?;
        names.push(EARLY_CALLS);
    }
    names.extend(probes::load_all(&mut programs)?);
    names
        .into_iter()
        .map(|program| {
            let info = information(&programs, program)?;
            let (walked, bytes) = (info.verified_instruction_count(), info.size_translated());
            Ok(Verified { program, combination: combination.to_owned(), walked, bytes })
        })
        .collect()
}

fn load_early_calls(programs: &mut Ebpf) -> Result<(), CaptureError> {
    let program = programs.program_mut(EARLY_CALLS).expect("the object holds the program");
    <&mut aya::programs::RawTracePoint>::try_from(program)
        .and_then(|program| program.load())
        .map_err(|source| refused(EARLY_CALLS, source))
}

fn information(programs: &Ebpf, name: &'static str) -> Result<ProgramInfo, CaptureError> {
    let program = programs.program(name).expect("it was loaded");
    program.info().map_err(|source| refused(name, source))
}
