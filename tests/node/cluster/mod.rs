// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A real cluster of one node, n1: every program that one is made of, in namespaces and control groups of its own.
//!
//! In: the programs that `cargo xtask cluster` has built and Debian's containerd, runc, network plugins and dnsmasq. Dropped,
//! it takes away all that it has made, whatever the test came to.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{PATIENCE, poll_until};

mod containerd;
mod control_plane;
mod daemon;
mod groups;
mod kubelet;
mod namespaces;
mod site;

use containerd::Containerd;
use control_plane::{ApiServer, Controllers, Etcd, Names, Proxy, Scheduler};
pub use daemon::Daemon;
pub use groups::Groups;
use kubelet::Kubelet;
pub use site::Site;

use crate::images;

/// How long pods may take to come, and to go, on a machine that is busy.
pub const ROLLOUT: Duration = Duration::from_secs(180);

/// Services that are asked for by name, and their addresses.
pub const NAMES: &[(&str, &str)] = &[("otel-collector.onlooker", "10.96.0.43"), ("store.shop", "10.96.0.80")];

pub struct Cluster {
    etcd: Option<Daemon>,
    api: Option<Daemon>,
    /// What decides and what runs, ended in this order.
    daemons: Vec<Daemon>,
    containerd: Option<Daemon>,
    pub site: Site,
}

impl Cluster {
    /// Gives it when pods can run.
    pub fn start() -> Result<Self> {
        let site = Site::prepare()?;
        let mut cluster = Self { etcd: None, api: None, daemons: Vec::new(), containerd: None, site };
        let site = &cluster.site;
        cluster.etcd = Some(Etcd::start(site)?.0);
        cluster.containerd = Some(Containerd::start(site)?.0);
        for archive in images::make(&site.path("images"))? {
            Containerd::import(site, &archive)?;
        }
        cluster.api = Some(ApiServer::start(site)?.0);
        for daemon in [
            Controllers::start(site)?.0,
            Scheduler::start(site)?.0,
            Proxy::start(site)?.0,
            Names::start(site, NAMES)?.0,
            Kubelet::start(site)?.0,
        ] {
            // The kubelet first: it would start again what ends.
            cluster.daemons.insert(0, daemon);
        }
        Ok(cluster)
    }

    /// Runs kubectl as the administrator and gives what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// With an input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let input = self.site.write("stdin", input)?;
        let output = self.site.kubectl().args(arguments).stdin(fs::File::open(input)?).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        ensure!(output.status.success(), "kubectl {}: {}", arguments.join(" "), text(&output.stderr));
        Ok(text(&output.stdout))
    }

    pub fn apply(&self, yaml: &str) -> Result<String> {
        self.kubectl_with(&["apply", "--server-side", "-f", "-"], yaml)
    }

    /// Waits until what is named has come to be as it should; where it does not, says what became of its pods.
    pub fn wait_rollout(&self, namespace: &str, what: &str) -> Result<()> {
        let limit = format!("--timeout={}s", ROLLOUT.as_secs());
        self.kubectl(&["-n", namespace, "rollout", "status", what, &limit]).map(drop).with_context(|| {
            let told = |arguments: &[&str]| self.kubectl(arguments).unwrap_or_else(|error| format!("{error:#}"));
            format!("{}\n{}", told(&["-n", namespace, "describe", "pods"]), told(&["-n", namespace, "logs", what]))
        })
    }

    /// What Onlooker and the collector have said, for a test that fails.
    pub fn words(&self) -> String {
        let of =
            |what: &str| self.kubectl(&["-n", "onlooker", "logs", what]).unwrap_or_else(|error| format!("{error:#}"));
        format!("onlooker:\n{}\ncollector:\n{}", of("daemonset/onlooker"), of("deployment/otel-collector"))
    }

    /// What an object says in this place (a JSONPath).
    pub fn field(&self, namespace: &str, what: &[&str], path: &str) -> Result<String> {
        let path = format!("-o=jsonpath={path}");
        self.kubectl(&[&["-n", namespace, "get"], what, &[&path]].concat())
    }

    /// A GET from the node; gives the body.
    pub fn ask(&self, address: &str, path: &str) -> Result<String> {
        self.site.namespaces.in_network(|| {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
            ensure!(head.starts_with("HTTP/1.1 2") || head.starts_with("HTTP/1.0 2"), "{address}{path}: {head}");
            Ok(body.to_owned())
        })
    }

    /// As a crash does.
    pub fn kill_api(&mut self) {
        self.api = None;
    }

    pub fn start_api(&mut self) -> Result<()> {
        self.api = Some(ApiServer::start(&self.site)?.0);
        Ok(())
    }

    /// The process of Onlooker in the cluster's containers: one, or none.
    pub fn onlooker(&self) -> Result<Option<i32>> {
        let name = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let is_onlooker = |pid: &i32| name(pid).trim() == "onlooker";
        let found: Vec<i32> = self.site.groups.processes().into_iter().filter(is_onlooker).collect();
        ensure!(found.len() <= 1, "more than one runs: {found:?}");
        Ok(found.first().copied())
    }

    /// A folder that pods may be given.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.site.path(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    fn end(&mut self) -> Result<()> {
        self.daemons.clear();
        (self.api, self.etcd) = (None, None);
        self.site.groups.end(PATIENCE)?;
        self.containerd = None;
        poll_until("the cluster's programs have ended", PATIENCE, || {
            let left = self.site.namespaces.processes().ok()?;
            for process in &left {
                // SAFETY: takes no pointers. Whoever has the cluster's mounts was started by it.
                unsafe { libc::kill(*process, libc::SIGKILL) };
            }
            left.is_empty().then_some(())
        })?;
        self.site.groups.end(PATIENCE)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("the cluster is not gone whole: {error:#}");
        }
    }
}
