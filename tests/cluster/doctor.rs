// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `onlooker doctor` in a cluster: whether it may ask, by asking; and what is lost where it may not, or nobody answers.

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{
    Cluster,
    onlooker::{binary, command},
};
use serde_json::Value;

use super::manifests::built;

const PODS: &str = "pods of this node";
const PEERS: &str = "Services and endpoints";

/// What it finds, as the user `agent`.
struct Findings(Vec<Value>);

impl Findings {
    fn of(cluster: &Cluster, rights: &str) -> Result<Self> {
        let mut doctor = command(binary());
        doctor.args(["doctor", "--json", "--kubernetes-rights", rights]).env("NODE_NAME", "n1");
        let output = doctor.env("KUBECONFIG", cluster.kubeconfig("agent")).output()?;
        ensure!(output.status.success(), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout)?;
        Ok(Self(report["findings"].as_array().context("there are findings")?.clone()))
    }

    /// Whether it works, why not, and what is lost.
    #[track_caller]
    fn check(&self, name: &str, works: bool, detail: &str) {
        let finding = self.0.iter().find(|finding| finding["name"] == name).expect("it is looked at");
        assert_eq!((&finding["group"], &finding["works"]), (&"Kubernetes".into(), &works.into()), "{finding:#}");
        assert!(finding["detail"].as_str().is_some_and(|text| text.contains(detail)), "{finding:#}");
        assert_eq!(finding["remedy"].is_null(), works, "{finding:#}");
    }
}

#[test]
fn the_doctor_asks_the_api_server_what_it_may() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let found = Findings::of(&cluster, "cluster")?;
    found.check(PODS, false, "pods is forbidden");
    found.check(PEERS, false, "services is forbidden");

    cluster.kubectl(&["apply", "-f", "-"], &built(&cluster, "base")?)?;
    cluster.kubectl(&["create", "clusterrolebinding", "agent", "--clusterrole=onlooker", "--user=agent"], "")?;
    // The API server takes in what it is told with a delay.
    let may = ["auth", "can-i", "list", "pods", "--as=agent", "--all-namespaces"];
    onlooker_tests::poll_until("the rights are there", super::RECOVERY, || cluster.kubectl(&may, "").ok())?;
    let found = Findings::of(&cluster, "node")?;
    found.check(PODS, true, "tells of them");
    found.check(PEERS, false, "--kubernetes-rights is node");
    Findings::of(&cluster, "cluster")?.check(PEERS, false, "services is forbidden");

    cluster.kubectl(&["apply", "-f", "-"], &built(&cluster, "cluster")?)?;
    let may = ["auth", "can-i", "list", "endpointslices.discovery.k8s.io", "--as=agent", "--all-namespaces"];
    onlooker_tests::poll_until("the rights are there", super::RECOVERY, || cluster.kubectl(&may, "").ok())?;
    let found = Findings::of(&cluster, "cluster")?;
    found.check(PODS, true, "tells of them");
    found.check(PEERS, true, "tells of them");

    cluster.kill_api()?;
    let found = Findings::of(&cluster, "cluster")?;
    found.check(PODS, false, "refused");
    found.check(PEERS, false, "refused");
    Ok(())
}
