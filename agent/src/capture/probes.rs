// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Probes in libraries: the programs that read plaintext, attached to places in files.
//!
//! In: an open file and the places in it. Out: links, which detach when they are dropped. One link holds all places of a file
//! that a program has (Linux 6.6); older kernels get a link for each. Does not: choose files or places.

use std::{
    fs::File,
    num::NonZeroU32,
    os::fd::{AsFd as _, AsRawFd as _},
    path::PathBuf,
};

use agent_common::plaintext::Cookie;
use aya::{
    Ebpf,
    programs::{
        UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};

use super::{CaptureError, error::refused};

/// What is done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeProgram {
    /// A function is entered.
    Enter,
    /// A function is left, here.
    Leave,
    /// The function that is entered here returns.
    Return,
    /// The same as the first, by Go's convention.
    Go,
}

/// A place in a file, as the kernel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePlace {
    pub program: ProbeProgram,
    pub offset: u64,
    pub cookie: Cookie,
}

/// Returns before entries: an entry whose return is not seen leaves its call open.
const PROGRAMS: [(ProbeProgram, &str, &str); 4] = [
    (ProbeProgram::Return, "tls_return_multi", "tls_return"),
    (ProbeProgram::Leave, "tls_leave_multi", "tls_leave"),
    (ProbeProgram::Enter, "tls_enter_multi", "tls_enter"),
    (ProbeProgram::Go, "tls_go_multi", "tls_go"),
];

/// The links of one file.
pub struct ProbeLinks(pub(super) Vec<UProbeLink>);

/// How probes are attached here; found out with the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ProbeMode {
    #[default]
    Unknown,
    Many,
    Single,
}

/// Attaches to all places in a file, or to none.
pub(super) fn attach(
    programs: &mut Ebpf,
    mode: &mut ProbeMode,
    file: &File,
    places: &[ProbePlace],
    only: Option<u32>,
) -> Result<ProbeLinks, CaptureError> {
    // A kernel without such links may take the program, and refuse the link.
    if *mode != ProbeMode::Single {
        match attach_as(ProbeMode::Many, programs, file, places, only) {
            Err(error) if *mode == ProbeMode::Many => return Err(error),
            Err(_) => {}
            attached => {
                *mode = ProbeMode::Many;
                return attached;
            }
        }
    }
    let attached = attach_as(ProbeMode::Single, programs, file, places, only)?;
    *mode = ProbeMode::Single;
    Ok(attached)
}

fn attach_as(
    mode: ProbeMode,
    programs: &mut Ebpf,
    file: &File,
    places: &[ProbePlace],
    only: Option<u32>,
) -> Result<ProbeLinks, CaptureError> {
    // By its descriptor: whatever becomes of its name, and in whichever mount namespace it lies.
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()));
    let scope = only.and_then(NonZeroU32::new).map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
    let mut links = Vec::new();
    for (program, many, single) in PROGRAMS {
        let points: Vec<UProbeAttachPoint<'_>> =
            places.iter().filter(|place| place.program == program).map(point).collect();
        if points.is_empty() {
            continue;
        }
        let name = if mode == ProbeMode::Many { many } else { single };
        load(programs, name)?;
        let program = probe(programs, name)?;
        let link = program
            .attach(points, &path, scope)
            .and_then(|link| program.take_link(link))
            .map_err(|source| refused(name, source))?;
        links.push(link);
    }
    Ok(ProbeLinks(links))
}

fn point(place: &ProbePlace) -> UProbeAttachPoint<'static> {
    UProbeAttachPoint { location: UProbeAttachLocation::AbsoluteOffset(place.offset), cookie: Some(place.cookie.0) }
}

fn load(programs: &mut Ebpf, name: &'static str) -> Result<(), CaptureError> {
    let program = probe(programs, name)?;
    if program.fd().is_ok() {
        return Ok(());
    }
    program.load().map_err(|source| refused(name, source))
}

fn probe<'a>(programs: &'a mut Ebpf, name: &'static str) -> Result<&'a mut UProbe, CaptureError> {
    let program = programs.program_mut(name).expect("the object holds every program that is named here");
    program.try_into().map_err(|source| refused(name, source))
}

/// Loads the programs in the form that every kernel takes, and names them.
pub(super) fn load_all(programs: &mut Ebpf) -> Result<Vec<&'static str>, CaptureError> {
    PROGRAMS.into_iter().map(|(_, _, single)| load(programs, single).map(|()| single)).collect()
}
