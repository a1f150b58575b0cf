// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A Service, reduced to its name and its own addresses.
//!
//! In: a Service as the API server writes it (`core/v1`, JSON). Out: [`Service`].
//! Does not: keep addresses outside the cluster. Load balancers and nodes may have them for several Services, and anybody
//! who may write a Service can claim any `externalIPs`.

use std::net::IpAddr;

use serde::Deserialize;

use super::object::{Change, Metadata, News, Object, Written, or_empty};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    /// The cluster's addresses for it: one of each family at most. None where it is headless, or a name for another name.
    pub addresses: Vec<IpAddr>,
    /// Its name in the DNS is that of its pods.
    pub is_headless: bool,
}

/// What a headless Service has for an address.
const HEADLESS: &str = "None";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WrittenService {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs", deserialize_with = "or_empty")]
    cluster_ips: Vec<String>,
}

impl Object for Service {
    type Written = WrittenService;

    const PATH: &'static str = "/api/v1/services";
    const NAMES: &'static str = "services";
    const PAGE: usize = 200;

    fn news(change: Change<Self>) -> News {
        News::Service(change)
    }
}

impl Written for WrittenService {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl From<WrittenService> for Service {
    fn from(WrittenService { metadata: Metadata { namespace, name, .. }, spec }: WrittenService) -> Self {
        let is_headless = spec.cluster_ip == HEADLESS;
        let addresses = spec.cluster_ips.iter().filter_map(|address| address.parse().ok()).collect();
        Self { namespace, name, addresses, is_headless }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: &str, addresses: &[&str], is_headless: bool) {
        let text = format!(r#"{{"metadata": {{"namespace": "shop", "name": "orders"}}, "spec": {spec}}}"#);
        let found: Service = serde_json::from_str::<WrittenService>(&text).expect("a Service").into();
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        assert_eq!(found, Service { namespace: "shop".to_owned(), name: "orders".to_owned(), addresses, is_headless });
    }

    #[test]
    fn kinds_of_services() {
        check(
            r#"{"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00::a"], "externalIPs": ["192.0.2.1"]}"#,
            &["10.96.0.10", "fd00::a"],
            false,
        );
        check(r#"{"clusterIP": "None", "clusterIPs": ["None"]}"#, &[], true);
        check(r#"{"type": "ExternalName", "externalName": "orders.example.com"}"#, &[], false);
    }
}
