// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The cluster, as the API server tells of it: this node's pods, and whatever has a name at an address.
//!
//! In: the API server, over one watch of each kind. Out: [`News`] over a bounded channel, and on its other end [`Pods`],
//! which answers whose container a process runs in, and [`Peers`], which answers what it talks to.
//! Does not: ask for owners. They are read off what the pods themselves say (`owner.rs`), so that the right to list pods
//! is all that is needed to name pods. `docs/adr/0009-kubernetes-client.md` says why the client is written here,
//! `docs/adr/0011-peers-by-name.md` what is asked for to name peers.

mod access;
mod client;
mod cluster;
mod domain;
mod image;
mod kubeconfig;
mod lines;
mod node;
mod object;
mod owner;
mod peers;
mod pod;
mod pods;
mod resource;
mod service;
mod slice;
mod survey;
mod trouble;
mod watch;

pub use access::{Access, AccessError};
pub use client::ClusterError;
pub use cluster::ClusterWatch;
pub use domain::ClusterDomain;
pub use object::{Change, News};
pub use owner::{Workload, workloads};
pub use peers::Peers;
pub use pod::{Container, Owner, Pod};
pub use pods::{Place, Pods};
pub(super) use resource::Placed;
pub use service::Service;
pub use slice::{Endpoint, Slice};
pub use survey::Survey;
