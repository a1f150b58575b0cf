// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A pod, reduced to what spans are told and selectors ask for.
//!
//! In: a pod as the API server writes it (`core/v1`, JSON). Out: [`Pod`]. Everything else is skipped while it is read:
//! a pod of ten kilobytes leaves one.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;

use super::object::{Change, News, Object, Written, or_empty};

/// Labels, annotations and containers of one pod. Larger: a pod with thousands costs memory on every node it visits.
/// Smaller: selectors do not see what is past it.
const ENTRIES: usize = 64;

/// Bytes of an annotation that is kept. Larger: what tools store there, whole manifests among it, is kept. Smaller: long
/// attribute values are lost.
const ANNOTATION_BYTES: usize = 256;

/// What the kubelet calls a pod that came from a file: the API server knows its copy under another uid.
const STATIC_POD_HASH: &str = "kubernetes.io/config.hash";

/// In which no process of the pod is left.
const ENDED_PHASES: [&str; 2] = ["Succeeded", "Failed"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub node: String,
    /// Seconds since the epoch.
    pub created: Option<i64>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub owner: Option<Owner>,
    pub containers: Vec<Container>,
    /// Its own. None where it shares its node's, and once it has ended: another pod may have been given them since.
    pub addresses: Vec<IpAddr>,
}

/// The object that made the pod and would make it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Owner {
    pub kind: String,
    pub name: String,
    pub uid: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub image: String,
    /// Absent until the kubelet has reported that it runs.
    pub id: Option<String>,
    /// It runs along with the pod: neither an init container nor one that was added for debugging.
    pub is_main: bool,
}

impl Pod {
    /// The uid in the names of its control groups.
    #[must_use]
    pub fn uid_on_node(&self) -> &str {
        self.annotations.get(STATIC_POD_HASH).unwrap_or(&self.uid)
    }
}

/// The pod's fields that are read, under the API's names.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WrittenPod {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    uid: String,
    namespace: String,
    name: String,
    resource_version: String,
    creation_timestamp: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_empty")]
    owner_references: Vec<Reference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    #[serde(flatten)]
    owner: Owner,
    controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
    host_network: bool,
    #[serde(deserialize_with = "or_empty")]
    containers: Vec<Named>,
    #[serde(deserialize_with = "or_empty")]
    init_containers: Vec<Named>,
    #[serde(deserialize_with = "or_empty")]
    ephemeral_containers: Vec<Named>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    image: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: String,
    #[serde(rename = "podIPs", deserialize_with = "or_empty")]
    addresses: Vec<Address>,
    #[serde(deserialize_with = "or_empty")]
    container_statuses: Vec<Running>,
    #[serde(deserialize_with = "or_empty")]
    init_container_statuses: Vec<Running>,
    #[serde(deserialize_with = "or_empty")]
    ephemeral_container_statuses: Vec<Running>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    ip: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Running {
    name: String,
    #[serde(rename = "containerID")]
    container_id: String,
}

impl Object for Pod {
    type Written = WrittenPod;

    const PATH: &'static str = "/api/v1/pods";
    const NAMES: &'static str = "pods";
    const PAGE: usize = 50;

    fn news(change: Change<Self>) -> News {
        News::Pod(change)
    }
}

impl Written for WrittenPod {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl From<WrittenPod> for Pod {
    fn from(WrittenPod { metadata, spec, status }: WrittenPod) -> Self {
        let has_ended = ENDED_PHASES.contains(&status.phase.as_str());
        let own = status.addresses.iter().filter(|_| !has_ended && !spec.host_network);
        let addresses = own.filter_map(|address| address.ip.parse().ok()).collect();
        let statuses =
            [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses].concat();
        let id = |name: &str| {
            let running = statuses.iter().find(|running| running.name == name)?;
            // `containerd://<id>`, `cri-o://<id>`, `docker://<id>`.
            running.container_id.split_once("://").map(|(_, id)| id.to_owned())
        };
        let main = spec.containers.into_iter().map(|named| (named, true));
        let others = spec.init_containers.into_iter().chain(spec.ephemeral_containers).map(|named| (named, false));
        let container = |(Named { name, image }, is_main)| Container { id: id(&name), name, image, is_main };
        let containers = main.chain(others).take(ENTRIES).map(container).collect();
        let owner = metadata.owner_references.into_iter().find(|reference| reference.controller == Some(true));
        let annotations = metadata.annotations.into_iter();
        let is_short = |(name, value): &(String, String)| name.len() + value.len() <= ANNOTATION_BYTES;
        let time = metadata.creation_timestamp.and_then(|text| text.parse::<jiff::Timestamp>().ok());
        Self {
            uid: metadata.uid,
            namespace: metadata.namespace,
            name: metadata.name,
            node: spec.node_name,
            created: time.map(jiff::Timestamp::as_second),
            labels: metadata.labels.into_iter().take(ENTRIES).collect(),
            annotations: annotations.filter(is_short).take(ENTRIES).collect(),
            owner: owner.map(|reference| reference.owner),
            containers,
            addresses,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A pod as `kubectl get -o json` writes one, shortened.
    pub const WRITTEN: &str = r#"{
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web-6d4cf56db6-x2x8p", "namespace": "shop", "uid": "8d0e1f9a-0000-4000-8000-000000000001",
            "resourceVersion": "17", "creationTimestamp": "2026-01-01T10:00:00Z", "generateName": "web-6d4cf56db6-",
            "labels": {"app": "web", "pod-template-hash": "6d4cf56db6"},
            "annotations": {"resource.opentelemetry.io/service.version": "7", "huge": "HUGE"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Other", "name": "x", "uid": "u0"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4cf56db6", "uid": "u1", "controller": true}
            ],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}]
        },
        "spec": {
            "nodeName": "n1",
            "initContainers": [{"name": "wait", "image": "busybox"}],
            "containers": [{"name": "web", "image": "registry:5000/shop/web:1.2"}, {"name": "proxy", "image": "envoy"}]
        },
        "status": {
            "phase": "Running", "hostIP": "192.0.2.1", "podIP": "10.1.0.2",
            "podIPs": [{"ip": "10.1.0.2"}, {"ip": "fd00::2"}],
            "containerStatuses": [
                {"name": "proxy", "containerID": "", "state": {"waiting": {}}},
                {"name": "web", "containerID": "containerd://c1", "restartCount": 0}
            ],
            "initContainerStatuses": [{"name": "wait", "containerID": "cri-o://c0"}]
        }
    }"#;

    pub fn written() -> Pod {
        let text = WRITTEN.replace("HUGE", &"x".repeat(2 * ANNOTATION_BYTES));
        serde_json::from_str::<WrittenPod>(&text).expect("a pod").into()
    }

    #[test]
    fn a_pod_is_reduced() {
        let pod = written();
        assert_eq!(
            (pod.namespace.as_str(), pod.name.as_str(), pod.node.as_str()),
            ("shop", "web-6d4cf56db6-x2x8p", "n1")
        );
        assert_eq!(pod.created, Some(1_767_261_600));
        assert_eq!(pod.owner.as_ref().map(|owner| owner.name.as_str()), Some("web-6d4cf56db6"));
        assert_eq!(pod.annotations.keys().collect::<Vec<_>>(), ["resource.opentelemetry.io/service.version"]);
        let containers: Vec<_> =
            pod.containers.iter().map(|found| (found.name.as_str(), found.id.as_deref(), found.is_main)).collect();
        assert_eq!(containers, [("web", Some("c1"), true), ("proxy", None, true), ("wait", Some("c0"), false)]);
        assert_eq!(pod.uid_on_node(), pod.uid);
        assert_eq!(pod.addresses, ["10.1.0.2", "fd00::2"].map(|address| address.parse::<IpAddr>().expect("one")));
    }

    #[test]
    fn an_address_that_others_have_as_well_is_not_the_pod_s() {
        for (own, others) in [
            ("\"phase\": \"Running\"", "\"phase\": \"Succeeded\""),
            ("\"phase\": \"Running\"", "\"phase\": \"Failed\""),
            ("\"nodeName\": \"n1\"", "\"nodeName\": \"n1\", \"hostNetwork\": true"),
        ] {
            assert!(WRITTEN.contains(own), "{own}");
            let pod: Pod = serde_json::from_str::<WrittenPod>(&WRITTEN.replace(own, others)).expect("a pod").into();
            assert!(pod.addresses.is_empty(), "{others}");
        }
    }

    #[test]
    fn a_static_pod_has_another_uid_on_its_node() {
        let mut pod = written();
        pod.annotations.insert(STATIC_POD_HASH.to_owned(), "f00".to_owned());
        assert_eq!(pod.uid_on_node(), "f00");
    }

    #[test]
    fn what_is_absent_or_null_does_no_harm() {
        let text = r#"{"metadata": {"name": "a", "labels": null, "ownerReferences": null}}"#;
        let pod: Pod = serde_json::from_str::<WrittenPod>(text).expect("a pod").into();
        assert_eq!(pod, Pod { name: "a".to_owned(), ..Pod::default() });
        // As a watch's bookmarks are written.
        let text =
            r#"{"metadata": {"resourceVersion": "7"}, "spec": {"containers": null}, "status": {"podIPs": null}}"#;
        let bookmark = serde_json::from_str::<WrittenPod>(text).expect("a pod");
        assert_eq!(bookmark.version(), "7");
    }
}
