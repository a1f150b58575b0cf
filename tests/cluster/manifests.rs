// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What `deploy/kubernetes/` and `deploy/helm/` describe, against the API server that would be asked for it: strictly, so
//! that a field which it does not know is an error.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use onlooker_tests::{
    Cluster,
    helm::{CHOICES, Helm},
    skip,
};

/// Takes it and forgets it.
const TRIAL: [&str; 6] = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];

/// A kustomization of `deploy/kubernetes/`, built.
pub fn built(cluster: &Cluster, name: &str) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy/kubernetes").join(name);
    cluster.kubectl(&["kustomize", folder.to_str().context("a plain path")?], "")
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy/kubernetes/examples").join(name)
}

/// Tells the API server what a PodMonitor is; false, and a line that says so, where nobody has fetched it.
fn define_pod_monitors(cluster: &Cluster) -> Result<bool> {
    let Some(file) = env::var_os("ONLOOKER_POD_MONITORS") else {
        skip("the definition of PodMonitor is not there: `cargo xtask cluster` fetches it, once per machine");
        return Ok(false);
    };
    cluster.kubectl(&["apply", "--server-side", "-f", file.to_str().context("a plain path")?], "")?;
    let name = "crd/podmonitors.monitoring.coreos.com";
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", name], "")?;
    Ok(true)
}

#[test]
fn the_manifests_are_accepted_and_give_no_more_rights_than_they_say() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.kubectl(&["apply", "--server-side", "--validate=strict", "-f", "-"], &built(&cluster, "base")?)?;
    // Over what is there, as one who changes the profile would apply it.
    cluster.kubectl(&["apply", "--server-side", "--validate=strict", "-f", "-"], &built(&cluster, "privileged")?)?;
    cluster.kubectl(&TRIAL, &fs::read_to_string(example("collector.yaml"))?)?;
    if define_pod_monitors(&cluster)? {
        cluster.kubectl(&TRIAL, &fs::read_to_string(example("podmonitor.yaml"))?)?;
    }

    let may = |verb: &str, what: &str| {
        let account = "--as=system:serviceaccount:onlooker:onlooker";
        cluster.kubectl(&["auth", "can-i", verb, what, account, "--all-namespaces"], "").is_ok()
    };
    for verb in ["list", "watch"] {
        assert!(may(verb, "pods"), "{verb} pods");
        assert!(!may(verb, "secrets"), "{verb} secrets");
    }
    for (verb, what) in [("create", "pods"), ("delete", "pods"), ("get", "nodes"), ("list", "services")] {
        assert!(!may(verb, what), "{verb} {what}");
    }
    Ok(())
}

#[test]
fn the_rights_to_name_peers_are_those_and_no_others() -> Result<()> {
    let cluster = Cluster::start()?;
    let manifests = built(&cluster, "cluster")?;
    assert!(manifests.contains("ONLOOKER_KUBERNETES_RIGHTS"), "{manifests}");
    cluster.kubectl(&["apply", "--server-side", "--validate=strict", "-f", "-"], &manifests)?;
    let account = "--as=system:serviceaccount:onlooker:onlooker";
    let may = |verb: &str, what: &str| {
        cluster.kubectl(&["auth", "can-i", verb, what, account, "--all-namespaces"], "").is_ok()
    };
    for what in ["pods", "services", "endpointslices.discovery.k8s.io"] {
        assert!(may("list", what) && may("watch", what) && !may("get", what) && !may("create", what), "{what}");
    }
    for what in ["nodes", "secrets", "configmaps", "replicasets.apps"] {
        assert!(!may("list", what), "{what}");
    }
    Ok(())
}

#[test]
fn what_the_chart_renders_is_accepted_with_every_choice() -> Result<()> {
    let Some(helm) = Helm::find() else { return Ok(()) };
    let cluster = Cluster::start()?;
    cluster.kubectl(&["create", "namespace", "watch"], "")?;
    for values in CHOICES {
        let rendered = helm.render(values)?;
        let accepted = cluster.kubectl(&TRIAL, &rendered).with_context(|| format!("{values:?}:\n{rendered}"))?;
        assert!(accepted.contains("daemonset.apps/onlooker serverside-applied (server dry run)"), "{accepted}");
    }
    if define_pod_monitors(&cluster)? {
        let rendered = helm.render(&[r#"podMonitor={"enabled":true,"labels":{"release":"p"}}"#])?;
        let accepted = cluster.kubectl(&TRIAL, &rendered)?;
        assert!(accepted.contains("podmonitor.monitoring.coreos.com/onlooker"), "{accepted}");
    }
    // That it is asked strictly.
    let slip = helm.render(&[])?.replace("hostPID:", "hostPIDs:");
    let refused = cluster.kubectl(&TRIAL, &slip).map_err(|error| error.to_string());
    assert!(refused.as_ref().is_err_and(|said| said.contains("hostPIDs")), "{refused:?}");
    Ok(())
}
