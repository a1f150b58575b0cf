// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask cluster`: what the cluster tests run: the programs of Kubernetes, etcd, and what a node has beside the
//! kubelet; helm and the library of Docker Compose, which read what `deploy/` holds; kwok, which feigns pods by thousands.
//!
//! Kubernetes publishes no module of programs, so that they are built from its source, whose every part
//! `tests/cluster/kubernetes/go.sum` pins by hash: about twelve minutes of CPU, once per machine, kept beside the collector.
//! etcd, containerd and runc are Debian's. `cargo xtask test` uses what is there and does not build it.

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

/// Enough for an API that nobody runs pods for.
const API: [&str; 2] = ["kube-apiserver", "kubectl"];

/// What else a node takes.
const NODE: [&str; 4] = ["kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

/// Programs of Debian's that a node runs, and the packages that have them.
const RUNTIME: [(&str, &str); 6] = [
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/dnsmasq", "dnsmasq-base"),
    ("/bin/busybox", "busybox-static"),
];

/// Of pods in the node's tests, from Debian as well.
const WORKLOADS: [(&str, &str); 3] =
    [("/usr/sbin/nginx", "nginx-light"), ("/usr/bin/node", "nodejs"), ("/usr/bin/python3", "python3-minimal")];

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

pub const KWOK: GoProgram = GoProgram {
    name: "kwok",
    folder: "tests/node/kwok",
    sources: &["go.mod", "go.sum"],
    package: "sigs.k8s.io/kwok/cmd/kwok",
    cost: "two minutes of CPU",
};

/// The server in Go that a pod of the node's tests runs.
pub const COUNTER: GoProgram = GoProgram {
    name: "counter",
    folder: "tests/node/workloads/go",
    sources: &["go.mod", "main.go"],
    package: ".",
    cost: "seconds",
};

/// The folder of the programs, or what is missing for the API.
pub fn find() -> Result<PathBuf, String> {
    let folder = folder().map_err(|error| format!("{error:#}"))?;
    let missing = API.iter().chain(&["etcd"]).find(|name| !folder.join(name).exists());
    missing.map_or(Ok(folder), |name| Err(not_there(name)))
}

/// What is missing for a node, where the API is there.
pub fn node_obstacle() -> Option<String> {
    let folder = match find() {
        Ok(folder) => folder,
        Err(missing) => return Some(missing),
    };
    let built = NODE.iter().find(|name| !folder.join(name).exists());
    let installed = || RUNTIME.iter().chain(&WORKLOADS).find(|(program, _)| !Path::new(program).exists());
    let own = || [&KWOK, &COUNTER].into_iter().find(|program| program.find().is_none());
    built
        .copied()
        .or_else(|| installed().map(|(program, _)| *program))
        .or_else(|| own().map(|program| program.name))
        .map(not_there)
}

fn not_there(name: &str) -> String {
    format!("{name} is not there: `cargo xtask cluster` builds it, once per machine")
}

/// Builds and installs what is missing.
pub fn run() -> Result<PathBuf> {
    let folder = folder()?;
    fs::create_dir_all(&folder)?;
    for name in API.iter().chain(&NODE) {
        if !folder.join(name).exists() {
            build(name, &folder.join(name))?;
        }
    }
    for (program, package) in RUNTIME.iter().chain(&WORKLOADS) {
        if !Path::new(program).exists() {
            install_package(package, "to run pods")?;
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
    let programs = [HELM, COMPOSE, KWOK, COUNTER].map(|program| program.build());
    let monitors = pod_monitors::fetch()?;
    say(format!("cluster: {}", folder.display()));
    for place in programs.into_iter().chain([Ok(monitors)]) {
        say(format!("cluster: {}", place?.display()));
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
