// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which node this is: as somebody said, or else as the API server knows the pod that bears this machine's name.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    access::Access,
    client::{Client, ClusterError},
    pod::{Pod, WrittenPod},
    watch::List,
};

pub struct Node {
    name: Option<String>,
    machine: String,
}

impl Node {
    /// `machine` is what this machine, or Onlooker's pod, is called.
    pub fn new(name: Option<String>, machine: &str) -> Self {
        Self { name, machine: machine.to_owned() }
    }

    /// On the host's network no pod bears the machine's name: then the machine is the node.
    pub async fn name(&mut self, client: &Client, access: &Access) -> Result<&str, ClusterError> {
        if self.name.is_none() {
            self.name = Some(self.of_own_pod(client, access).await?.unwrap_or_else(|| self.machine.clone()));
        }
        Ok(self.name.as_deref().unwrap_or(&self.machine))
    }

    async fn of_own_pod(&self, client: &Client, access: &Access) -> Result<Option<String>, ClusterError> {
        let Some(namespace) = &access.namespace else { return Ok(None) };
        let name = utf8_percent_encode(&self.machine, NON_ALPHANUMERIC);
        let path = format!("/api/v1/namespaces/{namespace}/pods?fieldSelector=metadata.name%3D{name}");
        let own = client.get::<List<WrittenPod>>(&path).await?.items.into_iter().next().map(Pod::from);
        Ok(own.map(|pod| pod.node).filter(|node| !node.is_empty()))
    }
}
