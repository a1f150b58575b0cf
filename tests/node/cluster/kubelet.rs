// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What runs pods on the node.

use std::time::Duration;

use anyhow::Result;

use super::{
    daemon::Daemon,
    site::{NODE, Site},
};

const START: Duration = Duration::from_secs(90);

pub struct Kubelet(pub Daemon);

impl Kubelet {
    /// Gives it when the node is ready.
    pub fn start(site: &Site) -> Result<Self> {
        let configuration = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{socket}
address: {NODE}
clusterDNS: [{NODE}]
clusterDomain: cluster.local
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
# The machine may have the older hierarchies, and swap.
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: {groups}
enforceNodeAllocatable: []
# It shares the machine's disk and memory, whose fill is not its to judge.
localStorageCapacityIsolation: false
evictionHard: {{memory.available: 1Mi}}
imageGCHighThresholdPercent: 100
",
            socket = site.text("containerd.sock"),
            groups = site.groups.root(),
        );
        let file = site.write("kubelet.yaml", &configuration)?;
        let options = [
            ("config", &*file),
            ("kubeconfig", &*site.text("kubeconfig")),
            ("root-dir", &*site.text("kubelet")),
            ("hostname-override", "n1"),
            ("node-ip", NODE),
        ];
        let mut daemon = Daemon::start(site, site.program("kubelet"), "kubelet", &options)?;
        daemon.wait_until("the node is ready", START, || {
            let wait = ["wait", "--for=condition=Ready", "node/n1", "--timeout=10s"];
            site.kubectl().args(wait).output().ok()?.status.success().then_some(())
        })?;
        Ok(Self(daemon))
    }
}
