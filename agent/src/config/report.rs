// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `onlooker check`: the configuration as a run would read it, each value with where it comes from, secrets masked, and
//! every problem with its place.

use std::fmt::Write as _;

use super::{
    Config, KubernetesMode, KubernetesRights, OtlpProtocol, PodCondition, PortRange, Selection, Selector,
    options::{Key, TABLE},
    problem::Origin,
    settings::{Settings, shown},
};

/// What `onlooker check` prints to stdout, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    pub text: String,
    /// 0, or 2 where there is a problem.
    pub exit_status: u8,
}

impl CheckReport {
    pub(super) fn of(settings: &Settings, config: Option<&Config>) -> Self {
        let mut text = String::new();
        write_options(&mut text, settings);
        if let Some(config) = config {
            write_meaning(&mut text, config);
        }
        for warning in &settings.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        for problem in &settings.problems {
            let _ = writeln!(text, "problem: {problem}");
        }
        let count = settings.problems.len();
        let _ = match count {
            0 => writeln!(text, "The configuration is sound."),
            1 => writeln!(text, "1 problem: Onlooker would not start."),
            _ => writeln!(text, "{count} problems: Onlooker would not start."),
        };
        Self { text, exit_status: if count == 0 { 0 } else { 2 } }
    }
}

fn write_options(text: &mut String, settings: &Settings) {
    let mut lines = Vec::new();
    for row in TABLE {
        let value = match (settings.get(row.key), row.default) {
            (Some(given), _) => shown(row.kind, &given.text),
            (None, Some(default)) => default.to_owned(),
            // What is neither given nor has a default says nothing, but for the options people look for.
            (None, None) if row.flag.is_some() => "-".to_owned(),
            (None, None) => continue,
        };
        lines.push((row.name(), value, settings.origin(row.key)));
    }
    let width =
        |length: fn(&(String, String, Origin)) -> usize, most| lines.iter().map(length).max().unwrap_or(0).min(most);
    let name_width = width(|(name, ..)| name.chars().count(), 40);
    let value_width = width(|(_, value, _)| value.chars().count(), 48);
    for (name, value, origin) in &lines {
        let _ = writeln!(text, "{name:name_width$}  {value:value_width$}  {origin}");
    }
}

fn write_meaning(text: &mut String, config: &Config) {
    match &config.otlp {
        Some(otlp) => {
            let protocol = match otlp.protocol {
                OtlpProtocol::Grpc => "grpc",
                OtlpProtocol::HttpProtobuf => "http/protobuf",
            };
            let endpoint = shown(super::options::Row::of(Key::Endpoint).kind, &otlp.traces_endpoint);
            let _ = writeln!(text, "\nspans go to {endpoint} by {protocol}");
        }
        None => text.push_str("\nspans are sent nowhere\n"),
    }
    text.push_str(match (config.kubernetes.mode, config.kubernetes.rights) {
        (KubernetesMode::Off, _) => "in Kubernetes neither pods nor those that they call are named\n",
        (_, KubernetesRights::Node) => "in Kubernetes the pods of this node are named, and calls among them\n",
        (_, KubernetesRights::Cluster) => "in Kubernetes the pods of this node are named, and whom they call\n",
    });
    write_selection(text, &config.selection);
}

fn write_selection(text: &mut String, selection: &Selection) {
    let Selection { include, exclude, pids } = selection;
    if include.is_empty() && pids.is_empty() {
        text.push_str("watched: every process but Onlooker itself, collectors and the system's own daemons\n");
    }
    for selector in include {
        let _ = writeln!(text, "watched: {}", conditions(selector));
    }
    if !pids.is_empty() {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let _ = writeln!(text, "watched: processes {} and their children", pids.join(", "));
    }
    for selector in exclude {
        let _ = writeln!(text, "not watched: {}", conditions(selector));
    }
}

fn conditions(selector: &Selector) -> String {
    let mut parts = Vec::new();
    if !selector.open_ports.is_empty() {
        let port = |range: &PortRange| match range.first == range.last {
            true => range.first.to_string(),
            false => format!("{}-{}", range.first, range.last),
        };
        parts.push(format!("listens on {}", selector.open_ports.iter().map(port).collect::<Vec<_>>().join(",")));
    }
    if let Some(glob) = &selector.executable {
        parts.push(format!("executable {glob}"));
    }
    if let Some(glob) = &selector.command_line {
        parts.push(format!("command line {glob}"));
    }
    if selector.containers_only {
        parts.push("in a container".to_owned());
    }
    parts.extend(selector.pod.iter().map(PodCondition::shown));
    let mut text = parts.join(" and ");
    if let Some(name) = &selector.service_name {
        let _ = write!(text, ", as service {name}");
    }
    text
}
