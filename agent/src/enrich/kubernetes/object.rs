// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the kinds of objects that are watched have in common, and the news of them.
//!
//! Does not: know what is made of them; `pods.rs` and `peers.rs` keep them.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{pod::Pod, service::Service, slice::Slice};

/// A kind of object, reduced to what is used of it.
pub trait Object: Sized + Send {
    /// As the API server writes it, of which the rest is skipped while it is read.
    type Written: Written + DeserializeOwned + Into<Self> + Send;

    /// Where the API server has them, of all namespaces.
    const PATH: &'static str;
    /// What a role calls them, and a person.
    const NAMES: &'static str;
    /// So many in one answer. Larger: more memory while a list is taken. Smaller: more requests after a restart.
    const PAGE: usize;

    fn news(change: Change<Self>) -> News;
}

pub trait Written {
    /// Where a watch goes on after this one.
    fn version(&self) -> &str;
}

/// What became of an object, or of the list that all of its kind are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// What is not seen until the list ends is gone.
    ListBegins,
    Seen(Box<T>),
    Gone(Box<T>),
    ListEnds,
}

/// What the API server tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Pod(Change<Pod>),
    Service(Change<Service>),
    Slice(Change<Slice>),
}

/// What the API server writes as `null` where it is empty: lists and maps, as in every bookmark of a watch.
pub(super) fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(reader: D) -> Result<T, D::Error> {
    Option::deserialize(reader).map(Option::unwrap_or_default)
}

/// Of an object's metadata, what the kinds need that are only looked up by their names.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub namespace: String,
    pub name: String,
    pub resource_version: String,
    #[serde(deserialize_with = "or_empty")]
    pub labels: Labels,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Labels {
    /// Of a slice: whose endpoints it has.
    #[serde(rename = "kubernetes.io/service-name")]
    pub service: Option<String>,
}
