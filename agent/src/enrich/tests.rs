// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Resources of invented processes, whole, and how long they are remembered.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use super::{
    kubernetes::{Change, ClusterDomain, Container, Owner, Pod, Service},
    *,
};
use crate::{
    config::{BackendChoice, BatchConfig, KubernetesConfig, Print, SamplerConfig, Selection},
    ledger::{Family, Ledger},
    spans::{Attribute, Kind, Sampled, Span, SpanId, Status, TraceId, Value},
};

/// Processes that the test lets appear and end.
#[derive(Clone, Default)]
struct Invented(Rc<RefCell<HashMap<u32, ProcessFacts>>>);

impl FactSource for Invented {
    fn host(&mut self) -> HostFacts {
        HostFacts { name: "box".to_owned(), id: Some("m1".to_owned()) }
    }

    fn process(&mut self, tgid: u32) -> Option<ProcessFacts> {
        self.0.borrow().get(&tgid).cloned()
    }
}

fn config() -> Config {
    Config {
        selection: Selection::default(),
        print: Print::None,
        otlp: None,
        service_name: None,
        service_namespace: None,
        resource_attributes: Vec::new(),
        sampler: SamplerConfig::AlwaysOn,
        batch: BatchConfig {
            schedule_delay: Duration::ZERO,
            export_timeout: Duration::ZERO,
            max_queue_size: 1,
            max_export_batch_size: 1,
        },
        disabled: false,
        backend: BackendChoice::Auto,
        reads_tls: false,
        admin: None,
        log: String::new(),
        shutdown_timeout: Duration::ZERO,
        ring_bytes: 4096,
        kubernetes: KubernetesConfig::default(),
    }
}

fn shop(tgid: u32) -> ProcessFacts {
    ProcessFacts {
        tgid,
        pid_inside: 1,
        start_ticks: 99,
        name: "python3".to_owned(),
        executable: Some("/usr/bin/python3.12".into()),
        command_line: vec!["python3".to_owned(), "shop.py".to_owned()],
        language: Some(Language::Python),
        container_id: Some("c1".to_owned()),
        ..ProcessFacts::default()
    }
}

fn written(resource: &Resource) -> String {
    let line = |attribute: &Attribute| match &attribute.value {
        Value::Text(text) => format!("{}={text}", attribute.key),
        other => format!("{}={other:?}", attribute.key),
    };
    resource.attributes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn enrich(config: &Config, facts: impl IntoIterator<Item = ProcessFacts>) -> (Enrich, Invented) {
    let invented = Invented::default();
    invented.0.borrow_mut().extend(facts.into_iter().map(|facts| (facts.tgid, facts)));
    (Enrich::new(config, invented.clone()), invented)
}

#[test]
fn a_whole_resource() {
    let (mut enrich, _) = enrich(&config(), [shop(42)]);
    let expected = format!(
        "service.name=shop
service.instance.id=m1-42-99
process.pid=Integer(1)
process.executable.name=python3.12
process.runtime.name=cpython
telemetry.sdk.language=python
container.id=c1
host.name=box
host.id=m1
os.type=linux
telemetry.distro.name=onlooker
telemetry.distro.version={}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(written(&Arc::clone(enrich.resource(42))), expected);
}

#[test]
fn a_process_that_could_not_be_looked_at() {
    let (mut enrich, _) = enrich(&config(), []);
    let resource = Arc::clone(enrich.resource(42));
    assert_eq!(resource.service_name(), "unknown_service");
    assert_eq!(
        resource.attributes.iter().find(|found| found.key == "process.pid").map(|found| &found.value),
        Some(&Value::Integer(42))
    );
}

/// Who names a service: each line adds a source that stands above those before it.
#[test]
fn the_order_of_names() {
    let mut config = config();
    let mut facts = shop(42);
    let mut selector = None;
    let name = |config: &Config, facts: &ProcessFacts, selector: Option<&str>| {
        let (mut enrich, _) = enrich(config, [facts.clone()]);
        enrich.handle_process_named(42, selector, None);
        Arc::clone(enrich.resource(42)).service_name().to_owned()
    };
    assert_eq!(name(&config, &facts, selector), "shop");
    config.resource_attributes = vec![("service.name".to_owned(), "by-agents-attributes".to_owned())];
    assert_eq!(name(&config, &facts, selector), "by-agents-attributes");
    facts.resource_attributes = Some("service.name=by-own-attributes,team=a%20b".to_owned());
    assert_eq!(name(&config, &facts, selector), "by-own-attributes");
    facts.service_name = Some("by-own-name".to_owned());
    assert_eq!(name(&config, &facts, selector), "by-own-name");
    selector = Some("by-selector");
    assert_eq!(name(&config, &facts, selector), "by-selector");
    config.service_name = Some("by-option".to_owned());
    assert_eq!(name(&config, &facts, selector), "by-option");
}

#[test]
fn attributes_that_the_user_set() {
    let mut config = config();
    config.service_namespace = Some("market".to_owned());
    config.resource_attributes = vec![
        ("deployment.environment.name".to_owned(), "test".to_owned()),
        ("host.name".to_owned(), "renamed".to_owned()),
    ];
    let facts = ProcessFacts { resource_attributes: Some("team=a%20b".to_owned()), ..shop(42) };
    let (mut enrich, _) = enrich(&config, [facts]);
    let resource = Arc::clone(enrich.resource(42));
    for (key, value) in [
        ("service.namespace", "market"),
        ("deployment.environment.name", "test"),
        ("host.name", "renamed"),
        ("team", "a b"),
    ] {
        assert_eq!(resource.text(key), Some(value));
        assert_eq!(resource.attributes.iter().filter(|attribute| attribute.key == key).count(), 1);
    }
}

#[test]
fn spans_of_one_process_share_a_resource_and_others_have_another() {
    let (mut enrich, _) = enrich(&config(), [shop(42), shop(43)]);
    assert!(Arc::ptr_eq(&Arc::clone(enrich.resource(42)), &Arc::clone(enrich.resource(42))));
    assert_ne!(Arc::clone(enrich.resource(42)).id, Arc::clone(enrich.resource(43)).id);
}

#[test]
fn facts_outlive_their_process_until_its_spans_are_out() {
    let (mut enrich, invented) = enrich(&config(), [shop(42)]);
    enrich.handle_process_seen(42);
    invented.0.borrow_mut().clear();
    enrich.handle_process_exited(42, KernelTime(1));
    enrich.handle_process_exited(7, KernelTime(REMEMBER_NS));
    assert_eq!(Arc::clone(enrich.resource(42)).service_name(), "shop");
    enrich.handle_process_exited(7, KernelTime(REMEMBER_NS + 1));
    assert_eq!(Arc::clone(enrich.resource(42)).service_name(), "unknown_service");
}

#[test]
fn another_program_under_the_same_id_is_looked_at_anew() {
    let (mut enrich, invented) = enrich(&config(), [shop(42)]);
    let before = Arc::clone(enrich.resource(42));
    enrich.handle_process_exited(42, KernelTime(1));
    let other = ProcessFacts { command_line: vec!["python3".to_owned(), "other.py".to_owned()], ..shop(42) };
    invented.0.borrow_mut().insert(42, other);
    enrich.handle_process_seen(42);
    enrich.handle_process_exited(7, KernelTime(2 * REMEMBER_NS));
    let after = Arc::clone(enrich.resource(42));
    assert_eq!((before.service_name(), after.service_name()), ("shop", "other"));
    assert_ne!(before.id, after.id);
}

#[test]
fn the_table_is_bounded_and_the_ended_go_first() {
    let (mut enrich, _) = enrich(&config(), []);
    for tgid in 0..u32::try_from(PROCESSES).expect("small") {
        enrich.handle_process_seen(tgid);
    }
    let kept = Arc::clone(enrich.resource(0));
    enrich.handle_process_exited(9, KernelTime(1));
    for tgid in 10_000..10_010 {
        enrich.handle_process_seen(tgid);
    }
    assert_eq!(enrich.processes.len(), PROCESSES);
    assert!(!enrich.processes.contains_key(&9) && !enrich.processes.contains_key(&1));
    assert!(Arc::ptr_eq(&kept, &Arc::clone(enrich.resource(0))), "what is used stays");
}

const POD: &str = "8d0e1f9a-1111-4222-8333-abcdefabcdef";

fn in_pod(tgid: u32) -> ProcessFacts {
    ProcessFacts { pod_uid: Some(POD.to_owned()), ..shop(tgid) }
}

/// The pod of `in_pod`, made by a Deployment; its second container is `c1`, which the kubelet may not have reported yet.
fn pod(is_reported: bool) -> Pod {
    let pairs =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let container = |name: &str, image: &str, id: Option<&str>| Container {
        name: name.to_owned(),
        image: image.to_owned(),
        id: id.map(str::to_owned),
        is_main: true,
    };
    Pod {
        uid: POD.to_owned(),
        namespace: "market".to_owned(),
        name: "shop-5f7-x".to_owned(),
        node: "n1".to_owned(),
        labels: pairs(&[("pod-template-hash", "5f7")]),
        annotations: pairs(&[("resource.opentelemetry.io/team", "blue")]),
        owner: Some(Owner { kind: "ReplicaSet".to_owned(), name: "shop-5f7".to_owned(), uid: "u1".to_owned() }),
        containers: vec![
            container("proxy", "envoy", None),
            container("web", "registry:5000/shop:1.2", is_reported.then_some("c1")),
        ],
        ..Pod::default()
    }
}

fn in_cluster(facts: impl IntoIterator<Item = ProcessFacts>) -> (Enrich, tokio::sync::mpsc::Sender<News>, Ledger) {
    let (mut enrich, _) = enrich(&config(), facts);
    let (ledger, (changes, taken)) = (Ledger::new(), tokio::sync::mpsc::channel(8));
    let peers = Peers::new(ClusterDomain::default(), &ledger);
    enrich.join_cluster(Pods::new(&ledger), peers, taken, Some("east".to_owned()));
    (enrich, changes, ledger)
}

fn tell(changes: &tokio::sync::mpsc::Sender<News>, pod: Pod) {
    changes.try_send(News::Pod(Change::Seen(Box::new(pod)))).expect("room");
}

#[test]
fn a_whole_resource_of_a_pod() {
    let (mut enrich, changes, _) = in_cluster([in_pod(42)]);
    tell(&changes, pod(true));
    assert!(!enrich.handle_pods().1, "no process is known yet");
    let text = written(enrich.resource(42));
    let found: Vec<&str> = text.lines().take(18).collect();
    let expected = "team=blue
service.name=shop
service.namespace=market
service.version=1.2
service.instance.id=market.shop-5f7-x.web
k8s.cluster.name=east
k8s.namespace.name=market
k8s.pod.name=shop-5f7-x
k8s.pod.uid=8d0e1f9a-1111-4222-8333-abcdefabcdef
k8s.node.name=n1
k8s.deployment.name=shop
k8s.replicaset.name=shop-5f7
k8s.replicaset.uid=u1
k8s.container.name=web
container.image.name=registry:5000/shop
container.image.tags=Texts([\"1.2\"])
process.pid=Integer(1)
process.executable.name=python3.12";
    assert_eq!(found.join("\n"), expected.replace("\\\"", "\""));
    assert_eq!(enrich.standing(42), Standing::Settled);
}

/// Each line adds a source that stands above those before it.
#[test]
fn the_order_of_names_in_a_pod() {
    let name = |pod: &Pod, facts: &ProcessFacts| {
        let (mut enrich, changes, _) = in_cluster([facts.clone()]);
        tell(&changes, pod.clone());
        enrich.handle_pods();
        enrich.resource(42).service_name().to_owned()
    };
    let (mut pod, mut facts) = (Pod { owner: None, ..pod(true) }, in_pod(42));
    assert_eq!(name(&pod, &facts), "shop-5f7-x");
    pod.owner = Some(Owner { kind: "StatefulSet".to_owned(), name: "by-owner".to_owned(), uid: String::new() });
    assert_eq!(name(&pod, &facts), "by-owner");
    for (label, value) in [("app.kubernetes.io/instance", "by-instance"), ("app.kubernetes.io/name", "by-label")] {
        pod.labels.insert(label.to_owned(), value.to_owned());
        assert_eq!(name(&pod, &facts), value);
    }
    pod.annotations.insert("resource.opentelemetry.io/service.name".to_owned(), "by-annotation".to_owned());
    assert_eq!(name(&pod, &facts), "by-annotation");
    facts.service_name = Some("by-itself".to_owned());
    assert_eq!(name(&pod, &facts), "by-itself");
}

#[test]
fn what_is_learnt_later_changes_the_resource_once() {
    let (mut enrich, changes, _) = in_cluster([in_pod(42), shop(43)]);
    let unknown = Arc::clone(enrich.resource(42));
    enrich.resource(43);
    assert_eq!((enrich.standing(42), enrich.standing(43)), (Standing::Awaited, Standing::GivenUp));
    tell(&changes, pod(false));
    assert!(enrich.handle_pods().1);
    assert_eq!(enrich.standing(42), Standing::Awaited, "which container it is, is not known");
    tell(&changes, pod(true));
    assert!(enrich.handle_pods().1);
    let known = Arc::clone(enrich.resource(42));
    assert_eq!((known.text("k8s.container.name"), enrich.standing(42)), (Some("web"), Standing::Settled));
    assert_ne!(known.id, unknown.id);
    tell(&changes, Pod { node: "n1".to_owned(), created: Some(1), ..pod(true) });
    enrich.handle_pods();
    assert!(Arc::ptr_eq(&known, enrich.resource(42)), "it says the same");
}

fn span(tgid: u32) -> Span {
    Span {
        trace_id: TraceId::default(),
        span_id: SpanId::default(),
        parent: None,
        parent_is_remote: false,
        trace_state: None,
        sampled: Sampled::Undecided,
        kind: Kind::Server,
        name: "GET".into(),
        start: crate::moment::WallTime(0),
        end: crate::moment::WallTime(0),
        standing: None,
        attributes: Vec::new(),
        status: Status::Unset,
        tgid,
    }
}

/// A call by process 42, which knows its server by this name and reached it at this port.
fn called(enrich: &mut Enrich, kind: Kind, host: &str, port: i64) -> String {
    let text = |key, text: &str| Attribute { key, value: Value::Text(text.to_owned().into()) };
    let attributes = vec![
        text("server.address", host),
        Attribute { key: "server.port", value: Value::Integer(port) },
        text("network.peer.address", "10.96.0.1"),
    ];
    let mut span = Span { kind, standing: Some(Arc::new(crate::spans::Standing::new(attributes, true))), ..span(42) };
    enrich.complete(&mut span);
    assert_eq!(span.attribute("network.peer.address"), Some(&Value::Text("10.96.0.1".into())), "as it was");
    match span.attribute("server.address") {
        Some(Value::Text(address)) => address.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_name_whom_they_call() {
    let (mut enrich, changes, _) = in_cluster([in_pod(42)]);
    assert_eq!(called(&mut enrich, Kind::Client, "10.96.0.1", 80), "10.96.0.1");
    let service = Service {
        namespace: "market".to_owned(),
        name: "orders".to_owned(),
        addresses: vec![std::net::IpAddr::from([10, 96, 0, 1])],
        is_headless: false,
    };
    changes.try_send(News::Service(Change::Seen(Box::new(service)))).expect("room");
    enrich.handle_pods();
    assert_eq!(called(&mut enrich, Kind::Client, "10.96.0.1", 80), "orders.market");
    assert_eq!(called(&mut enrich, Kind::Client, "::ffff:10.96.0.1", 80), "orders.market");
    assert_eq!(called(&mut enrich, Kind::Client, "orders", 80), "orders", "whose short name it is, is not known");
    assert_eq!(called(&mut enrich, Kind::Client, "orders.market.svc", 80), "orders.market");
    tell(&changes, Pod { addresses: vec![std::net::IpAddr::from([10, 1, 0, 1])], ..pod(true) });
    enrich.handle_pods();
    assert_eq!(called(&mut enrich, Kind::Client, "orders", 80), "orders.market");
    assert_eq!(called(&mut enrich, Kind::Client, "10.1.0.1", 80), "shop-5f7-x.market");
    assert_eq!(called(&mut enrich, Kind::Client, "shop.example.com", 443), "shop.example.com");
    assert_eq!(called(&mut enrich, Kind::Server, "orders", 80), "orders", "a server says what it was asked for");
}

const SECOND: u64 = 1_000_000_000;

/// The pods that spans left with, after this many seconds.
fn left(held: &mut Held, enrich: &mut Enrich, seconds: u64) -> Vec<Option<String>> {
    let mut left = Vec::new();
    let (_, is_news) = enrich.handle_pods();
    held.handle_time(KernelTime(seconds * SECOND), is_news, enrich, &mut |enrich, span| {
        left.push(enrich.resource(span.tgid).text("k8s.pod.name").map(str::to_owned));
    });
    left
}

#[test]
fn spans_wait_for_their_pod() {
    let (mut enrich, changes, ledger) = in_cluster([in_pod(42), shop(43)]);
    let mut held = Held::new(&ledger);
    assert!(held.offer(&span(42), KernelTime(0), &mut enrich));
    assert!(!held.offer(&span(44), KernelTime(0), &mut enrich), "it is in no pod");
    assert_eq!(left(&mut held, &mut enrich, 4), []);
    tell(&changes, pod(true));
    assert_eq!(left(&mut held, &mut enrich, 4), [Some("shop-5f7-x".to_owned())]);
    assert!(!held.offer(&span(42), KernelTime(4 * SECOND), &mut enrich));
    assert_eq!(ledger.snapshot().iter().map(|(_, _, total)| total).sum::<u64>(), 0, "none left without");
}

#[test]
fn spans_whose_pod_is_not_told_leave_without_and_are_counted() {
    let (mut enrich, changes, ledger) = in_cluster([in_pod(42)]);
    let mut held = Held::new(&ledger);
    assert!(held.offer(&span(42), KernelTime(0), &mut enrich));
    assert!(held.offer(&span(42), KernelTime(SECOND), &mut enrich));
    assert_eq!(left(&mut held, &mut enrich, 5), [None, None], "the second one would wait in vain");
    assert!(!held.offer(&span(42), KernelTime(6 * SECOND), &mut enrich));
    let without = |reason| ledger.counter(Family::SpansWithoutPod, &[("reason", reason)]).get();
    assert_eq!((without("late"), without("not_told"), without("no_room")), (2, 1, 0));
    tell(&changes, pod(true));
    enrich.handle_pods();
    assert_eq!(enrich.resource(42).text("k8s.pod.name"), Some("shop-5f7-x"), "and if it is told after all");
    assert_eq!(enrich.standing(42), Standing::Settled);
}
