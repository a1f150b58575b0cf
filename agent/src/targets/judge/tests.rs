// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Selectors and processes, by example.

use std::{slice::from_ref, sync::Arc};

use super::{super::Residence, *};
use crate::{
    config::{PodCondition, PodField},
    enrich::kubernetes::{Place, Pod},
};

fn candidate(executable: &str, arguments: &str, ports: &[u16]) -> Candidate {
    Candidate {
        tgid: 10,
        name: "name".to_owned(),
        executable: (!executable.is_empty()).then(|| executable.into()),
        arguments: arguments.split_whitespace().map(str::to_owned).collect(),
        listens_on: ports.to_vec(),
        in_container: false,
        residence: Residence::default(),
    }
}

fn executable(pattern: &str) -> Selector {
    Selector { executable: Some(pattern.to_owned()), ..Selector::default() }
}

fn ports(first: u16, last: u16) -> Selector {
    Selector { open_ports: vec![PortRange { first, last }], ..Selector::default() }
}

#[track_caller]
fn check(include: &[Selector], exclude: &[Selector], candidate: &Candidate, selected: bool) {
    let selection = Selection { include: include.to_vec(), exclude: exclude.to_vec(), pids: Vec::new() };
    let judge = Judge::new(&selection, 1).expect("globs");
    assert_eq!(judge.selects(candidate, &Lodging::Outside), selected.into(), "{candidate:?}");
}

#[test]
fn without_selectors_everything_but_the_machine_s_own_is_watched() {
    for (path, selected) in [
        ("/usr/bin/node", true),
        ("/usr/sbin/nginx", true),
        ("/usr/bin/otelcol-contrib", false),
        ("/lib/systemd/systemd-journald", false),
        ("/usr/bin/containerd-shim-runc-v2", false),
        ("/usr/local/bin/kube-apiserver", false),
        ("/usr/local/bin/etcd", false),
        ("/usr/bin/kubectl", true),
        ("/opt/shop (deleted)", true),
    ] {
        check(&[], &[], &candidate(path, "", &[]), selected);
    }
}

#[test]
fn the_daemon_itself_is_never_watched() {
    let selection = Selection { pids: vec![10], ..Selection::default() };
    let judge = Judge::new(&selection, 10).expect("globs");
    assert_eq!(judge.selects(&candidate("/usr/bin/onlooker", "", &[]), &Lodging::Outside), Answer::No);
}

#[test]
fn parts_of_a_selector_must_all_match_and_one_selector_is_enough() {
    let both = Selector { open_ports: vec![PortRange { first: 80, last: 89 }], ..executable("*/nginx") };
    check(from_ref(&both), &[], &candidate("/usr/sbin/nginx", "", &[85]), true);
    check(from_ref(&both), &[], &candidate("/usr/sbin/nginx", "", &[90]), false);
    check(from_ref(&both), &[], &candidate("/usr/bin/node", "", &[85]), false);
    check(&[both, ports(443, 443)], &[], &candidate("/usr/bin/node", "", &[8080, 443]), true);
}

#[test]
fn the_first_selector_that_matches_names_the_service() {
    let named = |name: &str| Selector { service_name: Some(name.to_owned()), ..ports(80, 89) };
    let selection =
        Selection { include: vec![executable("*/node"), named("web"), named("late")], ..Selection::default() };
    let judge = Judge::new(&selection, 1).expect("globs");
    assert_eq!(
        judge.names(&candidate("/usr/sbin/nginx", "", &[80]), &Lodging::Outside).service.as_deref(),
        Some("web")
    );
    assert_eq!(judge.names(&candidate("/usr/bin/node", "", &[80]), &Lodging::Outside).service, None);
}

#[test]
fn exclusions_win() {
    check(&[ports(80, 80)], &[executable("*nginx")], &candidate("/usr/sbin/nginx", "", &[80]), false);
}

#[test]
fn globs_go_across_folders_and_know_alternatives() {
    check(&[executable("*/{node,python3*}")], &[], &candidate("/a/b/python3.11", "", &[]), true);
    check(&[executable("/a/*.11")], &[], &candidate("/a/b/python3.11", "", &[]), true);
    check(&[executable("node")], &[], &candidate("/usr/bin/node", "", &[]), false);
    let command = Selector { command_line: Some("*gunicorn*".to_owned()), ..Selector::default() };
    check(&[command], &[], &candidate("/usr/bin/python3", "python3 -m gunicorn app", &[]), true);
}

#[test]
fn a_process_that_is_gone_is_judged_by_its_name() {
    check(&[executable("*/name")], &[], &candidate("", "", &[]), true);
    check(&[], &[], &candidate("", "", &[]), true);
}

#[test]
fn a_bad_glob_is_named() {
    let selection = Selection { include: vec![executable("a{b")], ..Selection::default() };
    let Err(error) = Judge::new(&selection, 1) else { panic!("accepted") };
    assert!(error.to_string().contains("`a{b`"), "{error}");
}

/// A pod of namespace `shop` whose own word is this one.
fn lodging(own_word: &str) -> Lodging {
    let word = ("onlooker/watch".to_owned(), own_word.to_owned());
    let pod = Pod { namespace: "shop".to_owned(), annotations: [word].into(), ..Pod::default() };
    Lodging::In(Place { pod: Arc::new(pod), container: None })
}

fn namespace(glob: &str) -> Selector {
    let condition = PodCondition { field: PodField::Namespace, glob: glob.to_owned() };
    Selector { pod: vec![condition], ..Selector::default() }
}

#[track_caller]
fn check_in_pod(include: &[Selector], exclude: &[Selector], lodging: &Lodging, expected: Answer) {
    let selection = Selection { include: include.to_vec(), exclude: exclude.to_vec(), pids: Vec::new() };
    let judge = Judge::new(&selection, 1).expect("globs");
    assert_eq!(judge.selects(&candidate("/usr/bin/node", "", &[80]), lodging), expected, "{include:?} {exclude:?}");
}

#[test]
fn selectors_ask_for_pods_beside_ports() {
    use Answer::{No, NotYet, Yes};
    let shop = lodging("");
    let listening = |port| Selector { open_ports: ports(port, port).open_ports, ..namespace("shop") };
    check_in_pod(&[namespace("shop")], &[], &shop, Yes);
    check_in_pod(&[namespace("market")], &[], &shop, No);
    check_in_pod(&[listening(80)], &[], &shop, Yes);
    check_in_pod(&[listening(81)], &[], &shop, No);
    check_in_pod(&[], &[namespace("shop")], &shop, No);
    // What the pod says makes the difference, or it does not.
    check_in_pod(&[listening(80)], &[], &Lodging::Untold, NotYet);
    check_in_pod(&[listening(81)], &[], &Lodging::Untold, No);
    check_in_pod(&[listening(80), ports(80, 80)], &[], &Lodging::Untold, Yes);
    check_in_pod(&[], &[namespace("shop")], &Lodging::Untold, NotYet);
    check_in_pod(&[ports(81, 81)], &[namespace("shop")], &Lodging::Untold, No);
    check_in_pod(&[], &[], &Lodging::Untold, Yes);
    check_in_pod(&[namespace("*")], &[], &Lodging::Outside, No);
    check_in_pod(&[], &[namespace("*")], &Lodging::Outside, Yes);
}

#[test]
fn a_pod_s_own_word_is_stronger_than_selectors_and_weaker_than_exclusions() {
    use Answer::{No, Yes};
    check_in_pod(&[ports(81, 81)], &[], &lodging("true"), Yes);
    check_in_pod(&[ports(80, 80)], &[], &lodging("false"), No);
    check_in_pod(&[], &[], &lodging("false"), No);
    check_in_pod(&[], &[ports(80, 80)], &lodging("true"), No);
    let collector = candidate("/usr/bin/otelcol", "", &[]);
    let judge = Judge::new(&Selection::default(), 1).expect("no globs");
    assert_eq!(judge.selects(&collector, &lodging("true")), Yes);
    assert_eq!(judge.selects(&collector, &lodging("")), No);
}

#[test]
fn a_port_alone_is_not_enough_where_the_pod_is_asked_for() {
    let rule = Selector { open_ports: ports(80, 80).open_ports, ..namespace("shop") };
    let judge = Judge::new(&Selection { include: vec![rule], ..Selection::default() }, 1).expect("globs");
    assert_eq!(judge.ports().map(|(_, watch)| watch).collect::<Vec<_>>(), [Watch::Undecided]);
}
