// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The YAML file in, settings out: our own keys, and the keys of the other agents' files that mean the same.
//!
//! An unknown key is a problem with its place and the nearest right name; a key that only the other agents know is a
//! warning, so that their files can be kept.

use super::{
    nearest::nearest,
    options::{Kind, Row, TABLE},
    pairs,
    problem::{Origin, Problem, Warning},
    selectors,
    settings::Settings,
    yaml::{Content, Entry, Node},
};

/// Keys at the top of the other agents' files that nothing here corresponds to.
const FOREIGN: &[&str] = &[
    "asserts",
    "attributes",
    "channel_buffer_len",
    "channel_send_timeout",
    "ebpf",
    "enforce_sys_caps",
    "filter",
    "grafana",
    "health_check",
    "injector",
    "internal_metrics",
    "javaagent",
    "log_config",
    "log_format",
    "meter_provider",
    "name_resolver",
    "network",
    "nodejs",
    "port",
    "processes",
    "profile_port",
    "prometheus_export",
    "routes",
    "stats",
    "topology",
    "tracer_provider",
    "traces",
];

/// Sections of the other agents' files of which some keys are read: the others in them are foreign.
const HALF_FOREIGN: &[&str] = &["attributes", "otel_traces_export", "otel_metrics_export"];

pub(super) fn read(entries: &[Entry], settings: &mut Settings) {
    read_section("", entries, settings);
}

fn read_section(section: &str, entries: &[Entry], settings: &mut Settings) {
    for entry in entries {
        let path = if section.is_empty() { entry.key.clone() } else { format!("{section}.{}", entry.key) };
        if path == "discovery" {
            selectors::read(&entry.value, settings);
        } else if let Some((row, origin)) = option_at(&path, entry) {
            if let Some(text) = text_of(row, entry, settings) {
                settings.offer(row, &text, origin);
            }
        } else if is_section(&path) {
            match &entry.value.content {
                Content::Mapping(entries) => read_section(&path, entries, settings),
                _ if is_null(&entry.value) => {}
                _ => settings.problems.push(wrong_shape(entry, "a mapping")),
            }
        } else if FOREIGN.contains(&path.as_str()) || HALF_FOREIGN.iter().any(|half| section.starts_with(half)) {
            settings.warnings.push(Warning::KeyIgnored { place: entry.place.clone(), key: path });
        } else {
            let nearest = nearest_key(section, &entry.key);
            settings.problems.push(Problem::UnknownKey { place: entry.place.clone(), key: path, nearest });
        }
    }
}

fn option_at(path: &str, entry: &Entry) -> Option<(&'static Row, Origin)> {
    let place = || entry.place.clone();
    TABLE.iter().find_map(|row| {
        if row.file == path {
            return Some((row, Origin::File(place())));
        }
        let alias = row.file_aliases.iter().find(|alias| **alias == path)?;
        Some((row, Origin::FileAlias(place(), alias, row.file)))
    })
}

fn paths() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|row| std::iter::once(row.file).chain(row.file_aliases.iter().copied()))
}

fn is_section(path: &str) -> bool {
    paths().any(|known| known.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The nearest key of the same section, or else the path elsewhere that ends in this very key.
fn nearest_key(section: &str, key: &str) -> Option<String> {
    let prefix = if section.is_empty() { String::new() } else { format!("{section}.") };
    let siblings = || paths().chain(["discovery"]).filter_map(|path| path.strip_prefix(&prefix));
    let sibling = nearest(key, siblings().map(|path| path.split('.').next().unwrap_or(path)));
    let elsewhere = || TABLE.iter().map(|row| row.file).find(|path| path.rsplit('.').next() == Some(key));
    sibling.map(|sibling| format!("{prefix}{sibling}")).or_else(|| elsewhere().map(str::to_owned))
}

/// What stands there as the option's text; nothing where it is null, or no fit, which is noted.
fn text_of(row: &Row, entry: &Entry, settings: &mut Settings) -> Option<String> {
    match (&entry.value.content, row.kind) {
        _ if is_null(&entry.value) => None,
        (Content::Text(text), _) => Some(text.clone()),
        (Content::List(_), Kind::List) => joined_texts(&entry.key, &entry.value, settings),
        (Content::Mapping(entries), Kind::Pairs | Kind::SecretPairs) => {
            let mut texts = Vec::new();
            for pair in entries {
                let Content::Text(value) = &pair.value.content else {
                    settings.problems.push(wrong_shape(pair, "a single value"));
                    return None;
                };
                texts.push(pairs::encoded(&pair.key, value));
            }
            Some(texts.join(","))
        }
        (_, kind) => {
            let expected = match kind {
                Kind::List => "a single value or a list",
                Kind::Pairs | Kind::SecretPairs => "a single value or a mapping",
                _ => "a single value",
            };
            settings.problems.push(wrong_shape(entry, expected));
            None
        }
    }
}

/// A single value, or a list of them joined by commas.
pub(super) fn joined_texts(key: &str, node: &Node, settings: &mut Settings) -> Option<String> {
    match &node.content {
        Content::Text(text) => Some(text.clone()),
        Content::List(items) => {
            let texts = items.iter().map(|item| match &item.content {
                Content::Text(text) => Ok(text.as_str()),
                content => Err((item, content.what())),
            });
            match texts.collect::<Result<Vec<_>, _>>() {
                Ok(texts) => Some(texts.join(",")),
                Err((item, found)) => {
                    let (place, key) = (item.place.clone(), key.to_owned());
                    settings.problems.push(Problem::WrongShape { place, key, expected: "single values", found });
                    None
                }
            }
        }
        content => {
            let (place, key, found) = (node.place.clone(), key.to_owned(), content.what());
            settings.problems.push(Problem::WrongShape { place, key, expected: "a single value or a list", found });
            None
        }
    }
}

pub(super) fn wrong_shape(entry: &Entry, expected: &'static str) -> Problem {
    let found = entry.value.content.what();
    Problem::WrongShape { place: entry.place.clone(), key: entry.key.clone(), expected, found }
}

pub(super) fn is_null(node: &Node) -> bool {
    matches!(&node.content, Content::Text(text) if text.is_empty() || text == "~" || text == "null")
}
