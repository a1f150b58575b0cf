// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest's kernel counts: time on the processor by process, runs and time by kernel program, memory.

use std::{collections::BTreeMap, fs, io};

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;

/// Nanoseconds, which are instructions, since the boot.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds that the threads of a process have been on the processor, up to their last switch.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        total += text.split(' ').next().context("schedstat is empty")?.parse::<u64>()?;
    }
    Ok(total)
}

/// A field of `/proc/PID/status` in bytes.
pub fn memory_bytes(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.strip_suffix("kB"));
    Ok(value.with_context(|| format!("there is no {field}"))?.trim().parse::<u64>()? * 1024)
}

/// Bytes of the kernel's maps that a process holds, as the kernel accounts them.
pub fn map_bytes(pid: u32) -> Result<u64> {
    let mut total = 0;
    for descriptor in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let info = match fs::read_to_string(descriptor?.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            info => info?,
        };
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if field("map_type:").is_some() {
            total += field("memlock:").context("a map without its size")?.parse::<u64>()?;
        }
    }
    Ok(total)
}

/// Has the kernel time its programs, which itself costs: never while something else is measured.
pub fn time_programs(on: bool) -> io::Result<()> {
    fs::write("/proc/sys/kernel/bpf_stats_enabled", if on { "1" } else { "0" })
}

/// Runs and nanoseconds of the kernel programs, by number and name.
pub struct Programs(BTreeMap<(u32, String), (u64, u64)>);

impl Programs {
    pub fn read() -> Result<Self> {
        let mut programs = BTreeMap::new();
        for program in loaded_programs() {
            let program = program?;
            let name = program.name_as_str().unwrap_or_default().to_owned();
            programs.insert((program.id(), name), (program.run_count(), program.run_time().as_nanos() as u64));
        }
        Ok(Self(programs))
    }

    /// Name, runs and nanoseconds since then, of those that ran.
    pub fn since(&self, before: &Self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.0.iter().filter_map(|(key, (runs, time))| {
            let (runs_before, time_before) = before.0.get(key).copied().unwrap_or_default();
            (*runs > runs_before).then(|| (key.1.as_str(), runs - runs_before, time - time_before))
        })
    }
}
