// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A container as the manifests ask for one, without a runtime: the image as the root, read-only, with `/proc` and `/sys` of
//! the machine and its tracefs; root's user id with named capabilities only, and no way to more.
//!
//! Does not: make a network of its own, so that a test can ask for `/readyz`, nor filter system calls.

use std::{ffi::CString, fs, io, os::unix::process::CommandExt as _, process::Command, ptr::null};

use anyhow::{Context as _, Result};
use libc::{MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, c_ulong};
use onlooker_tests::onlooker;

use super::{image::Image, memory::MemoryGroup};

/// Numbers in include/uapi/linux/capability.h.
const NUMBERS: [(&str, c_ulong); 4] = [("DAC_READ_SEARCH", 2), ("SYS_PTRACE", 19), ("PERFMON", 38), ("BPF", 39)];

/// Past the last capability of any kernel: to drop one that is none fails, which ends the loop.
const CAPABILITIES: c_ulong = 64;

#[derive(Clone, Copy)]
pub enum Rights<'a> {
    /// `privileged: true`.
    Everything,
    /// These, dropped all others.
    Only(&'a [String]),
}

/// How one is entered: everything is at hand before the fork, behind which nothing may be allocated.
#[derive(Clone)]
pub struct Container {
    root: CString,
    mounts: Vec<Mount>,
    dropped: Vec<c_ulong>,
    /// Everything but `privileged` forbids to gain more.
    is_confined: bool,
    /// The control group that it is put into: the file of its processes.
    group: Option<CString>,
}

#[derive(Clone)]
struct Mount {
    source: CString,
    target: CString,
    kind: Option<CString>,
    flags: c_ulong,
}

impl Container {
    pub fn new(image: &Image, rights: Rights<'_>) -> Result<Self> {
        let folder = image.root();
        let place = |name: &str| CString::new(folder.join(name).into_os_string().into_encoded_bytes());
        let text = |text: &str| CString::new(text);
        for name in ["proc", "sys"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let mount = |source: &str, name: &str, kind: Option<&str>, flags| -> Result<Mount> {
            Ok(Mount { source: text(source)?, target: place(name)?, kind: kind.map(text).transpose()?, flags })
        };
        let root = folder.to_str().unwrap_or_default();
        let tracing = "/sys/kernel/tracing";
        let mounts = vec![
            Mount { target: text("/")?, ..mount("", "", None, MS_REC | MS_PRIVATE)? },
            mount(root, "", None, MS_BIND)?,
            mount("proc", "proc", Some("proc"), 0)?,
            mount("sysfs", "sys", Some("sysfs"), MS_RDONLY)?,
            mount(tracing, &tracing[1..], None, MS_BIND)?,
            mount("", &tracing[1..], None, MS_REMOUNT | MS_BIND | MS_RDONLY)?,
            mount("", "", None, MS_REMOUNT | MS_BIND | MS_RDONLY)?,
        ];
        let (kept, is_confined) = match rights {
            Rights::Everything => ((0..CAPABILITIES).collect(), false),
            Rights::Only(names) => (names.iter().map(|name| number(name)).collect::<Result<Vec<_>>>()?, true),
        };
        let dropped = (0..CAPABILITIES).filter(|number| !kept.contains(number)).collect();
        Ok(Self { root: place("")?, mounts, dropped, is_confined, group: None })
    }

    /// In this control group.
    pub fn within(mut self, group: Option<&MemoryGroup>) -> Result<Self> {
        let processes = group.map(|group| CString::new(group.processes().into_os_string().into_encoded_bytes()));
        self.group = processes.transpose()?;
        Ok(self)
    }

    /// The image's program in it.
    pub fn command(&self) -> Command {
        let mut command = onlooker::command("/usr/bin/onlooker");
        let container = self.clone();
        // SAFETY: between fork and exec `enter` makes system calls on what was made before, and nothing else.
        unsafe { command.pre_exec(move || container.enter()) };
        command
    }

    fn enter(&self) -> io::Result<()> {
        if let Some(group) = &self.group {
            // SAFETY: the text ends in a zero.
            let file = unsafe { libc::open(group.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
            done(file)?;
            // SAFETY: one byte of a constant; the descriptor is closed by the exec. Zero is who writes it.
            done(unsafe { libc::write(file, c"0".as_ptr().cast(), 1) } as i32)?;
        }
        // SAFETY: takes no pointers.
        done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        for Mount { source, target, kind, flags } in &self.mounts {
            let kind = kind.as_ref().map_or(null(), |kind| kind.as_ptr());
            // SAFETY: the texts end in zeroes and live as long as `self`; no data is passed.
            done(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind, *flags, null()) })?;
        }
        // SAFETY: the texts end in zeroes.
        done(unsafe { libc::chroot(self.root.as_ptr()) })?;
        // SAFETY: the same.
        done(unsafe { libc::chdir(c"/".as_ptr()) })?;
        for number in &self.dropped {
            // SAFETY: takes no pointers. What the exec will not grant is gone with it: nothing is inheritable.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, *number, 0, 0, 0) } != 0 {
                break;
            }
        }
        if self.is_confined {
            // SAFETY: takes no pointers.
            done(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
        }
        Ok(())
    }
}

fn number(name: &str) -> Result<c_ulong> {
    let known = NUMBERS.iter().find(|(known, _)| *known == name);
    known.map(|(_, number)| *number).with_context(|| format!("the number of {name} is not known here"))
}

fn done(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
