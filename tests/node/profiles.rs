// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What each profile comes to on a node: under the runtime's own filter of system calls, or under none; and what `onlooker
//! doctor` says in it.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{cluster::Cluster, install::install_manifests, shop};

/// Starts with this profile, sees spans, and gives what `onlooker doctor` says in the pod and the status of the process.
fn run(profile: &str) -> Result<(String, String)> {
    let cluster = Cluster::start()?;
    let mut received = install_manifests(&cluster, profile)?;
    shop::open(&cluster)?;
    shop::visit(&cluster, &mut received, "/profile")?;
    let doctor = ["-n", "onlooker", "exec", "daemonset/onlooker", "--", "/usr/bin/onlooker", "doctor"];
    let pid = cluster.onlooker()?.context("it runs")?;
    Ok((cluster.kubectl(&doctor)?, fs::read_to_string(format!("/proc/{pid}/status"))?))
}

fn status<'a>(text: &'a str, key: &str) -> Result<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim).context("the kernel says it of every process")
}

/// Whatever the profile, nothing that Onlooker needs is missing on a node that lets it run; what each capability is for is
/// tried in `tests/deploy`.
fn check_doctor(said: &str) -> Result<()> {
    for need in
        ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "process ids of the machine", "tracefs"]
    {
        let is_there = said.lines().any(|line| line.trim_start().starts_with("yes") && line.contains(need));
        ensure!(is_there, "{need} is not there:\n{said}");
    }
    Ok(())
}

#[test]
fn observe_is_filtered_and_has_four_capabilities() -> Result<()> {
    let (doctor, process) = run("base")?;
    check_doctor(&doctor)?;
    // SECCOMP_MODE_FILTER: the runtime's default profile.
    ensure!(status(&process, "Seccomp:")? == "2", "{process}");
    ensure!(status(&process, "NoNewPrivs:")? == "1", "{process}");
    // DAC_READ_SEARCH, SYS_PTRACE, PERFMON, BPF.
    let capabilities = 1_u64 << 2 | 1 << 19 | 1 << 38 | 1 << 39;
    ensure!(status(&process, "CapEff:")? == format!("{capabilities:016x}"), "{process}");
    Ok(())
}

#[test]
fn privileged_is_not_filtered() -> Result<()> {
    let (doctor, process) = run("privileged")?;
    check_doctor(&doctor)?;
    ensure!(status(&process, "Seccomp:")? == "0", "{process}");
    Ok(())
}
