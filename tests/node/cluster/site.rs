// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the cluster is: its folder, its namespaces and control groups, the programs it is made of, its addresses.

use std::{env, fs, path::PathBuf, process, process::Command};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::PATIENCE;
use tempfile::TempDir;

use super::{groups::Groups, namespaces::Namespaces};

/// The node's address. Pods are in [`PODS`], Services in [`SERVICES`].
pub const NODE: &str = "10.244.8.1";
pub const PODS: &str = "10.244.7.0/24";
pub const SERVICES: &str = "10.96.0.0/16";

/// A network of its own has no port that is taken.
pub const API: &str = "https://10.244.8.1:6443";

pub struct Site {
    folder: TempDir,
    pub namespaces: Namespaces,
    pub groups: Groups,
    programs: PathBuf,
}

impl Site {
    pub fn prepare() -> Result<Self> {
        let programs = env::var_os("ONLOOKER_KUBERNETES_PROGRAMS")
            .context("ONLOOKER_KUBERNETES_PROGRAMS is not set: use `cargo xtask e2e cluster`")?;
        Groups::sweep(PATIENCE);
        let owner = process::id().to_string();
        let folder = tempfile::Builder::new().prefix(&Groups::folder_prefix(&owner)).tempdir()?;
        let groups = Groups::create(&owner)?;
        let site = Self {
            namespaces: Namespaces::create(folder.path(), groups.entrance()?)?,
            groups,
            programs: programs.into(),
            folder,
        };
        let ip = |arguments: &str| site.namespaces.run("ip", &arguments.split(' ').collect::<Vec<_>>());
        ip("link add node0 type bridge")?;
        ip(&format!("addr add {NODE}/32 dev node0"))?;
        ip("link set node0 up")?;
        // Addresses of Services are on no interface, and are looked up before they are replaced.
        ip("route add default dev node0")?;
        site.write_access()?;
        Ok(site)
    }

    /// The key of the tokens of service accounts, and how the administrator reaches the API.
    fn write_access(&self) -> Result<()> {
        let key = rcgen::KeyPair::generate()?;
        fs::write(self.path("key.pem"), key.serialize_pem())?;
        fs::write(self.path("key.pub"), key.public_key_pem())?;
        fs::write(self.path("tokens.csv"), "admin-token,admin,1,system:masters\n")?;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: '{API}', certificate-authority: certificates/apiserver.crt}}}}]\n\
             users: [{{name: u, user: {{token: admin-token}}}}]\n"
        );
        Ok(fs::write(self.path("kubeconfig"), text)?)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same, as an option's value.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// One of the programs that `cargo xtask cluster` has built.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub fn kubectl(&self) -> Command {
        let mut kubectl = self.namespaces.command(self.program("kubectl"));
        kubectl.arg("--kubeconfig").arg(self.path("kubeconfig")).env("HOME", self.folder.path());
        kubectl
    }

    /// Writes a file of the cluster's.
    pub fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path(name);
        ensure!(path.starts_with(self.folder.path()), "a file of the cluster's folder");
        fs::create_dir_all(path.parent().expect("it is in a folder"))?;
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }
}
