// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Installed from the manifests, then from the chart: spans say which pod, owner and service they are of.

use std::{env, path::Path};

use anyhow::{Result, ensure};
use onlooker_tests::skip;

use super::{
    cluster::Cluster,
    shop::{self, Received},
};

/// A folder of `deploy/`.
pub fn deployed(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join(name).display().to_string()
}

/// As docs/KUBERNETES.md says it.
pub fn install_manifests(cluster: &Cluster, profile: &str) -> Result<Received> {
    cluster.kubectl(&["apply", "-k", &deployed(&format!("kubernetes/{profile}"))])?;
    let received = shop::start_collector(cluster)?;
    cluster.wait_rollout("onlooker", "daemonset/onlooker")?;
    Ok(received)
}

#[test]
fn from_the_manifests() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut received = install_manifests(&cluster, "base")?;
    shop::open(&cluster)?;
    shop::visit(&cluster, &mut received, "/manifests")?;
    shop::visit_errands(&mut received)
}

#[test]
fn from_the_chart() -> Result<()> {
    let Some(helm) = env::var_os("ONLOOKER_HELM") else {
        skip("helm is not there: `cargo xtask cluster` builds it, once per machine");
        return Ok(());
    };
    let cluster = Cluster::start()?;
    let chart = deployed("helm/onlooker");
    let run = |arguments: &[&str]| -> Result<String> {
        let helm: &Path = helm.as_ref();
        let access = [("KUBECONFIG", cluster.site.path("kubeconfig")), ("HOME", cluster.folder("helm")?)];
        let output = cluster.site.namespaces.command(helm).args(arguments).envs(access).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {}: {said}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    };
    run(&["install", "onlooker", &chart, "-n", "onlooker", "--create-namespace"])?;
    let mut received = shop::start_collector(&cluster)?;
    cluster.wait_rollout("onlooker", "daemonset/onlooker")?;
    shop::open(&cluster)?;
    shop::visit(&cluster, &mut received, "/chart")?;
    run(&["uninstall", "onlooker", "-n", "onlooker", "--wait"])?;
    let pods = ["-n", "onlooker", "wait", "--for=delete", "pods", "-l", "app.kubernetes.io/name=onlooker"];
    cluster.kubectl(&[&pods[..], &["--timeout=60s"]].concat())?;
    let left =
        cluster.kubectl(&["-n", "onlooker", "get", "daemonsets,serviceaccounts,pods,configmaps", "-o", "name"])?;
    ensure!(!left.contains("/onlooker"), "{left}");
    Ok(())
}
