// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What `deploy/kubernetes/` describes, against the API server that would be asked for it.

use std::path::Path;

use anyhow::{Context as _, Result};
use onlooker_tests::Cluster;

/// A kustomization of `deploy/kubernetes/`, built.
pub fn built(cluster: &Cluster, name: &str) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy/kubernetes").join(name);
    cluster.kubectl(&["kustomize", folder.to_str().context("a plain path")?], "")
}

#[test]
fn the_manifests_are_accepted_and_give_no_more_rights_than_they_say() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.kubectl(&["apply", "--server-side", "--validate=strict", "-f", "-"], &built(&cluster, "base")?)?;
    // Over what is there, as one who changes the profile would apply it.
    cluster.kubectl(&["apply", "--server-side", "--validate=strict", "-f", "-"], &built(&cluster, "privileged")?)?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy/kubernetes/examples/collector.yaml");
    cluster.kubectl(&["apply", "--validate=strict", "-f", example.to_str().context("a plain path")?], "")?;

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
