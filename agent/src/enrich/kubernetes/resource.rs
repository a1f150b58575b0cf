// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a pod says of the processes in it, as attributes.
//!
//! In: the [`Place`] of a process. Out: `k8s.*`, `container.*`, and `service.*` by OpenTelemetry's rules for Kubernetes
//! (semantic conventions, "Specify resource attributes using Kubernetes annotations").
//! Does not: decide between the pod and the process; `resource.rs` one folder up calls the two parts in its order. Unlike
//! in the rules, the label `app.kubernetes.io/name` stands before `…/instance`, as in the other eBPF agents: the
//! instance is the release of a chart, which would give one name to all the services of one that holds several.

use super::{Place, image::Image, owner::workloads};
use crate::{
    enrich::{attributes::Names, resource::List},
    spans::Value,
};

const ANNOTATION: &str = "resource.opentelemetry.io/";
const NAME_LABELS: [&str; 2] = ["app.kubernetes.io/name", "app.kubernetes.io/instance"];
const VERSION_LABEL: &str = "app.kubernetes.io/version";

pub struct Placed<'a> {
    pub place: &'a Place,
    pub cluster: Option<&'a str>,
}

impl Placed<'_> {
    /// What the owner of the pod wrote for this purpose.
    pub fn write_annotated(&self, list: &mut List, names: &mut Names) {
        for (key, value) in &self.place.pod.annotations {
            if let Some(name) = key.strip_prefix(ANNOTATION).and_then(|name| names.get(name)) {
                list.set(name, value.clone());
            }
        }
    }

    /// What Kubernetes knows.
    pub fn write_found(&self, list: &mut List) {
        self.write_service(list);
        let pod = &self.place.pod;
        list.known("k8s.cluster.name", self.cluster);
        list.set("k8s.namespace.name", pod.namespace.clone());
        list.set("k8s.pod.name", pod.name.clone());
        list.set("k8s.pod.uid", pod.uid.clone());
        list.known("k8s.node.name", Some(pod.node.as_str()).filter(|node| !node.is_empty()));
        for workload in workloads(pod) {
            list.set(workload.name_key, workload.name.to_owned());
            if let Some((key, uid)) = workload.uid {
                list.set(key, uid.to_owned());
            }
        }
        if let Some(container) = self.place.container.and_then(|index| pod.containers.get(index)) {
            list.set("k8s.container.name", container.name.clone());
            let image = Image::parse(&container.image);
            list.known("container.image.name", Some(image.name).filter(|name| !name.is_empty()));
            if let Some(tag) = image.tag {
                list.push("container.image.tags", Value::Texts(vec![tag.to_owned()]));
            }
        }
    }

    fn write_service(&self, list: &mut List) {
        let pod = &self.place.pod;
        let container = self.place.container.and_then(|index| pod.containers.get(index));
        let label = |name: &str| pod.labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let labelled = NAME_LABELS.iter().find_map(|name| label(name));
        let owner = || workloads(pod).next().map(|workload| workload.name);
        list.set("service.name", labelled.or_else(owner).unwrap_or(&pod.name).to_owned());
        list.set("service.namespace", pod.namespace.clone());
        list.known("service.version", label(VERSION_LABEL));
        list.known("service.version", container.and_then(|found| Image::parse(&found.image).version()).as_deref());
        let container = container.map(|container| format!(".{}", container.name)).unwrap_or_default();
        list.set("service.instance.id", format!("{}.{}{container}", pod.namespace, pod.name));
    }
}
