// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the cluster of the bench holds, as JSON: pods of the usual size, and Services with slices as the control plane
//! makes them.

use serde_json::{Value, json};

pub const NODE: &str = "n1";
pub const SERVICES: usize = 500;
/// Of each: together 10 000 pods.
pub const ENDPOINTS: usize = 20;

pub const PODS: &str = "/api/v1/namespaces/shop/pods";
pub const SERVICES_PATH: &str = "/api/v1/namespaces/shop/services";
pub const SLICES_PATH: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";

pub fn namespace() -> String {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}).to_string()
}

fn pod_name(number: usize) -> String {
    format!("checkout-6d4cf56db6-{number:05}")
}

pub fn pod(number: usize) -> String {
    let variables: Vec<Value> =
        (0..20).map(|index| json!({"name": format!("SETTING_{index}"), "value": "a value of some length"})).collect();
    let container =
        |name: &str| json!({"name": name, "image": format!("registry.example/shop/{name}:1.2.3"), "env": variables});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod_name(number), "namespace": "shop",
            "labels": {
                "app.kubernetes.io/name": "checkout", "app.kubernetes.io/instance": "shop",
                "app.kubernetes.io/version": "1.2.3", "pod-template-hash": "6d4cf56db6", "tier": "front"
            },
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090", "checksum/config": "0".repeat(64)},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "checkout-6d4cf56db6",
                "uid": "8d0e1f9a-0000-4000-8000-000000000001", "controller": true
            }]
        },
        "spec": {"nodeName": NODE, "containers": [container("web"), container("proxy")]}
    })
    .to_string()
}

pub fn status_path(number: usize) -> String {
    format!("{PODS}/{}/status", pod_name(number))
}

/// Its containers have been started again in each round.
pub fn status(number: usize, round: usize) -> String {
    let address = format!("10.2.{}.{}", number / 250, number % 250 + 1);
    let container = |name: &str, index: usize| {
        json!({
            "name": name, "image": "x", "imageID": "x", "ready": true, "restartCount": round,
            "containerID": format!("containerd://{:064x}", (round * 100_000 + number) * 2 + index)
        })
    };
    json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "containerStatuses": [container("web", 0), container("proxy", 1)]
    }})
    .to_string()
}

pub fn service(number: usize) -> String {
    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}, {"name": "metrics", "port": 9090}]);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("service-{number}"), "namespace": "shop", "labels": {"app": format!("service-{number}")}},
        "spec": {"selector": {"app": format!("service-{number}")}, "ports": ports}
    })
    .to_string()
}

pub fn slice_path(number: usize) -> String {
    format!("{SLICES_PATH}/service-{number}-x7k2p")
}

/// In each round one of its pods is another.
pub fn slice(number: usize, round: usize) -> String {
    let endpoint = |index: usize| {
        let incarnation = if index == round % ENDPOINTS { round } else { 0 };
        let at = number * ENDPOINTS + index;
        json!({
            "addresses": [format!("10.{}.{}.{}", 3 + incarnation % 50, at / 250, at % 250 + 1)],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("n{}", at % 200),
            "targetRef": {
                "kind": "Pod", "namespace": "shop", "name": format!("service-{number}-7f9c5d6b8-{index:02}{incarnation:03}"),
                "uid": format!("8d0e1f9a-0000-4000-8000-{at:012}")
            }
        })
    };
    let name = format!("service-{number}");
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{name}-x7k2p"), "namespace": "shop",
            "labels": {"app": name, "kubernetes.io/service-name": name}
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "metrics", "port": 9090, "protocol": "TCP"}],
        "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>()
    })
    .to_string()
}
