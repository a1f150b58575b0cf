// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A real Kubernetes API: etcd and kube-apiserver on loopback, with kubectl to talk to it; and control groups as a kubelet
//! names them, in which a test's own processes become those of a pod.
//!
//! `ONLOOKER_KUBERNETES_PROGRAMS` names the folder of the programs, which `cargo xtask cluster` builds and
//! `cargo xtask test` sets. There are no nodes: nobody starts what a test describes.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{free_address, poll_until};

/// An API server takes seconds to start, on a busy machine many.
const START: Duration = Duration::from_secs(90);

/// Who may do everything, and who may do what a test says.
const TOKENS: &str = "admin-token,admin,1,system:masters\nagent-token,agent,2\n";

#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    address: SocketAddr,
    etcd_address: SocketAddr,
    etcd: Option<Child>,
    api: Option<Child>,
}

impl Cluster {
    /// # Errors
    ///
    /// The programs are not there, or do not start in time; with what they said.
    pub fn start() -> Result<Self> {
        let programs = env::var_os("ONLOOKER_KUBERNETES_PROGRAMS")
            .context("ONLOOKER_KUBERNETES_PROGRAMS is not set: use `cargo xtask test`")?;
        let mut cluster = Self {
            folder: tempfile::tempdir()?,
            programs: programs.into(),
            address: free_address(),
            etcd_address: free_address(),
            etcd: None,
            api: None,
        };
        cluster.prepare()?;
        let client = format!("http://{}", cluster.etcd_address);
        let peers = format!("http://{}", free_address());
        let data = cluster.path("etcd");
        cluster.etcd = Some(cluster.spawn(
            "etcd",
            &["--data-dir", &data, "--unsafe-no-fsync"],
            &[
                ("--listen-client-urls", &client),
                ("--advertise-client-urls", &client),
                ("--listen-peer-urls", &peers),
                ("--initial-advertise-peer-urls", &peers),
                ("--initial-cluster", &format!("default={peers}")),
            ],
        )?);
        cluster.start_api()?;
        Ok(cluster)
    }

    /// Keys for tokens of service accounts, which nobody asks for, and the kubeconfigs.
    fn prepare(&self) -> Result<()> {
        fs::write(self.folder.path().join("tokens.csv"), TOKENS)?;
        let key = rcgen::KeyPair::generate()?;
        fs::write(self.folder.path().join("key.pem"), key.serialize_pem())?;
        fs::write(self.folder.path().join("key.pub"), key.public_key_pem())?;
        for (user, token) in [("admin", "admin-token"), ("agent", "agent-token")] {
            let text = format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
                 clusters: [{{name: c, cluster: {{server: 'https://{}', certificate-authority: certificates/apiserver.crt}}}}]\n\
                 users: [{{name: u, user: {{token: {token}}}}}]\n",
                self.address
            );
            fs::write(self.folder.path().join(user), text)?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn spawn(&self, name: &str, arguments: &[&str], pairs: &[(&str, &str)]) -> Result<Child> {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join(format!("{name}.log")))?;
        Command::new(self.programs.join(name))
            .args(arguments)
            .args(pairs.iter().map(|(key, value)| format!("{key}={value}")))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} does not start"))
    }

    /// Starts the API server, for the first time or again at the same address.
    ///
    /// # Errors
    ///
    /// It is not ready in time; with the end of what it said.
    pub fn start_api(&mut self) -> Result<()> {
        let (key, ip) = (self.path("key.pem"), self.address.ip().to_string());
        self.api = Some(self.spawn(
            "kube-apiserver",
            &[],
            &[
                ("--etcd-servers", &format!("http://{}", self.etcd_address)),
                ("--bind-address", &ip),
                ("--advertise-address", &ip),
                ("--secure-port", &self.address.port().to_string()),
                ("--cert-dir", &self.path("certificates")),
                ("--token-auth-file", &self.path("tokens.csv")),
                ("--authorization-mode", "RBAC"),
                ("--service-account-issuer", "https://kubernetes.default.svc"),
                ("--service-account-key-file", &self.path("key.pub")),
                ("--service-account-signing-key-file", &key),
                ("--service-cluster-ip-range", "10.96.0.0/16"),
                ("--endpoint-reconciler-type", "none"),
                // As nearly every cluster allows it.
                ("--allow-privileged", "true"),
                // Nobody makes the default accounts that it would wait for.
                ("--disable-admission-plugins", "ServiceAccount"),
            ],
        )?);
        let mut end = None;
        poll_until("the API server is ready", START, || {
            end = self.api.as_mut().and_then(|api| api.try_wait().ok().flatten());
            end.map(drop).or_else(|| self.kubectl(&["get", "--raw", "/readyz"], "").ok().map(drop))
        })
        .with_context(|| self.log("kube-apiserver"))?;
        ensure!(end.is_none(), "the API server has ended:\n{}", self.log("kube-apiserver"));
        Ok(())
    }

    /// Ends it without a word, as a crash does.
    ///
    /// # Errors
    ///
    /// It was not running.
    pub fn kill_api(&mut self) -> Result<()> {
        let mut api = self.api.take().context("the API server does not run")?;
        api.kill()?;
        api.wait()?;
        Ok(())
    }

    fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default();
        text.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }

    /// How a user, `admin` or `agent`, reaches it.
    #[must_use]
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.path().join(user)
    }

    /// Runs kubectl as the administrator and gives what it printed.
    ///
    /// # Errors
    ///
    /// It fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let stdin = self.folder.path().join("stdin");
        fs::write(&stdin, input)?;
        let output = Command::new(self.programs.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig("admin"))
            .args(arguments)
            .env("HOME", self.folder.path())
            .stdin(fs::File::open(&stdin)?)
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        ensure!(output.status.success(), "kubectl {}: {}", arguments.join(" "), text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// A way in without TLS and tokens, for what asks often; the caller ends it.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn proxy(&self) -> Result<(Child, SocketAddr)> {
        let address = free_address();
        let (kubeconfig, port) = (self.path("admin"), address.port().to_string());
        let arguments = [("--kubeconfig", kubeconfig.as_str()), ("--address", "127.0.0.1"), ("--port", &port)];
        // Paths that run programs are refused by default, and nobody here asks for them.
        Ok((self.spawn("kubectl", &["proxy"], &arguments)?, address))
    }

    /// Creates what the YAML describes, and gives the uid of the first object.
    ///
    /// # Errors
    ///
    /// The API server refuses it.
    pub fn create(&self, yaml: &str) -> Result<String> {
        self.kubectl(&["create", "-f", "-", "-o", "jsonpath={.metadata.uid}"], yaml)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in [&mut self.api, &mut self.etcd].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The control group of one container of a pod. Dropped after its processes have ended, it is taken away.
#[derive(Debug)]
pub struct ContainerGroup {
    root: PathBuf,
    folder: PathBuf,
}

impl ContainerGroup {
    /// # Errors
    ///
    /// There is no unified hierarchy that this process may write to.
    pub fn create(pod_uid: &str, container_id: &str) -> Result<Self> {
        let root = unified_hierarchy().context("no cgroup2 is mounted")?;
        let folder = root.join(format!("kubepods/besteffort/pod{pod_uid}/{container_id}"));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { root, folder })
    }

    /// # Errors
    ///
    /// The process is gone.
    pub fn take(&self, pid: u32) -> Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).context("the process is not taken")
    }
}

impl Drop for ContainerGroup {
    fn drop(&mut self) {
        // From the innermost outwards, as far as nobody else is in them.
        let mut folder = self.folder.as_path();
        while folder != self.root && fs::remove_dir(folder).is_ok() {
            let Some(parent) = folder.parent() else { break };
            folder = parent;
        }
    }
}

/// Where cgroup2 is mounted: at the usual place, or beside the older hierarchies.
fn unified_hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields.find(|fields| fields.get(2) == Some(&"cgroup2")).map(|fields| Path::new(fields[1]).to_owned())
}
