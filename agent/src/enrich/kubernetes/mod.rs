// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The pods of this node, as the API server tells of them.
//!
//! In: the API server, over one watch. Out: [`PodChange`]s over a bounded channel, and on its other end [`Pods`], which
//! answers whose container a process runs in.
//! Does not: ask for anything but pods. Owners are read off what the pods themselves say (`owner.rs`), so that the
//! right to list pods is all that is needed. `docs/adr/0009-kubernetes-client.md` says why the client is written here.

mod access;
mod client;
mod image;
mod kubeconfig;
mod lines;
mod owner;
mod pod;
mod pods;
mod resource;
mod watch;

pub use access::{Access, AccessError};
pub use client::ClusterError;
pub use owner::{Workload, workloads};
pub use pod::{Container, Owner, Pod};
pub use pods::{Place, Pods};
pub(super) use resource::Placed;
pub use watch::{PodChange, PodWatch};

/// Changes on their way from the network's thread. Larger: memory while the pipeline is busy. Smaller: the watch waits
/// for the pipeline, which looks at least four times a second.
pub const CHANGES: usize = 256;
