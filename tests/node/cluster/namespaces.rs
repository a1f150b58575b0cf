// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A network and mounts that only the cluster has, so that whatever its programs make there goes when the last of them
//! ends: bridges, chains of iptables, volumes of pods, files in `/run` and `/var`.
//!
//! Process ids stay the machine's own: the kernel tells Onlooker no others.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _, unix::process::CommandExt as _},
    path::Path,
    process::Command,
    ptr::null,
    thread,
};

use anyhow::{Context as _, Result, ensure};

pub struct Namespaces {
    network: File,
    mounts: File,
    /// Of the control group of the cluster's programs.
    entrance: File,
}

impl Namespaces {
    /// What is written to `/var` goes to `folder`, and what is written to `/run` nowhere.
    pub fn create(folder: &Path, entrance: File) -> Result<Self> {
        let (network, mounts) = thread::spawn(open_own).join().expect("nothing in it panics")?;
        let namespaces = Self { network, mounts, entrance };
        let (upper, work) = (folder.join("var"), folder.join("var-work"));
        std::fs::create_dir_all(&upper)?;
        std::fs::create_dir_all(&work)?;
        let layers = format!("lowerdir=/var,upperdir={},workdir={}", upper.display(), work.display());
        namespaces.run("mount", &["-t", "overlay", "overlay", "-o", &layers, "/var"])?;
        namespaces.run("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
        namespaces.run("ip", &["link", "set", "lo", "up"])?;
        Ok(namespaces)
    }

    /// A program that will run in them.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let descriptors = [self.network.as_raw_fd(), self.mounts.as_raw_fd()];
        let entrance = self.entrance.as_raw_fd();
        // SAFETY: between fork and exec system calls are made and nothing else; the descriptors are open, for they are the
        // parent's own, which is waiting for the exec.
        unsafe {
            command.pre_exec(move || {
                done(libc::write(entrance, b"0".as_ptr().cast(), 1) as i32)?;
                descriptors.iter().try_for_each(|descriptor| enter(*descriptor))
            })
        };
        command
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output =
            self.command(program).args(arguments).output().with_context(|| format!("cannot start {program}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Does this with the cluster's network.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let descriptor = self.network.as_raw_fd();
        // A network is a thread's own matter: the thread that has joined it ends with the work.
        thread::scope(|scope| {
            let worker = scope.spawn(move || enter(descriptor).map_err(Into::into).and_then(|()| work()));
            worker.join().expect("nothing in it panics")
        })
    }

    /// Processes with these mounts: the cluster's own programs, but not those in its containers.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let own = self.mounts.metadata()?.ino();
        let ids = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_in =
            |pid: &i32| std::fs::metadata(format!("/proc/{pid}/ns/mnt")).is_ok_and(|mounts| mounts.ino() == own);
        Ok(ids.filter(is_in).collect())
    }
}

fn enter(descriptor: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::setns(descriptor, 0) })
}

/// Leaves the machine's namespaces, for the thread that runs it, which ends at once: the descriptors keep the new ones.
fn open_own() -> Result<(File, File)> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) }).context("cannot make namespaces")?;
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the texts end in zeroes; type and data are not looked at with these flags.
    done(unsafe { libc::mount(c"none".as_ptr(), c"/".as_ptr(), null(), flags, null()) })?;
    Ok((File::open("/proc/thread-self/ns/net")?, File::open("/proc/thread-self/ns/mnt")?))
}

fn done(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
