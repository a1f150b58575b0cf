// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask cluster`: the Kubernetes API that the cluster tests talk to: kube-apiserver, kubectl and etcd; and helm and
//! the library of Docker Compose, which read what `deploy/` holds.
//!
//! Kubernetes publishes no module of programs, so that they are built from its source, whose every part
//! `tests/cluster/kubernetes/go.sum` pins by hash: about eight minutes of CPU, once per machine, kept beside the collector.
//! etcd is Debian's. `cargo xtask test` uses what is there and does not build it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    collector::cache,
    go_program::GoProgram,
    pod_monitors,
    setup::install_package,
    steps::{run as run_step, say},
    workspace::{find_program, root},
};

const PROGRAMS: [&str; 2] = ["kube-apiserver", "kubectl"];

pub const HELM: GoProgram = GoProgram {
    name: "helm",
    folder: "tests/deploy/programs",
    sources: &["go.mod", "go.sum"],
    package: "helm.sh/helm/v4/cmd/helm",
    cost: "five minutes of CPU",
};

pub const COMPOSE: GoProgram = GoProgram {
    name: "compose",
    package: "github.com/compose-spec/compose-go/v2/cmd",
    cost: "half a minute of CPU",
    ..HELM
};

/// The folder of the programs, or what is missing.
pub fn find() -> Result<PathBuf, String> {
    let folder = folder().map_err(|error| format!("{error:#}"))?;
    let missing = PROGRAMS.iter().chain(&["etcd"]).find(|name| !folder.join(name).exists());
    missing.map_or(Ok(folder), |name| {
        Err(format!("{name} is not there: `cargo xtask cluster` builds it, once per machine"))
    })
}

/// Builds what is missing.
pub fn run() -> Result<PathBuf> {
    let folder = folder()?;
    fs::create_dir_all(&folder)?;
    for name in PROGRAMS {
        if !folder.join(name).exists() {
            build(name, &folder.join(name))?;
        }
    }
    let etcd = folder.join("etcd");
    if !etcd.exists() {
        if find_program("etcd").is_none() {
            install_package("etcd-server", "to keep what the Kubernetes API is told")?;
        }
        let _ = fs::remove_file(&etcd);
        symlink(find_program("etcd").context("etcd is installed and not on the path")?, &etcd)?;
    }
    let (helm, compose) = (HELM.build()?, COMPOSE.build()?);
    let monitors = pod_monitors::fetch()?;
    say(format!("cluster: {}", folder.display()));
    for place in [helm, compose, monitors] {
        say(format!("cluster: {}", place.display()));
    }
    Ok(folder)
}

/// By the version, so that another one is built anew.
fn folder() -> Result<PathBuf> {
    Ok(cache()?.join(format!("kubernetes-{}", version()?)))
}

fn sources() -> PathBuf {
    root().join("tests/cluster/kubernetes")
}

/// As go.mod says it.
fn version() -> Result<String> {
    let text = fs::read_to_string(sources().join("go.mod")).context("cannot read go.mod of Kubernetes")?;
    let version = text.split_whitespace().skip_while(|word| *word != "k8s.io/kubernetes").nth(1);
    Ok(version.context("go.mod names no version of k8s.io/kubernetes")?.to_owned())
}

fn build(name: &str, place: &Path) -> Result<()> {
    ensure!(find_program("go").is_some(), "Go is not installed, which {name} is built with");
    say(format!("cluster: building {name} (minutes of CPU, once per machine)"));
    let version = version()?;
    let number = version.trim_start_matches('v');
    let (major, minor) = number.split_once('.').context("a version has two numbers at least")?;
    let minor = minor.split('.').next().unwrap_or(minor);
    // What it calls itself: clients refuse a server that has no version.
    let package = "k8s.io/component-base/version";
    let flags =
        format!("-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}");
    let fresh = place.with_extension("new");
    // Two at a time: the linker alone takes a gigabyte.
    run_step(
        Command::new("go")
            .args(["build", "-mod=readonly", "-buildvcs=false", "-p=2", "-ldflags", &flags, "-o"])
            .arg(&fresh)
            .arg(format!("k8s.io/kubernetes/cmd/{name}"))
            .current_dir(sources()),
    )
    .with_context(|| format!("{name} could not be built"))?;
    fs::rename(&fresh, place)?;
    Ok(())
}
