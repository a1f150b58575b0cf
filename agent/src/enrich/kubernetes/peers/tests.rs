// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names of invented Services and pods, by address and by DNS name.

use super::*;
use crate::enrich::kubernetes::{News, Pod, slice::Endpoint};

/// A cluster in which a test lets things happen.
struct Known {
    peers: Peers,
    pods: Pods,
    ledger: Ledger,
}

impl Known {
    fn new() -> Self {
        let ledger = Ledger::new();
        Self { peers: Peers::new(ClusterDomain::default(), &ledger), pods: Pods::new(&ledger), ledger }
    }

    fn tell(&mut self, news: News) -> bool {
        match news {
            News::Service(change) => self.peers.handle_service(change),
            News::Slice(change) => self.peers.handle_slice(change),
            News::Pod(change) => self.pods.handle_change(change).is_some(),
        }
    }

    #[track_caller]
    fn at(&self, address: &str, expected: Option<&str>) {
        let address = address.parse().expect("an address with its port");
        assert_eq!(self.peers.at(address, &self.pods).as_deref(), expected, "{address}");
    }

    #[track_caller]
    fn called(&self, host: &str, namespace: Option<&str>, expected: Option<&str>) {
        assert_eq!(self.peers.called(host, namespace).as_deref(), expected, "{host} in {namespace:?}");
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn service(name: &str, addresses: &[&str]) -> Service {
    Service {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        is_headless: addresses.is_empty(),
    }
}

fn seen_service(name: &str, addresses: &[&str]) -> News {
    News::Service(Change::Seen(Box::new(service(name, addresses))))
}

fn slice(name: &str, service: Option<&str>, ports: &[u16], endpoints: &[(&str, &str)]) -> Slice {
    let endpoint = |(address, pod): &(&str, &str)| Endpoint {
        address: ip(address),
        pod: Some(*pod).filter(|pod| !pod.is_empty()).map(Box::from),
    };
    Slice {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        service: service.map(str::to_owned),
        ports: ports.to_vec(),
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

fn seen_slice(name: &str, service: &str, ports: &[u16], endpoints: &[(&str, &str)]) -> News {
    News::Slice(Change::Seen(Box::new(slice(name, Some(service), ports, endpoints))))
}

fn pod(name: &str, addresses: &[&str]) -> Pod {
    Pod {
        uid: name.to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        ..Pod::default()
    }
}

fn seen_pod(name: &str, addresses: &[&str]) -> News {
    News::Pod(Change::Seen(Box::new(pod(name, addresses))))
}

#[test]
fn a_service_has_its_addresses_at_every_port() {
    let mut known = Known::new();
    assert!(known.tell(seen_service("orders", &["10.96.0.1", "fd00::1"])));
    assert!(!known.tell(seen_service("orders", &["10.96.0.1", "fd00::1"])), "nothing has changed");
    known.at("10.96.0.1:80", Some("orders.shop"));
    known.at("[fd00::1]:8080", Some("orders.shop"));
    known.at("10.96.0.2:80", None);
    assert!(known.tell(seen_service("orders", &["10.96.0.2"])));
    known.at("10.96.0.1:80", None);
    known.at("10.96.0.2:80", Some("orders.shop"));
    // The address is given to another before the first one is known to be gone.
    known.tell(seen_service("bills", &["10.96.0.2"]));
    assert!(known.tell(News::Service(Change::Gone(Box::new(service("orders", &[]))))));
    known.at("10.96.0.2:80", Some("bills.shop"));
}

#[test]
fn an_endpoint_is_its_only_service_or_else_its_pod() {
    let mut known = Known::new();
    known.tell(seen_slice("orders-1", "orders", &[8080], &[("10.1.0.1", "orders-a"), ("10.1.0.2", "orders-b")]));
    known.at("10.1.0.1:8080", Some("orders.shop"));
    known.at("10.1.0.1:9090", None);
    // Another port of the same pod is another's.
    known.tell(seen_slice("metrics-1", "metrics", &[9090], &[("10.1.0.1", "orders-a")]));
    known.at("10.1.0.1:9090", Some("metrics.shop"));
    // Two Services for one endpoint: the pod is certain.
    known.tell(seen_slice("canary-1", "canary", &[8080], &[("10.1.0.2", "orders-b")]));
    known.at("10.1.0.2:8080", Some("orders-b.shop"));
    known.at("10.1.0.1:8080", Some("orders.shop"));
    // Two slices of one Service, while an endpoint moves from one to the other.
    known.tell(seen_slice("orders-2", "orders", &[8080], &[("10.1.0.1", "orders-a")]));
    known.at("10.1.0.1:8080", Some("orders.shop"));
    assert!(known.tell(News::Slice(Change::Gone(Box::new(slice("canary-1", None, &[], &[]))))));
    known.at("10.1.0.2:8080", Some("orders.shop"));
    known.tell(seen_slice("orders-1", "orders", &[8080], &[]));
    known.at("10.1.0.2:8080", None);
    known.at("10.1.0.1:8080", Some("orders.shop"));
    // What has no pod, such as the API server itself.
    known.tell(seen_slice("outside", "outside", &[6443], &[("192.0.2.1", "")]));
    known.at("192.0.2.1:6443", Some("outside.shop"));
}

#[test]
fn pods_on_their_node_s_network_are_known_by_their_ports() {
    let mut known = Known::new();
    known.tell(seen_slice("exporter-1", "exporter", &[9100], &[("192.0.2.7", "exporter-a")]));
    known.tell(seen_slice("proxy-1", "proxy", &[10249], &[("192.0.2.7", "proxy-a")]));
    known.at("192.0.2.7:9100", Some("exporter.shop"));
    known.at("192.0.2.7:10250", None);
}

#[test]
fn pods_of_this_node_are_known_without_services() {
    let mut known = Known::new();
    known.tell(seen_pod("job-a", &["10.1.0.9", "fd00::9"]));
    known.at("10.1.0.9:1", Some("job-a.shop"));
    known.at("[fd00::9]:1", Some("job-a.shop"));
    // For a moment, while one goes and the other comes.
    known.tell(seen_pod("job-b", &["10.1.0.9"]));
    known.at("10.1.0.9:1", None);
    known.tell(News::Pod(Change::Gone(Box::new(pod("job-a", &[])))));
    known.at("10.1.0.9:1", Some("job-b.shop"));
    known.at("[fd00::9]:1", None);
    known.tell(seen_slice("orders-1", "orders", &[8080], &[("10.1.0.9", "job-b")]));
    known.at("10.1.0.9:8080", Some("orders.shop"));
    known.at("10.1.0.9:8081", Some("job-b.shop"));
}

#[test]
fn names_are_understood_as_the_dns_of_a_pod_does() {
    let mut known = Known::new();
    known.tell(seen_service("orders", &["10.96.0.1"]));
    known.tell(seen_service("db", &[]));
    let (here, elsewhere) = (Some("shop"), Some("front"));
    for host in ["orders", "ORDERS", "orders.shop", "orders.shop.svc", "orders.shop.svc.cluster.local."] {
        known.called(host, here, Some("orders.shop"));
    }
    known.called("orders", elsewhere, None);
    known.called("orders.shop", elsewhere, Some("orders.shop"));
    for host in ["db-0.db", "db-0.db.shop", "db-0.db.shop.svc", "db-0.db.shop.svc.cluster.local"] {
        known.called(host, here, Some("db-0.db.shop"));
    }
    known.called("db-0.db", elsewhere, None);
    known.called("db-0.db.shop", elsewhere, Some("db-0.db.shop"));
    known.called("a.orders.shop", here, None);
    // The machine's own programs do not ask the cluster's DNS; a whole name means what it says.
    known.called("orders", None, None);
    known.called("orders.shop", None, None);
    known.called("db-0.db.shop", None, None);
    known.called("orders.shop.svc", None, Some("orders.shop"));
    for host in ["shop.example.com", "orders.shop.example.com", "orders.shop.svc.example.com", "localhost", "", "."] {
        known.called(host, here, None);
    }
}

#[test]
fn a_list_takes_out_what_it_does_not_name() {
    let mut known = Known::new();
    known.tell(seen_service("orders", &["10.96.0.1"]));
    known.tell(seen_slice("orders-1", "orders", &[80], &[("10.1.0.1", "a")]));
    known.tell(News::Service(Change::ListBegins));
    known.tell(News::Slice(Change::ListBegins));
    known.at("10.96.0.1:80", Some("orders.shop"));
    assert!(known.tell(News::Service(Change::ListEnds)) && known.tell(News::Slice(Change::ListEnds)));
    known.at("10.96.0.1:80", None);
    known.at("10.1.0.1:80", None);
    assert_eq!(known.peers.len(), (0, 0));
    assert!(known.peers.service_by_address.is_empty() && known.peers.slices_by_address.is_empty());
}

#[test]
fn the_tables_are_bounded_and_count() {
    let mut known = Known::new();
    let refused = |known: &Known| known.ledger.counter(Family::PeersRefused, &[]).get();
    for number in 0..SERVICES + 2 {
        known.tell(seen_service(&format!("s{number}"), &[]));
    }
    assert_eq!((known.peers.len().0, refused(&known)), (SERVICES, 2));
    let large: Vec<(&str, &str)> = vec![("10.1.0.1", "a"); ENDPOINTS + 3];
    known.tell(seen_slice("large", "s0", &[80], &large));
    assert_eq!((known.peers.len().1, refused(&known)), (ENDPOINTS, 5));
    known.tell(seen_slice("one-more", "s0", &[80], &[("10.1.0.2", "b")]));
    assert_eq!((known.peers.len().1, refused(&known)), (ENDPOINTS, 6));
    known.tell(seen_slice("large", "s0", &[80], &[("10.1.0.1", "a")]));
    assert_eq!(known.peers.len().1, 1, "there is room again");
}
