// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The runtime: containerd with runc, and the plugins that give pods their addresses.

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::{
    daemon::Daemon,
    site::{PODS, Site},
};
use crate::images;

const START: Duration = Duration::from_secs(60);

pub struct Containerd(pub Daemon);

impl Containerd {
    /// Gives it when it answers.
    pub fn start(site: &Site) -> Result<Self> {
        let network = format!(
            r#"{{"cniVersion": "0.4.0", "name": "pods", "plugins": [{{"type": "bridge", "bridge": "pods0", "isGateway": true,
                "ipMasq": false, "hairpinMode": true, "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{PODS}"}}]],
                "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}"#
        );
        site.write("network/10.conflist", &network)?;
        let configuration = format!(
            r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Where this process may not make one less likely to be killed.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{network}"
"#,
            root = site.text("containerd"),
            state = site.text("containerd-state"),
            socket = site.text("containerd.sock"),
            network = site.text("network"),
            pause = images::PAUSE,
        );
        let file = site.write("containerd.toml", &configuration)?;
        let mut daemon = Daemon::start(site, "containerd", "containerd", &[("config", &file)])?;
        daemon.wait_until("containerd answers", START, || ctr(site, &["version"]).ok())?;
        Ok(Self(daemon))
    }

    /// Takes in the images of an archive, an OCI layout as one file.
    pub fn import(site: &Site, archive: &Path) -> Result<()> {
        ctr(site, &["images", "import", &archive.display().to_string()]).map(drop)
    }
}

fn ctr(site: &Site, arguments: &[&str]) -> Result<String> {
    let socket = site.text("containerd.sock");
    site.namespaces.run("ctr", &[&["--address", &*socket, "--namespace", "k8s.io"], arguments].concat())
}
