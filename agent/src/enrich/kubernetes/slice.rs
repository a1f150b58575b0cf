// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A slice of a Service's endpoints: which pods answer for it, at which addresses and ports.
//!
//! In: an EndpointSlice as the API server writes it (`discovery.k8s.io/v1`, JSON). Out: [`Slice`].
//! Does not: keep what is not an address (FQDN), nor ports of other protocols than TCP. Whether an endpoint is ready does
//! not matter: who talks to it talks to it.

use std::net::IpAddr;

use serde::Deserialize;

use super::object::{Change, Metadata, News, Object, Written, or_empty};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    pub namespace: String,
    pub name: String,
    /// Absent where somebody made the slice for another purpose.
    pub service: Option<String>,
    /// None where all are meant: then an address says too little.
    pub ports: Vec<u16>,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub address: IpAddr,
    /// Of the slice's namespace. Absent where no pod is behind it.
    pub pod: Option<Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WrittenSlice {
    metadata: Metadata,
    #[serde(deserialize_with = "or_empty")]
    endpoints: Vec<WrittenEndpoint>,
    #[serde(deserialize_with = "or_empty")]
    ports: Vec<Port>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenEndpoint {
    #[serde(deserialize_with = "or_empty")]
    addresses: Vec<String>,
    target_ref: Option<Target>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Target {
    kind: String,
    name: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Port {
    port: Option<u16>,
    /// TCP where nothing is said.
    protocol: Option<String>,
}

impl Object for Slice {
    type Written = WrittenSlice;

    const PATH: &'static str = "/apis/discovery.k8s.io/v1/endpointslices";
    const NAMES: &'static str = "endpointslices";
    // Of a hundred endpoints each, where a Service has many.
    const PAGE: usize = 50;

    fn news(change: Change<Self>) -> News {
        News::Slice(change)
    }
}

impl Written for WrittenSlice {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl From<WrittenSlice> for Slice {
    fn from(WrittenSlice { metadata, endpoints, ports }: WrittenSlice) -> Self {
        let Metadata { namespace, name, labels, .. } = metadata;
        let ports = ports.into_iter();
        let is_tcp = |port: &Port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
        let endpoints = endpoints.into_iter().flat_map(|WrittenEndpoint { addresses, target_ref }| {
            let pod = target_ref.filter(|target| target.kind == "Pod").map(|target| target.name);
            let addresses = addresses.into_iter().filter_map(|address| address.parse().ok());
            addresses.map(move |address| Endpoint { address, pod: pod.clone() })
        });
        Self {
            namespace,
            name,
            service: labels.service,
            ports: ports.filter(is_tcp).filter_map(|port| port.port).collect(),
            endpoints: endpoints.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, service: Option<&str>, ports: &[u16], endpoints: &[(&str, Option<&str>)]) {
        let found: Slice = serde_json::from_str::<WrittenSlice>(text).expect("a slice").into();
        let endpoint = |(address, pod): &(&str, Option<&str>)| Endpoint {
            address: address.parse().expect("an address"),
            pod: pod.map(Box::from),
        };
        assert_eq!((found.service.as_deref(), found.ports.as_slice()), (service, ports), "{text}");
        assert_eq!(found.endpoints, endpoints.iter().map(endpoint).collect::<Vec<_>>(), "{text}");
    }

    #[test]
    fn slices_are_reduced() {
        check(
            r#"{"metadata": {"namespace": "shop", "name": "orders-x1",
                    "labels": {"app": "orders", "kubernetes.io/service-name": "orders"}},
                "addressType": "IPv4",
                "endpoints": [
                    {"addresses": ["10.1.0.2"], "conditions": {"ready": true}, "nodeName": "n1",
                     "targetRef": {"kind": "Pod", "namespace": "shop", "name": "orders-a", "uid": "u"}},
                    {"addresses": ["192.0.2.7"]}],
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"},
                    {"port": 9090}, {"name": "any"}]}"#,
            Some("orders"),
            &[8080, 9090],
            &[("10.1.0.2", Some("orders-a")), ("192.0.2.7", None)],
        );
        check(
            r#"{"metadata": {"name": "x"}, "addressType": "FQDN", "endpoints": [{"addresses": ["a.example.com"]}]}"#,
            None,
            &[],
            &[],
        );
        check(r#"{"metadata": {"name": "x", "labels": null}, "endpoints": null, "ports": null}"#, None, &[], &[]);
    }
}
