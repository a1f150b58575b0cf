// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a span is told about the process it belongs to.

use std::borrow::Cow;

use super::{
    attributes::{self, Names},
    facts::{HostFacts, ProcessFacts},
    kubernetes::Placed,
    language::Language,
    service_name::program_name,
};
use crate::{
    config::Config,
    spans::{Attribute, Value},
};

/// The resource of one service instance; shared by all its spans, so that exporters group by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Unique while the daemon runs, so that exporters need not compare attributes.
    pub id: u64,
    pub attributes: Vec<Attribute>,
}

impl Resource {
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.key == key).and_then(|attribute| match &attribute.value {
            Value::Text(text) => Some(text.as_ref()),
            _ => None,
        })
    }

    /// `service.name`, which every resource has.
    #[must_use]
    pub fn service_name(&self) -> &str {
        self.text("service.name").unwrap_or("unknown_service")
    }
}

/// What the user chose for all processes.
#[derive(Debug)]
pub struct Chosen {
    service_name: Option<String>,
    service_namespace: Option<String>,
    attributes: Vec<(&'static str, String)>,
}

impl Chosen {
    pub fn new(config: &Config, names: &mut Names) -> Self {
        let known = |(name, value): &(String, String)| Some((names.get(name)?, value.clone()));
        Self {
            service_name: config.service_name.clone(),
            service_namespace: config.service_namespace.clone(),
            attributes: config.resource_attributes.iter().filter_map(known).collect(),
        }
    }
}

/// Writes resources. Where several sources know an attribute, the first of these counts:
/// the options of Onlooker, its selectors, the process's own environment, its pod's annotations, Onlooker's
/// `OTEL_RESOURCE_ATTRIBUTES`, its pod, what was found.
#[derive(Debug)]
pub struct Writer<'a> {
    pub host: &'a HostFacts,
    pub chosen: &'a Chosen,
    pub names: &'a mut Names,
}

impl Writer<'_> {
    pub fn resource(
        &mut self,
        id: u64,
        tgid: u32,
        facts: Option<&ProcessFacts>,
        name: Option<&str>,
        namespace: Option<&str>,
        placed: Option<&Placed<'_>>,
    ) -> Resource {
        let mut list = List::default();
        list.known("service.name", self.chosen.service_name.as_deref());
        list.known("service.namespace", self.chosen.service_namespace.as_deref());
        list.known("service.name", name);
        list.known("service.namespace", namespace);
        list.known("service.name", facts.and_then(|facts| facts.service_name.as_deref()));
        let own = facts.and_then(|facts| facts.resource_attributes.as_deref()).map(attributes::parse);
        for (name, value) in own.unwrap_or_default() {
            if let Some(name) = self.names.get(&name) {
                list.set(name, value);
            }
        }
        if let Some(placed) = placed {
            placed.write_annotated(&mut list, self.names);
        }
        for (name, value) in &self.chosen.attributes {
            list.set(name, value.clone());
        }
        if let Some(placed) = placed {
            placed.write_found(&mut list);
        }
        list.set("service.name", facts.and_then(program_name).unwrap_or_else(|| "unknown_service".to_owned()));
        self.found(&mut list, tgid, facts);
        Resource { id, attributes: list.0 }
    }

    fn found(&self, list: &mut List, tgid: u32, facts: Option<&ProcessFacts>) {
        let host = self.host.id.as_deref().unwrap_or(&self.host.name);
        // The same for the same process in every run of Onlooker, and no other's.
        let start = facts.map_or(0, |facts| facts.start_ticks);
        list.set("service.instance.id", format!("{host}-{tgid}-{start}"));
        list.integer("process.pid", facts.map_or(tgid, |facts| facts.pid_inside).into());
        if let Some(facts) = facts {
            let executable = facts.executable.as_deref().and_then(std::path::Path::file_name);
            list.known("process.executable.name", executable.map(|name| name.to_string_lossy()).as_deref());
            list.known("process.runtime.name", runtime_name(facts));
            list.known("telemetry.sdk.language", facts.language.map(Language::name));
            list.known("container.id", facts.container_id.as_deref());
        }
        list.known("host.name", Some(self.host.name.as_str()).filter(|name| !name.is_empty()));
        list.known("host.id", self.host.id.as_deref());
        list.constant("os.type", "linux");
        list.constant("telemetry.distro.name", "onlooker");
        list.constant("telemetry.distro.version", env!("CARGO_PKG_VERSION"));
    }
}

/// The runtime's own name, where the executable tells which one it is; a Java machine does not.
fn runtime_name(facts: &ProcessFacts) -> Option<&'static str> {
    let executable = facts.executable.as_deref()?.file_name()?.to_string_lossy();
    match facts.language? {
        Language::Go => Some("go"),
        Language::Nodejs => Some("nodejs"),
        Language::Dotnet => Some(".NET"),
        Language::Python if executable.starts_with("pypy") => Some("pypy"),
        Language::Python if executable.starts_with("python") => Some("cpython"),
        Language::Ruby if executable.starts_with("ruby") => Some("ruby"),
        _ => None,
    }
}

/// Attributes; the first value of a name stays.
#[derive(Default)]
pub struct List(Vec<Attribute>);

impl List {
    pub fn push(&mut self, key: &'static str, value: Value) {
        if self.0.iter().all(|attribute| attribute.key != key) {
            self.0.push(Attribute { key, value });
        }
    }

    pub fn set(&mut self, key: &'static str, text: String) {
        self.push(key, Value::Text(Cow::Owned(text)));
    }

    pub fn known(&mut self, key: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.set(key, text.to_owned());
        }
    }

    fn constant(&mut self, key: &'static str, text: &'static str) {
        self.push(key, Value::Text(Cow::Borrowed(text)));
    }

    fn integer(&mut self, key: &'static str, number: i64) {
        self.push(key, Value::Integer(number));
    }
}
