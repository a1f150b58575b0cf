// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file's `discovery` section in, selectors out.
//!
//! `instrument` and `exclude` are ours; the other agents' older `services` and `exclude_services`, where paths are regular
//! expressions, are read where these can be globs.

use super::{
    Selector,
    file::{is_null, joined_texts, wrong_shape},
    nearest::nearest,
    patterns, pod_conditions,
    problem::{Origin, Problem, Warning},
    settings::Settings,
    values::{self, Refusal},
    yaml::{Content, Entry, Node},
};

/// Which list a selector stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Include,
    Exclude,
}

/// How paths, command lines and names are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paths {
    Globs,
    Patterns,
}

impl Paths {
    fn read(self, text: &str) -> Result<String, Refusal> {
        match self {
            Self::Globs => patterns::glob(text),
            Self::Patterns => patterns::glob_of_pattern(text),
        }
    }
}

const LISTS: [(&str, List, Paths); 5] = [
    ("instrument", List::Include, Paths::Globs),
    ("exclude", List::Exclude, Paths::Globs),
    ("exclude_instrument", List::Exclude, Paths::Globs),
    ("services", List::Include, Paths::Patterns),
    ("exclude_services", List::Exclude, Paths::Patterns),
];

/// Keys of the other agents that nothing here corresponds to.
const FOREIGN_LISTS: &[&str] = &[
    "bpf_pid_filter_off",
    "default_exclude_instrument",
    "default_exclude_services",
    "default_otlp_grpc_port",
    "disabled_route_harvesters",
    "exclude_otel_instrumented_services",
    "exclude_otel_instrumented_services_span_metrics",
    "exclude_system_metrics",
    "min_process_age",
    "poll_interval",
    "route_harvester_timeout",
    "skip_go_specific_tracers",
    "survey",
    "watch_interval",
];
const FOREIGN_PARTS: &[&str] = &["exports", "features", "languages", "metrics", "routes", "sampler"];

const PARTS: &[&str] = &[
    "open_ports",
    "open_port",
    "exe_path",
    "exe",
    "executable_name",
    "exe_path_regexp",
    "command_line",
    "cmd_args",
    "cmd",
    "containers_only",
    "name",
    "service_name",
    "namespace",
    "service_namespace",
];

pub(super) fn read(discovery: &Node, settings: &mut Settings) {
    let Content::Mapping(entries) = &discovery.content else {
        if !is_null(discovery) {
            let (place, found) = (discovery.place.clone(), discovery.content.what());
            let key = "discovery".to_owned();
            settings.problems.push(Problem::WrongShape { place, key, expected: "a mapping", found });
        }
        return;
    };
    for entry in entries {
        let known = LISTS.iter().find(|(name, ..)| *name == entry.key);
        match (known, &entry.value.content) {
            (Some((_, list, paths)), Content::List(items)) => {
                for item in items {
                    read_selector(item, *list, *paths, settings);
                }
            }
            (Some(_), _) if is_null(&entry.value) => {}
            (Some(_), _) => settings.problems.push(wrong_shape(entry, "a list of selectors")),
            (None, _) if FOREIGN_LISTS.contains(&entry.key.as_str()) => {
                let key = format!("discovery.{}", entry.key);
                settings.warnings.push(Warning::KeyIgnored { place: entry.place.clone(), key });
            }
            (None, _) => {
                let nearest = nearest(&entry.key, LISTS.iter().map(|(name, ..)| *name));
                let nearest = nearest.map(|name| format!("discovery.{name}"));
                let key = format!("discovery.{}", entry.key);
                settings.problems.push(Problem::UnknownKey { place: entry.place.clone(), key, nearest });
            }
        }
    }
}

fn read_selector(node: &Node, list: List, paths: Paths, settings: &mut Settings) {
    let Content::Mapping(entries) = &node.content else {
        let (place, found) = (node.place.clone(), node.content.what());
        settings.problems.push(Problem::WrongShape {
            place,
            key: "a selector".to_owned(),
            expected: "a mapping",
            found,
        });
        return;
    };
    let problems_before = settings.problems.len();
    let mut selector = Selector::default();
    for entry in entries.iter().filter(|entry| !is_null(&entry.value)) {
        if entry.key.starts_with("k8s_") {
            pod_conditions::read(entry, |text| paths.read(text), &mut selector.pod, settings);
        } else if FOREIGN_PARTS.contains(&entry.key.as_str()) {
            settings.warnings.push(Warning::KeyIgnored { place: entry.place.clone(), key: entry.key.clone() });
        } else {
            read_part(entry, paths, &mut selector, settings);
        }
    }
    let named = Selector {
        service_name: selector.service_name.clone(),
        service_namespace: selector.service_namespace.clone(),
        ..Selector::default()
    };
    if settings.problems.len() > problems_before {
        return;
    }
    match list {
        _ if selector == named => settings.problems.push(Problem::EmptySelector { place: node.place.clone() }),
        List::Include => settings.include.push(selector),
        List::Exclude => settings.exclude.push(selector),
    }
}

fn read_part(entry: &Entry, paths: Paths, selector: &mut Selector, settings: &mut Settings) {
    let glob = |text: &str| paths.read(text);
    match entry.key.as_str() {
        "open_ports" | "open_port" => {
            let Some(text) = joined_texts(&entry.key, &entry.value, settings) else { return };
            if let Some(ports) = accept(entry, &text, values::ports(&text), settings) {
                selector.open_ports = ports;
            }
        }
        "exe_path_regexp" => read_text(entry, patterns::glob_of_pattern, settings, &mut selector.executable),
        "exe_path" | "exe" | "executable_name" => read_text(entry, glob, settings, &mut selector.executable),
        "command_line" | "cmd_args" | "cmd" => read_text(entry, glob, settings, &mut selector.command_line),
        "containers_only" => {
            let mut only = None;
            read_text(entry, values::switch, settings, &mut only);
            selector.containers_only |= only.unwrap_or_default();
        }
        "name" | "service_name" => read_text(entry, values::plain, settings, &mut selector.service_name),
        "namespace" | "service_namespace" => read_text(entry, values::plain, settings, &mut selector.service_namespace),
        key => {
            let nearest = nearest(key, PARTS.iter().copied()).map(str::to_owned);
            settings.problems.push(Problem::UnknownKey { place: entry.place.clone(), key: key.to_owned(), nearest });
        }
    }
}

fn read_text<T>(
    entry: &Entry,
    parse: impl Fn(&str) -> Result<T, Refusal>,
    settings: &mut Settings,
    into: &mut Option<T>,
) {
    let Content::Text(text) = &entry.value.content else {
        settings.problems.push(wrong_shape(entry, "a single value"));
        return;
    };
    *into = accept(entry, text, parse(text), settings);
}

fn accept<T>(entry: &Entry, text: &str, value: Result<T, Refusal>, settings: &mut Settings) -> Option<T> {
    value
        .map_err(|refusal| {
            let (origin, option) = (Origin::File(entry.value.place.clone()), entry.key.clone());
            settings.problems.push(Problem::BadValue { origin, option, value: text.to_owned(), refusal });
        })
        .ok()
}
