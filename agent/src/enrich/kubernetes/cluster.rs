// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All that is watched of a cluster: this node's pods, and where the rights are for it, whatever has a name at an address.
//!
//! In: the API server. Out: [`News`] over one bounded channel.

use tokio::sync::mpsc;

use super::{
    access::{Access, AccessError},
    node::Node,
    object::News,
    pod::Pod,
    service::Service,
    slice::Slice,
    trouble::Told,
    watch::Watch,
};
use crate::{
    config::{KubernetesConfig, KubernetesRights},
    ledger::Ledger,
};

/// News on their way from the network's thread. Larger: memory while the pipeline is busy. Smaller: the watch waits
/// for the pipeline, which looks at least four times a second.
const NEWS: usize = 256;

pub struct ClusterWatch {
    pods: Watch<Pod>,
    peers: Option<(Watch<Service>, Watch<Slice>)>,
}

impl ClusterWatch {
    /// The watches, to be run where the network is, and the end at which their news arrive. Nothing where no cluster is
    /// there to be asked. `machine` is what this machine, or Onlooker's pod, is called.
    ///
    /// # Errors
    /// Where the cluster is to be asked and what for it is not there.
    pub fn new(
        config: &KubernetesConfig,
        machine: &str,
        ledger: &Ledger,
    ) -> Result<Option<(Self, mpsc::Receiver<News>)>, AccessError> {
        let Some(access) = Access::find(config)? else { return Ok(None) };
        let (news, taken) = mpsc::channel(NEWS);
        let told = Told::default();
        let node = Node::new(config.node_name.clone(), machine);
        let peers = (config.rights == KubernetesRights::Cluster).then(|| {
            let services = Watch::new(&access, None, news.clone(), &told, ledger);
            (services, Watch::new(&access, None, news.clone(), &told, ledger))
        });
        let pods = Watch::new(&access, Some(node), news, &told, ledger);
        Ok(Some((Self { pods, peers }, taken)))
    }

    /// Ends when the other end is dropped.
    pub async fn run(self) {
        let peers = async {
            if let Some((services, slices)) = self.peers {
                tokio::join!(services.run(), slices.run());
            }
        };
        tokio::join!(self.pods.run(), peers);
    }
}
