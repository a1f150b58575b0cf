// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Environment variables in, settings out: our own names, the OpenTelemetry names, and the other agents' names.
//!
//! An unknown `ONLOOKER_*` is a problem: it was meant for us. An unknown name of the other agents is a warning: it was
//! meant for them, and the image line of their DaemonSet may have been all that was changed.

use std::{collections::BTreeMap, ffi::OsString};

use super::{
    nearest::nearest,
    options::TABLE,
    problem::{Origin, Problem, Warning},
    settings::Settings,
};

pub(super) fn read(environment: impl Iterator<Item = (OsString, OsString)>, settings: &mut Settings) {
    // A name that is not text is none of ours.
    let mut variables: BTreeMap<String, OsString> =
        environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    for row in TABLE {
        for (index, name) in [row.environment].iter().chain(row.aliases).enumerate() {
            let Some(value) = variables.remove(*name) else { continue };
            let origin = match index {
                0 => Origin::Environment(name),
                _ => Origin::EnvironmentAlias(name, row.name()),
            };
            match value.into_string() {
                Ok(text) => settings.offer(row, &text, origin),
                Err(_) => settings.problems.push(Problem::NotText { origin }),
            }
        }
    }
    for (name, value) in variables {
        if name.starts_with("ONLOOKER_") && !is_service_link(&name, &value.to_string_lossy()) {
            let nearest = nearest_own(&name);
            settings.problems.push(Problem::UnknownVariable { name, nearest });
        } else if is_foreign(&name) && !value.is_empty() {
            let nearest = nearest_foreign(&name);
            settings.warnings.push(Warning::VariableIgnored { name, nearest });
        }
    }
}

/// By the flag that the rest of the name resembles: `ONLOOKER_ENDPOINT` has its own standard name.
fn nearest_own(name: &str) -> Option<&'static str> {
    let flag = nearest(name.strip_prefix("ONLOOKER_")?, TABLE.iter().filter_map(|row| row.flag))?;
    TABLE.iter().find(|row| row.flag == Some(flag)).map(|row| row.environment)
}

/// Among the known names with the same prefix: the prefix itself is no likeness.
fn nearest_foreign(name: &str) -> Option<&'static str> {
    let prefix = PREFIXES.iter().find(|prefix| name.starts_with(*prefix))?;
    let known = TABLE.iter().flat_map(|row| std::iter::once(row.environment).chain(row.aliases.iter().copied()));
    let known: Vec<&str> = known.filter(|known| known.starts_with(prefix)).collect();
    let rest = nearest(&name[prefix.len()..], known.iter().map(|known| &known[prefix.len()..]))?;
    known.into_iter().find(|known| &known[prefix.len()..] == rest)
}

/// Names that are not ours, of which some are read.
const PREFIXES: [&str; 4] = ["OTEL_EBPF_", "BEYLA_", "OTEL_EXPORTER_OTLP_", "OTEL_BSP_"];

/// Variables that may be slips of a name that is read here. Those of other signals are none.
fn is_foreign(name: &str) -> bool {
    const OTHER_SIGNALS: [&str; 3] =
        ["OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_LOGS_", "OTEL_EXPORTER_OTLP_PROFILES_"];
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    starts(&PREFIXES) && !starts(&OTHER_SIGNALS)
}

/// Kubernetes tells every container of the services of its namespace: one called `onlooker` makes `ONLOOKER_PORT`,
/// `ONLOOKER_SERVICE_HOST`, `ONLOOKER_PORT_9464_TCP_ADDR` and so on, which nobody wrote.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_link = |text: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    let has_numbered_port = || {
        let numbered = |(index, _)| name[index + "_PORT_".len()..].starts_with(|c: char| c.is_ascii_digit());
        name.match_indices("_PORT_").any(numbered)
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && is_link(value))
        || has_numbered_port()
}
