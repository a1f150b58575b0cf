// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What decides what runs: etcd, the API server, the controllers and the scheduler.

use std::time::Duration;

use anyhow::Result;

use super::{
    daemon::Daemon,
    site::{NODE, PODS, SERVICES, Site},
};

/// They take seconds, on a busy machine many.
const START: Duration = Duration::from_secs(90);

const ETCD: &str = "http://127.0.0.1:2379";

pub struct Etcd(pub Daemon);

impl Etcd {
    pub fn start(site: &Site) -> Result<Self> {
        let options = [
            ("data-dir", &*site.text("etcd")),
            ("listen-client-urls", ETCD),
            ("advertise-client-urls", ETCD),
            ("listen-peer-urls", "http://127.0.0.1:2380"),
            // It is thrown away.
            ("unsafe-no-fsync", "true"),
        ];
        Ok(Self(Daemon::start(site, site.program("etcd"), "etcd", &options)?))
    }
}

pub struct ApiServer(pub Daemon);

impl ApiServer {
    /// Gives it when it is ready.
    pub fn start(site: &Site) -> Result<Self> {
        let options = [
            ("etcd-servers", ETCD),
            ("bind-address", NODE),
            ("advertise-address", NODE),
            ("secure-port", "6443"),
            ("cert-dir", &*site.text("certificates")),
            ("token-auth-file", &*site.text("tokens.csv")),
            ("authorization-mode", "RBAC"),
            ("service-account-issuer", "https://kubernetes.default.svc"),
            ("service-account-key-file", &*site.text("key.pub")),
            ("service-account-signing-key-file", &*site.text("key.pem")),
            ("service-cluster-ip-range", SERVICES),
            ("kubelet-preferred-address-types", "InternalIP"),
            ("allow-privileged", "true"),
        ];
        let mut daemon = Daemon::start(site, site.program("kube-apiserver"), "kube-apiserver", &options)?;
        daemon.wait_until("the API server is ready", START, || {
            let ready = site.kubectl().args(["get", "--raw", "/readyz"]).output().ok()?;
            ready.status.success().then_some(())
        })?;
        Ok(Self(daemon))
    }
}

pub struct Controllers(pub Daemon);

impl Controllers {
    pub fn start(site: &Site) -> Result<Self> {
        let options = [
            ("kubeconfig", &*site.text("kubeconfig")),
            ("service-account-private-key-file", &*site.text("key.pem")),
            ("root-ca-file", &*site.text("certificates/apiserver.crt")),
            ("use-service-account-credentials", "true"),
            ("leader-elect", "false"),
            ("bind-address", "127.0.0.1"),
            ("cert-dir", &*site.text("controllers")),
            // A node whose kubelet is feigned, or kept waiting for a processor, is not given up.
            ("node-monitor-grace-period", "1h"),
            // Pods are made by thousands.
            ("kube-api-qps", "1000"),
            ("kube-api-burst", "1000"),
        ];
        let name = "kube-controller-manager";
        Ok(Self(Daemon::start(site, site.program(name), name, &options)?))
    }
}

pub struct Scheduler(pub Daemon);

impl Scheduler {
    pub fn start(site: &Site) -> Result<Self> {
        let options = [
            ("kubeconfig", &*site.text("kubeconfig")),
            ("leader-elect", "false"),
            ("bind-address", "127.0.0.1"),
            ("cert-dir", &*site.text("scheduler")),
        ];
        Ok(Self(Daemon::start(site, site.program("kube-scheduler"), "kube-scheduler", &options)?))
    }
}

/// What makes a Service's address lead to its pods.
pub struct Proxy(pub Daemon);

impl Proxy {
    pub fn start(site: &Site) -> Result<Self> {
        let configuration = format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: iptables\n\
             bindAddress: 127.0.0.1\nclusterCIDR: {PODS}\nhostnameOverride: n1\n\
             conntrack: {{maxPerCore: 0, min: 0}}\niptables: {{minSyncPeriod: 0s}}\n\
             clientConnection: {{kubeconfig: '{}'}}\n",
            site.text("kubeconfig")
        );
        let file = site.write("proxy.yaml", &configuration)?;
        Ok(Self(Daemon::start(site, site.program("kube-proxy"), "kube-proxy", &[("config", &file)])?))
    }
}

/// What a cluster's names lead to. They are few and known beforehand: a Service that is asked for by name has a fixed
/// address.
pub struct Names(pub Daemon);

impl Names {
    pub fn start(site: &Site, services: &[(&str, &str)]) -> Result<Self> {
        let hosts: Vec<String> =
            services.iter().map(|(name, address)| format!("{address} {name}.svc.cluster.local\n")).collect();
        let hosts = site.write("hosts", &hosts.concat())?;
        let options = [
            ("listen-address", NODE),
            ("addn-hosts", &*hosts),
            ("user", "root"),
            ("conf-file", "/dev/null"),
            ("pid-file", ""),
            ("keep-in-foreground", ""),
            ("no-resolv", ""),
            ("no-hosts", ""),
            ("bind-interfaces", ""),
            // What is not known does not exist: nobody else is asked.
            ("local", "/cluster.local/"),
            ("address", "/#/"),
        ];
        Ok(Self(Daemon::start(site, "dnsmasq", "dnsmasq", &options)?))
    }
}
