// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes whose pod decides, by example.

use super::*;
use crate::{
    config::{PodCondition, PodField, Selection, Selector},
    enrich::kubernetes::{Change, Pod},
};

const TGID: u32 = 7;

/// Who asks for the pods of the namespace `shop`, or for none.
fn targets(asks_pods: bool) -> Targets {
    let condition = PodCondition { field: PodField::Namespace, glob: "shop".to_owned() };
    let selector = Selector { pod: vec![condition], ..Selector::default() };
    let include = if asks_pods { vec![selector] } else { Vec::new() };
    let mut judge = Judge::new(&Selection { include, ..Selection::default() }, 1).expect("globs");
    judge.join_cluster();
    Targets::new(judge, &Ledger::new())
}

fn pods(told: &[(&str, &str)]) -> Pods {
    let mut pods = Pods::new(&Ledger::new());
    for (uid, word) in told {
        let annotations = [("onlooker/watch".to_owned(), (*word).to_owned())].into();
        let pod = Pod { uid: (*uid).to_owned(), namespace: "shop".to_owned(), annotations, ..Pod::default() };
        pods.handle_change(Change::Seen(Box::new(pod)));
    }
    pods
}

fn candidate(pod_uid: &str) -> Candidate {
    let residence = Residence { pod_uid: Some(pod_uid.to_owned()), container_id: None };
    Candidate { tgid: TGID, name: "shop".to_owned(), residence, ..Candidate::default() }
}

const WATCHED: Option<Verdict> = Some(Verdict::Watched { tgid: TGID, watch: Watch::Yes });

#[test]
fn a_process_is_captured_until_its_pod_decides() {
    let mut targets = targets(true);
    assert_eq!(targets.judged(&candidate("u"), Some(&pods(&[]))), WATCHED);
    assert!(targets.is_open(TGID) && targets.is_watched(TGID));
    let child =
        ProcessRecord { tgid: 8, parent: TGID, change: ProcessChange::Forked as u32, ..bytemuck::Zeroable::zeroed() };
    targets.handle_process(&child, None);
    assert!(targets.is_open(8), "a child is what its parent is");
    assert_eq!(targets.judged(&candidate("u"), Some(&pods(&[("u", "")]))), WATCHED);
    assert!(!targets.is_open(TGID) && targets.is_watched(TGID));
    assert_eq!(targets.open, 1);
}

#[test]
fn what_stays_open_is_let_go() {
    let mut targets = targets(true);
    targets.judged(&candidate("u"), Some(&pods(&[])));
    let began = KernelTime(17);
    assert_eq!(targets.handle_time(began), []);
    targets.judged(&candidate("u"), Some(&pods(&[])));
    assert_eq!(targets.handle_time(KernelTime(began.0 + OPEN_NS - 1)), []);
    assert_eq!(targets.handle_time(KernelTime(began.0 + OPEN_NS)), [Verdict::Refused { tgid: TGID }]);
    assert!(targets.is_refused(TGID) && targets.open == 0);
    // Its pod is known after all.
    assert_eq!(targets.judged(&candidate("u"), Some(&pods(&[("u", "")]))), WATCHED);
}

#[test]
fn one_that_ends_or_is_outside_is_not_open() {
    let mut targets = targets(true);
    targets.judged(&candidate("u"), Some(&pods(&[])));
    let exit = ProcessRecord { tgid: TGID, change: ProcessChange::Exited as u32, ..bytemuck::Zeroable::zeroed() };
    targets.handle_process(&exit, None);
    assert_eq!(targets.open, 0);
    assert_eq!(targets.judged(&candidate("u"), None), None, "there is no cluster");
    let of_other_runtime = Residence { pod_uid: None, container_id: Some("c".to_owned()) };
    let candidate = Candidate { residence: of_other_runtime, ..candidate("u") };
    assert_eq!(targets.judged(&candidate, Some(&pods(&[]))), None);
}

#[test]
fn a_node_is_searched_only_for_pods_that_make_a_difference() {
    let of_interest = |targets: &mut Targets, told: &[(&str, &str)]| {
        let changed = told.iter().map(|(uid, _)| (*uid).to_owned()).collect();
        targets.of_interest(&changed, &pods(told)).len()
    };
    let mut plain = targets(false);
    assert_eq!(of_interest(&mut plain, &[("a", ""), ("b", "")]), 0);
    assert_eq!(of_interest(&mut plain, &[("a", "false"), ("b", "")]), 1);
    assert_eq!(of_interest(&mut plain, &[("a", "")]), 1, "it had one");
    assert_eq!(of_interest(&mut plain, &[("a", "")]), 0);
    of_interest(&mut plain, &[("a", "true")]);
    of_interest(&mut plain, &[("b", "")]);
    assert!(plain.worded.is_empty(), "the pod is gone");
    assert_eq!(of_interest(&mut targets(true), &[("a", "")]), 1, "selectors ask");
}
