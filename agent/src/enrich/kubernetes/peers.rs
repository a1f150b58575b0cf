// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What those are called that processes talk to: Services, by their addresses, by those of their pods, and by their names
//! in the DNS; pods by their own addresses.
//!
//! In: news of Services and of the slices of their endpoints. Out: `SERVICE.NAMESPACE`, which the cluster's DNS resolves
//! from every namespace; for a pod `POD.NAMESPACE`, or as the DNS has it `POD.SERVICE.NAMESPACE`. Nothing where two answers
//! are possible.
//! Does not: name addresses outside the cluster, nor nodes: an address of a node is that of all pods on its network. There
//! an endpoint is known by its port as well, which it has to itself.

mod table;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use table::{Member, Table};

use super::{domain::ClusterDomain, object::Change, pods::Pods, service::Service, slice::Slice};
use crate::ledger::{Counter, Family, Ledger};

/// Services that are known; Kubernetes is made for 10 000 in a cluster. Larger: memory on every node, about 300 bytes each.
/// Smaller: peers in larger clusters stay addresses.
const SERVICES: usize = 16_384;

/// Slices, of which each Service that has endpoints has one at least. The same harm, about 300 bytes each.
const SLICES: usize = 32_768;

/// Endpoints in all slices; Kubernetes is made for 150 000 pods in a cluster, of which many are in no Service. The same
/// harm, about 150 bytes each.
const ENDPOINTS: usize = 131_072;

#[derive(Debug)]
pub struct Peers {
    /// By `SERVICE.NAMESPACE`.
    services: Table<Service>,
    service_by_address: FxHashMap<IpAddr, Arc<str>>,
    /// By `SLICE.NAMESPACE`.
    slices: Table<Slice>,
    /// Those that have an address among their endpoints.
    slices_by_address: FxHashMap<IpAddr, SmallVec<[Arc<str>; 1]>>,
    /// In all slices.
    endpoints: usize,
    domain: ClusterDomain,
    refused: Counter,
}

impl Peers {
    #[must_use]
    pub fn new(domain: ClusterDomain, ledger: &Ledger) -> Self {
        Self {
            services: Table::new(SERVICES),
            service_by_address: FxHashMap::default(),
            slices: Table::new(SLICES),
            slices_by_address: FxHashMap::default(),
            endpoints: 0,
            domain,
            refused: ledger.counter(Family::PeersRefused, &[]),
        }
    }

    /// True where a name may have changed.
    pub fn handle_service(&mut self, change: Change<Service>) -> bool {
        let turn = self.services.handle(change);
        for (name, service) in &turn.gone {
            for address in &service.addresses {
                // One that was given to another Service meanwhile is that one's.
                if self.service_by_address.get(address) == Some(name) {
                    self.service_by_address.remove(address);
                }
            }
        }
        if let Some((name, service)) = turn.seen.as_ref().and_then(|name| Some((name, self.services.get(name)?))) {
            self.service_by_address.extend(service.addresses.iter().map(|address| (*address, Arc::clone(name))));
        }
        self.refused.add(turn.is_refused.into());
        turn.changes_anything()
    }

    /// True where a name may have changed.
    pub fn handle_slice(&mut self, mut change: Change<Slice>) -> bool {
        if let Change::Seen(slice) = &mut change {
            self.limit_endpoints(slice);
        }
        let turn = self.slices.handle(change);
        for (name, slice) in &turn.gone {
            self.endpoints -= slice.endpoints.len();
            for endpoint in &slice.endpoints {
                let Some(slices) = self.slices_by_address.get_mut(&endpoint.address) else { continue };
                slices.retain(|other| other != name);
                if slices.is_empty() {
                    self.slices_by_address.remove(&endpoint.address);
                }
            }
        }
        if let Some((name, slice)) = turn.seen.as_ref().and_then(|name| Some((name, self.slices.get(name)?))) {
            self.endpoints += slice.endpoints.len();
            for endpoint in &slice.endpoints {
                let slices = self.slices_by_address.entry(endpoint.address).or_default();
                if slices.last() != Some(name) {
                    slices.push(Arc::clone(name));
                }
            }
        }
        self.refused.add(turn.is_refused.into());
        turn.changes_anything()
    }

    /// To those there is room for, beside the ones of all other slices.
    fn limit_endpoints(&self, slice: &mut Slice) {
        let before = self.slices.get(&slice.full_name()).map_or(0, |known| known.endpoints.len());
        let room = ENDPOINTS - (self.endpoints - before);
        self.refused.add(slice.endpoints.len().saturating_sub(room) as u64);
        slice.endpoints.truncate(room);
    }

    /// A Service by its own address, or else the only one that has this endpoint; or else the pod.
    #[must_use]
    pub fn at(&self, address: SocketAddr, pods: &Pods) -> Option<String> {
        let ip = address.ip();
        if let Some(service) = self.service_by_address.get(&ip) {
            return Some(service.to_string());
        }
        let named = self.slices_by_address.get(&ip).into_iter().flatten();
        let slices = || named.clone().filter_map(|name| self.slices.get(name));
        let slices = || slices().filter(|slice| slice.ports.contains(&address.port()));
        let services = slices().filter_map(|slice| Some((slice.service.as_deref()?, slice.namespace.as_str())));
        let endpoints = slices().flat_map(|slice| slice.endpoints.iter().map(move |endpoint| (slice, endpoint)));
        let at_address = endpoints.filter(|(_, endpoint)| endpoint.address == ip);
        let pods_of_slices =
            at_address.filter_map(|(slice, endpoint)| Some((endpoint.pod.as_deref()?, slice.namespace.as_str())));
        let own = || pods.at(ip).map(|pod| (pod.name.as_str(), pod.namespace.as_str()));
        let (name, namespace) = only(services).or_else(|| only(pods_of_slices)).or_else(own)?;
        Some(full_name(name, namespace))
    }

    /// A Service by a name in the DNS, as a process in this namespace uses it, or a pod behind a headless one.
    ///
    /// The resolvers of pods look in the cluster first (`ndots:5`), so that what is a name there is none elsewhere.
    #[must_use]
    pub fn called(&self, host: &str, namespace: Option<&str>) -> Option<String> {
        let host = host.to_ascii_lowercase();
        let (name, is_whole) = self.domain.without(&host);
        let labels: SmallVec<[&str; 4]> = name.split('.').collect();
        let service = |name: &str, namespace: &str| {
            let name = full_name(name, namespace);
            self.services.get(&name).is_some().then_some(name)
        };
        let pod = |pod: &str, name: &str, namespace: &str| {
            let service = full_name(name, namespace);
            self.services.get(&service).is_some_and(|found| found.is_headless).then(|| full_name(pod, &service))
        };
        // Short names are those of who is in the cluster.
        let own = namespace.filter(|_| !is_whole);
        match *labels {
            [name] => service(name, own?),
            [name, other] if is_whole => service(name, other),
            [name, other] => own.and_then(|own| service(name, other).or_else(|| pod(name, other, own))),
            [name, other, third] => (is_whole || own.is_some()).then(|| pod(name, other, third))?,
            _ => None,
        }
    }

    /// Services, and endpoints of them.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.services.len(), self.endpoints)
    }
}

impl Member for Service {
    fn full_name(&self) -> String {
        full_name(&self.name, &self.namespace)
    }
}

impl Member for Slice {
    fn full_name(&self) -> String {
        full_name(&self.name, &self.namespace)
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}")
}

/// Nothing where they differ.
fn only<T: PartialEq>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.all(|item| item == first).then_some(first)
}

#[cfg(test)]
mod tests;
