// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a selector asks of a process's pod: the file's `k8s_…` keys in, conditions out. The keys are those of the other
//! eBPF agents.
//!
//! Does not: match; that is `targets`, once the pod is known.

use super::{
    file::wrong_shape,
    nearest::nearest,
    problem::{Origin, Problem},
    settings::Settings,
    values::Refusal,
    yaml::{Content, Entry},
};

/// A glob on something that is known of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCondition {
    pub field: PodField,
    pub glob: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodField {
    Namespace,
    Pod,
    /// The container in it that the process runs in.
    Container,
    /// Any of its owners.
    Owner,
    /// Its owner of one kind, under the name of the kind's attribute.
    Workload(&'static str),
    Label(String),
    Annotation(String),
}

const NAMES: &[(&str, PodField)] = &[
    ("k8s_namespace", PodField::Namespace),
    ("k8s_pod_name", PodField::Pod),
    ("k8s_container_name", PodField::Container),
    ("k8s_owner_name", PodField::Owner),
    ("k8s_deployment_name", PodField::Workload("k8s.deployment.name")),
    ("k8s_replicaset_name", PodField::Workload("k8s.replicaset.name")),
    ("k8s_statefulset_name", PodField::Workload("k8s.statefulset.name")),
    ("k8s_daemonset_name", PodField::Workload("k8s.daemonset.name")),
    ("k8s_cronjob_name", PodField::Workload("k8s.cronjob.name")),
    ("k8s_job_name", PodField::Workload("k8s.job.name")),
];

/// Of which field a name in the mapping is one.
type Named = fn(String) -> PodField;
const MAPS: [(&str, Named); 2] = [("k8s_pod_labels", PodField::Label), ("k8s_pod_annotations", PodField::Annotation)];

impl PodCondition {
    /// As the file writes it.
    pub(super) fn shown(&self) -> String {
        let name = match &self.field {
            PodField::Label(name) => return format!("pod label {name} {}", self.glob),
            PodField::Annotation(name) => return format!("pod annotation {name} {}", self.glob),
            field => NAMES.iter().find(|(_, known)| known == field).map_or("", |(name, _)| name),
        };
        format!("{} {}", name.trim_start_matches("k8s_").replace('_', " "), self.glob)
    }
}

/// `glob` makes a glob of what the list that the selector stands in has for one.
pub(super) fn read(
    entry: &Entry,
    glob: impl Fn(&str) -> Result<String, Refusal>,
    conditions: &mut Vec<PodCondition>,
    settings: &mut Settings,
) {
    let mut add = |field: PodField, entry: &Entry, settings: &mut Settings| {
        let Content::Text(text) = &entry.value.content else {
            settings.problems.push(wrong_shape(entry, "a single value"));
            return;
        };
        match glob(text) {
            Ok(glob) => conditions.push(PodCondition { field, glob }),
            Err(refusal) => {
                let (origin, option) = (Origin::File(entry.value.place.clone()), entry.key.clone());
                settings.problems.push(Problem::BadValue { origin, option, value: text.clone(), refusal });
            }
        }
    };
    if let Some((_, field)) = NAMES.iter().find(|(name, _)| *name == entry.key) {
        add(field.clone(), entry, settings);
    } else if let Some((_, field)) = MAPS.iter().find(|(name, _)| *name == entry.key) {
        match &entry.value.content {
            Content::Mapping(entries) => {
                for entry in entries {
                    add(field(entry.key.clone()), entry, settings);
                }
            }
            _ => settings.problems.push(wrong_shape(entry, "a mapping of names to values")),
        }
    } else {
        let known = NAMES.iter().map(|(name, _)| *name).chain(MAPS.iter().map(|(name, _)| *name));
        let nearest = nearest(&entry.key, known).map(str::to_owned);
        settings.problems.push(Problem::UnknownKey { place: entry.place.clone(), key: entry.key.clone(), nearest });
    }
}
