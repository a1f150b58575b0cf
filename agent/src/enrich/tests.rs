// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Resources of invented processes, whole, and how long they are remembered.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use super::*;
use crate::{
    config::{BackendChoice, BatchConfig, Print, SamplerConfig, Selection},
    spans::Value,
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
    let line = |attribute: &crate::spans::Attribute| match &attribute.value {
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
