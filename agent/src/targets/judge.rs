// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a process is selected: contract of the options, pure.

use agent_common::records::Watch;
use globset::{GlobBuilder, GlobMatcher};

use super::Candidate;
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
    "kubelet",
    "kube-proxy",
    "podman",
    "snapd",
    "packagekitd",
    "gpg-agent",
    "ssh-agent",
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
}

struct Rule {
    ports: Vec<PortRange>,
    executable: Option<GlobMatcher>,
    command_line: Option<GlobMatcher>,
    containers_only: bool,
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
        })
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
        self.takes_everything() || self.include.iter().any(|rule| rule.ports.is_empty())
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
            let is_all = rule.executable.is_none() && rule.command_line.is_none() && !rule.containers_only;
            let watch = if is_all { Watch::Yes } else { Watch::Undecided };
            rule.ports.iter().map(move |range| (*range, watch))
        })
    }

    /// The names that the first selector gives which matches the process.
    #[must_use]
    pub fn names(&self, candidate: &Candidate) -> Names {
        let rule = self.include.iter().find(|rule| rule.matches(candidate));
        rule.map(|rule| rule.names.clone()).unwrap_or_default()
    }

    #[must_use]
    pub fn selects(&self, candidate: &Candidate) -> bool {
        if candidate.tgid == self.own || self.exclude.iter().any(|rule| rule.matches(candidate)) {
            return false;
        }
        if self.is_named(candidate.tgid) {
            return true;
        }
        if self.takes_everything() {
            let name = candidate.executable_name();
            return !self.left_out.iter().any(|pattern| pattern.is_match(name));
        }
        self.include.iter().any(|rule| rule.matches(candidate))
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
            names: Names { service: selector.service_name.clone(), namespace: selector.service_namespace.clone() },
        })
    }

    fn matches(&self, candidate: &Candidate) -> bool {
        let listens = |port: &u16| self.ports.iter().any(|range| (range.first..=range.last).contains(port));
        (self.ports.is_empty() || candidate.listens_on.iter().any(listens))
            && self.executable.as_ref().is_none_or(|pattern| matches_executable(pattern, candidate))
            && self.command_line.as_ref().is_none_or(|pattern| pattern.is_match(candidate.arguments.join(" ")))
            && (!self.containers_only || candidate.in_container)
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
fn glob(pattern: &str) -> Result<GlobMatcher, SelectionError> {
    GlobBuilder::new(pattern)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|source| SelectionError::Glob { pattern: pattern.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn candidate(executable: &str, arguments: &str, ports: &[u16]) -> Candidate {
        Candidate {
            tgid: 10,
            name: "name".to_owned(),
            executable: (!executable.is_empty()).then(|| executable.into()),
            arguments: arguments.split_whitespace().map(str::to_owned).collect(),
            listens_on: ports.to_vec(),
            in_container: false,
        }
    }

    fn executable(pattern: &str) -> Selector {
        Selector { executable: Some(pattern.to_owned()), ..Selector::default() }
    }

    fn ports(first: u16, last: u16) -> Selector {
        Selector { open_ports: vec![PortRange { first, last }], ..Selector::default() }
    }

    #[track_caller]
    fn check(include: &[Selector], exclude: &[Selector], candidate: &Candidate, selected: bool) {
        let selection = Selection { include: include.to_vec(), exclude: exclude.to_vec(), pids: Vec::new() };
        let judge = Judge::new(&selection, 1).expect("globs");
        assert_eq!(judge.selects(candidate), selected, "{candidate:?}");
    }

    #[test]
    fn without_selectors_everything_but_the_machine_s_own_is_watched() {
        for (path, selected) in [
            ("/usr/bin/node", true),
            ("/usr/sbin/nginx", true),
            ("/usr/bin/otelcol-contrib", false),
            ("/lib/systemd/systemd-journald", false),
            ("/usr/bin/containerd-shim-runc-v2", false),
            ("/opt/shop (deleted)", true),
        ] {
            check(&[], &[], &candidate(path, "", &[]), selected);
        }
    }

    #[test]
    fn the_daemon_itself_is_never_watched() {
        let selection = Selection { pids: vec![10], ..Selection::default() };
        let judge = Judge::new(&selection, 10).expect("globs");
        assert!(!judge.selects(&candidate("/usr/bin/onlooker", "", &[])));
    }

    #[test]
    fn parts_of_a_selector_must_all_match_and_one_selector_is_enough() {
        let both = Selector { open_ports: vec![PortRange { first: 80, last: 89 }], ..executable("*/nginx") };
        check(from_ref(&both), &[], &candidate("/usr/sbin/nginx", "", &[85]), true);
        check(from_ref(&both), &[], &candidate("/usr/sbin/nginx", "", &[90]), false);
        check(from_ref(&both), &[], &candidate("/usr/bin/node", "", &[85]), false);
        check(&[both, ports(443, 443)], &[], &candidate("/usr/bin/node", "", &[8080, 443]), true);
    }

    #[test]
    fn the_first_selector_that_matches_names_the_service() {
        let named = |name: &str| Selector { service_name: Some(name.to_owned()), ..ports(80, 89) };
        let selection =
            Selection { include: vec![executable("*/node"), named("web"), named("late")], ..Selection::default() };
        let judge = Judge::new(&selection, 1).expect("globs");
        assert_eq!(judge.names(&candidate("/usr/sbin/nginx", "", &[80])).service.as_deref(), Some("web"));
        assert_eq!(judge.names(&candidate("/usr/bin/node", "", &[80])).service, None);
    }

    #[test]
    fn exclusions_win() {
        check(&[ports(80, 80)], &[executable("*nginx")], &candidate("/usr/sbin/nginx", "", &[80]), false);
    }

    #[test]
    fn globs_go_across_folders_and_know_alternatives() {
        check(&[executable("*/{node,python3*}")], &[], &candidate("/a/b/python3.11", "", &[]), true);
        check(&[executable("/a/*.11")], &[], &candidate("/a/b/python3.11", "", &[]), true);
        check(&[executable("node")], &[], &candidate("/usr/bin/node", "", &[]), false);
        let command = Selector { command_line: Some("*gunicorn*".to_owned()), ..Selector::default() };
        check(&[command], &[], &candidate("/usr/bin/python3", "python3 -m gunicorn app", &[]), true);
    }

    #[test]
    fn a_process_that_is_gone_is_judged_by_its_name() {
        check(&[executable("*/name")], &[], &candidate("", "", &[]), true);
        check(&[], &[], &candidate("", "", &[]), true);
    }

    #[test]
    fn a_bad_glob_is_named() {
        let selection = Selection { include: vec![executable("a{b")], ..Selection::default() };
        let Err(error) = Judge::new(&selection, 1) else { panic!("accepted") };
        assert!(error.to_string().contains("`a{b`"), "{error}");
    }
}
