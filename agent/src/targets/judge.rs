// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a process is selected: contract of the options, pure.

use agent_common::records::Watch;
use globset::{GlobBuilder, GlobMatcher};

use super::{
    Candidate, Lodging,
    lodging::{Answer, Conditions},
};
use crate::config::{PortRange, Selection, Selector};

/// Programs that are left out where nothing is selected, by the name of their executable: what runs the machine, what
/// collects telemetry, and other agents. Watching them would tell a user about plumbing, and a collector that is watched
/// while it receives spans would make more of them for ever. Prefers to miss a server that bears one of these names;
/// naming it with an option watches it all the same.
const LEFT_OUT: &[&str] = &[
    // Collectors and back ends of telemetry.
    "onlooker",
    "otelcol*",
    "opentelemetry-collector*",
    "jaeger*",
    "prometheus*",
    "node_exporter",
    "tempo",
    "loki",
    "promtail",
    "alloy",
    "grafana-agent*",
    "fluent-bit",
    "fluentd",
    "vector",
    "telegraf",
    "filebeat",
    "metricbeat",
    "datadog-agent*",
    "agent-linux*",
    "beyla",
    "obi",
    "ebpf-instrument*",
    "odiglet",
    "coroot-node-agent",
    "vizier-pem",
    "deepflow-agent*",
    // The system and its container runtimes.
    "systemd",
    "systemd-*",
    "init",
    "dbus-daemon",
    "dbus-broker*",
    "udevd",
    "agetty",
    "login",
    "sshd",
    "cron",
    "crond",
    "atd",
    "rsyslogd",
    "syslog-ng",
    "auditd",
    "polkitd",
    "chronyd",
    "ntpd",
    "NetworkManager",
    "wpa_supplicant",
    "dhclient",
    "dhcpcd",
    "containerd",
    "containerd-shim*",
    "dockerd",
    "docker-proxy",
    "runc",
    "crun",
    "conmon",
    "crio",
    "podman",
    "snapd",
    "packagekitd",
    "gpg-agent",
    "ssh-agent",
    // What a cluster runs itself on, in pods or not: on a control plane's node it asks and answers more than all else.
    "kubelet",
    "kube-*",
    "cloud-controller-manager",
    "etcd",
    "coredns",
    "metrics-server",
    "k3s",
    "rke2",
    "k0s",
];

#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    #[error("`{pattern}` is no glob: {source}")]
    Glob { pattern: String, source: globset::Error },
}

/// Compiled selectors.
pub struct Judge {
    include: Vec<Rule>,
    exclude: Vec<Rule>,
    left_out: Vec<GlobMatcher>,
    pids: Vec<u32>,
    own: u32,
    is_in_cluster: bool,
}

struct Rule {
    ports: Vec<PortRange>,
    executable: Option<GlobMatcher>,
    command_line: Option<GlobMatcher>,
    containers_only: bool,
    pod: Conditions,
    names: Names,
}

/// What a selector calls the services that it selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub service: Option<String>,
    pub namespace: Option<String>,
}

impl Judge {
    /// `own` is the daemon's process, which is never watched.
    ///
    /// # Errors
    /// Names the pattern that is no glob.
    pub fn new(selection: &Selection, own: u32) -> Result<Self, SelectionError> {
        let rules = |selectors: &[Selector]| selectors.iter().map(Rule::new).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            include: rules(&selection.include)?,
            exclude: rules(&selection.exclude)?,
            left_out: LEFT_OUT.iter().map(|pattern| glob(pattern)).collect::<Result<_, _>>()?,
            pids: selection.pids.clone(),
            own,
            is_in_cluster: false,
        })
    }

    /// Pods are told of from now on: what they say of themselves counts, and what selectors ask of them.
    pub fn join_cluster(&mut self) {
        self.is_in_cluster = true;
    }

    #[must_use]
    pub const fn is_in_cluster(&self) -> bool {
        self.is_in_cluster
    }

    /// Whether any selector asks for more of a pod than its own word.
    #[must_use]
    pub fn asks_pods(&self) -> bool {
        self.include.iter().chain(&self.exclude).any(|rule| !rule.pod.is_empty())
    }

    /// Nothing is selected by the user: everything is watched but what is left out.
    fn takes_everything(&self) -> bool {
        self.include.is_empty() && self.pids.is_empty()
    }

    /// Chosen by process id, with its children, through every exec.
    #[must_use]
    pub fn is_named(&self, tgid: u32) -> bool {
        self.pids.contains(&tgid)
    }

    /// Whether the kernel must capture a new program until it has been judged.
    #[must_use]
    pub fn looks_at_programs(&self) -> bool {
        // A pod's own word selects whatever runs in it.
        self.is_in_cluster || self.takes_everything() || self.include.iter().any(|rule| rule.ports.is_empty())
    }

    /// Whether any selector names ports, so that `/proc` must be searched for listeners.
    #[must_use]
    pub fn looks_at_ports(&self) -> bool {
        self.include.iter().chain(&self.exclude).any(|rule| !rule.ports.is_empty())
    }

    /// Ports of which a listen makes the kernel capture a process: for good where the port is all that is asked for, else
    /// until the process has been judged.
    pub fn ports(&self) -> impl Iterator<Item = (PortRange, Watch)> {
        self.include.iter().flat_map(|rule| {
            let is_all = rule.executable.is_none()
                && rule.command_line.is_none()
                && !rule.containers_only
                && rule.pod.is_empty();
            let watch = if is_all { Watch::Yes } else { Watch::Undecided };
            rule.ports.iter().map(move |range| (*range, watch))
        })
    }

    /// The names that the first selector gives which matches the process.
    #[must_use]
    pub fn names(&self, candidate: &Candidate, lodging: &Lodging) -> Names {
        let rule = self.include.iter().find(|rule| rule.matches(candidate, lodging) == Answer::Yes);
        rule.map(|rule| rule.names.clone()).unwrap_or_default()
    }

    /// Whether it is watched. What stays open until its pod is known counts as neither selected nor excluded only where it
    /// would make the difference.
    #[must_use]
    pub fn selects(&self, candidate: &Candidate, lodging: &Lodging) -> Answer {
        let any =
            |rules: &[Rule]| rules.iter().map(|rule| rule.matches(candidate, lodging)).max().unwrap_or(Answer::No);
        let (excluded, own_word) = (any(&self.exclude), lodging.own_word());
        if candidate.tgid == self.own || excluded == Answer::Yes || own_word == Some(false) {
            return Answer::No;
        }
        let included = if self.is_named(candidate.tgid) || own_word == Some(true) {
            Answer::Yes
        } else if self.takes_everything() {
            let name = candidate.executable_name();
            (!self.left_out.iter().any(|pattern| pattern.is_match(name))).into()
        } else {
            any(&self.include)
        };
        if excluded == Answer::NotYet { included.min(Answer::NotYet) } else { included }
    }
}

impl Rule {
    fn new(selector: &Selector) -> Result<Self, SelectionError> {
        let compiled = |pattern: &Option<String>| pattern.as_deref().map(glob).transpose();
        Ok(Self {
            ports: selector.open_ports.clone(),
            executable: compiled(&selector.executable)?,
            command_line: compiled(&selector.command_line)?,
            containers_only: selector.containers_only,
            pod: Conditions::new(&selector.pod)?,
            names: Names { service: selector.service_name.clone(), namespace: selector.service_namespace.clone() },
        })
    }

    fn matches(&self, candidate: &Candidate, lodging: &Lodging) -> Answer {
        let listens = |port: &u16| self.ports.iter().any(|range| (range.first..=range.last).contains(port));
        let is_match = (self.ports.is_empty() || candidate.listens_on.iter().any(listens))
            && self.executable.as_ref().is_none_or(|pattern| matches_executable(pattern, candidate))
            && self.command_line.as_ref().is_none_or(|pattern| pattern.is_match(candidate.arguments.join(" ")))
            && (!self.containers_only || candidate.in_container);
        if is_match { self.pod.hold(lodging) } else { Answer::No }
    }
}

/// On the whole path; of a process that is gone, on its name below any folder.
fn matches_executable(pattern: &GlobMatcher, candidate: &Candidate) -> bool {
    match &candidate.executable {
        Some(path) => pattern.is_match(path.to_string_lossy().trim_end_matches(" (deleted)")),
        None => pattern.is_match(format!("/{}", candidate.name)),
    }
}

/// A `*` goes across folders, as in the selectors of the other agents.
pub(super) fn glob(pattern: &str) -> Result<GlobMatcher, SelectionError> {
    GlobBuilder::new(pattern)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|source| SelectionError::Glob { pattern: pattern.to_owned(), source })
}

#[cfg(test)]
mod tests;
