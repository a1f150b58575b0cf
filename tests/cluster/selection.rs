// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is watched, by what the API server says of pods: from the first request on, and differently as soon as that changes.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context as _, Result};
use onlooker_tests::{Cluster, Onlooker, Span, poll_until};

use super::{Container, RECOVERY, container_id, pod, report, span_of, start_cluster};

/// A pod of the namespace `shop` with one label, its container reported or not, and a server in it.
fn start(cluster: &Cluster, name: &str, number: u32, reported: Option<&str>) -> Result<Container> {
    let id = container_id(number);
    let uid = cluster.create(&pod(name, &format!("  labels: {{app: {name}}}")))?;
    if let Some(container) = reported {
        report(cluster, name, container, &id)?;
    }
    Container::start(&uid, &id)
}

fn watch(cluster: &Cluster, folder: &tempfile::TempDir, discovery: &str) -> Result<Onlooker> {
    let file: PathBuf = folder.path().join("onlooker.yaml");
    std::fs::write(&file, discovery)?;
    let kubeconfig = cluster.kubeconfig("admin");
    let environment = [
        ("KUBECONFIG", kubeconfig.to_str().context("plain")?),
        ("NODE_NAME", "n1"),
        ("ONLOOKER_CONFIG", file.to_str().context("plain")?),
    ];
    Onlooker::start(&[], &environment)
}

fn asked_paths(spans: &[Span]) -> BTreeSet<&str> {
    spans.iter().filter_map(|span| span.text("url.path")).collect()
}

/// Asks both, the witness last, until the witness is seen; answers whether the other was seen before it.
fn is_watched(onlooker: &mut Onlooker, witness: &Container, other: &Container, round: &mut u32) -> Option<bool> {
    *round += 1;
    let (path, mark) = (format!("/{round}/asked"), format!("/{round}/mark"));
    other.ask(&path).ok()?;
    witness.ask(&mark).ok()?;
    let spans = onlooker.wait_spans(|spans| span_of(spans, &mark).is_some(), onlooker_tests::PATIENCE).ok()?;
    Some(span_of(spans, &path).is_some())
}

#[test]
fn pods_are_selected_by_what_they_are_called_and_by_their_own_word_as_it_changes() -> Result<()> {
    let (cluster, folder) = (start_cluster()?, tempfile::tempdir()?);
    let witness = start(&cluster, "witness", 11, Some("web"))?;
    let changing = start(&cluster, "changing", 12, Some("web"))?;
    let selectors = "discovery:
  instrument:
    - {k8s_namespace: shop, k8s_pod_labels: {app: '{witness,web}'}, name: by-label}
  exclude:
    - k8s_pod_annotations: {team: red}
";
    let mut onlooker = watch(&cluster, &folder, selectors)?;
    let mut round = 0;
    // The first round shows that it does not take long until the pods are known.
    poll_until("the witness is watched", RECOVERY, || {
        round += 1;
        let path = format!("/first/{round}");
        witness.ask(&path).ok()?;
        span_of(onlooker.wait_spans(|spans| span_of(spans, &path).is_some(), RECOVERY).ok()?, &path).map(drop)
    })?;
    assert_eq!(is_watched(&mut onlooker, &witness, &changing, &mut round), Some(false), "no label of it is asked for");

    let changes: [(&[&str], bool); 6] = [
        (&["label", "pod", "changing", "app=web", "--overwrite"], true),
        (&["annotate", "pod", "changing", "onlooker/watch=false"], false),
        (&["annotate", "pod", "changing", "onlooker/watch-"], true),
        (&["annotate", "pod", "changing", "team=red"], false),
        (&["annotate", "pod", "changing", "team=blue", "--overwrite"], true),
        (&["label", "pod", "changing", "app=other", "--overwrite"], false),
    ];
    for (change, expected) in changes {
        cluster.kubectl(&[&["-n", "shop"], change].concat(), "")?;
        poll_until("the change takes effect", RECOVERY, || {
            is_watched(&mut onlooker, &witness, &changing, &mut round).filter(|is_watched| *is_watched == expected)
        })
        .with_context(|| format!("{change:?}"))?;
        // And stays so.
        assert_eq!(is_watched(&mut onlooker, &witness, &changing, &mut round), Some(expected), "{change:?}");
    }
    cluster.kubectl(&["-n", "shop", "annotate", "pod", "changing", "onlooker/watch=true"], "")?;
    poll_until("it is watched by its own word", RECOVERY, || {
        is_watched(&mut onlooker, &witness, &changing, &mut round).filter(|is_watched| *is_watched)
    })?;
    let finished = onlooker.stop()?;
    finished.ledger.assert_conserved("stdout");
    let named = |span: &&Span| span.service() == Some("by-label");
    assert!(finished.spans.iter().filter(named).count() > 1, "the selector names what it selects");
    Ok(())
}

/// Which container a process is in, only the kubelet says. Until then both are captured; then one is let go, with what was
/// captured of it.
#[test]
fn a_request_that_comes_before_the_pod_is_known_is_not_lost_and_not_told_of_others() -> Result<()> {
    let (cluster, folder) = (start_cluster()?, tempfile::tempdir()?);
    let selected = start(&cluster, "selected", 21, None)?;
    let other = start(&cluster, "other", 22, None)?;
    let mut onlooker = watch(&cluster, &folder, "discovery:\n  instrument:\n    - {k8s_container_name: web}\n")?;
    other.ask("/other")?;
    selected.ask("/selected")?;
    report(&cluster, "other", "proxy", &container_id(22))?;
    report(&cluster, "selected", "web", &container_id(21))?;
    onlooker.wait_spans(|spans| span_of(spans, "/selected").is_some(), onlooker_tests::PATIENCE)?;
    let finished = onlooker.stop()?;
    finished.ledger.assert_conserved("stdout");
    assert_eq!(asked_paths(&finished.spans), BTreeSet::from(["/selected"]));
    let unwanted = [("stage", "enrich"), ("reason", "not_selected")];
    assert_eq!(finished.ledger.total_of("onlooker_spans_dropped_total", &unwanted), 1, "{:#?}", finished.ledger);
    Ok(())
}
