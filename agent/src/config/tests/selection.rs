// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is watched, and what is asked of a cluster to know it.

use super::*;

fn port(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

#[test]
fn selection_from_flags_and_variables() {
    let globs = |globs: &[&str], open_ports: &[PortRange]| -> Vec<Selector> {
        let selector = |glob: &&str| Selector {
            executable: Some((*glob).to_owned()),
            open_ports: open_ports.to_vec(),
            ..Selector::default()
        };
        globs.iter().map(selector).collect()
    };
    let ports = |ports: &[PortRange]| vec![Selector { open_ports: ports.to_vec(), ..Selector::default() }];
    for (arguments, environment, yaml, include, pids) in [
        ("--open-port 80", &[][..], "", ports(&[port(80, 80)]), vec![]),
        ("--open-port 80,443,8000-8999", &[], "", ports(&[port(80, 80), port(443, 443), port(8000, 8999)]), vec![]),
        ("--open-port 80 --open-port 443", &[], "", ports(&[port(80, 80), port(443, 443)]), vec![]),
        ("", &[("OTEL_EBPF_OPEN_PORT", "1-65535")], "", ports(&[port(1, 65535)]), vec![]),
        ("", &[("BEYLA_OPEN_PORT", "80")], "", ports(&[port(80, 80)]), vec![]),
        ("", &[], "open_port: 80", ports(&[port(80, 80)]), vec![]),
        ("", &[], "open_port: [80, 443]", ports(&[port(80, 80), port(443, 443)]), vec![]),
        ("--exe */a", &[], "", globs(&["*/a"], &[]), vec![]),
        ("--exe */a,*/b", &[], "", globs(&["*/a", "*/b"], &[]), vec![]),
        ("--exe */a --open-port 80", &[], "", globs(&["*/a"], &[port(80, 80)]), vec![]),
        ("", &[("BEYLA_EXECUTABLE_NAME", "*x*")], "", globs(&["*x*"], &[]), vec![]),
        ("", &[("OTEL_EBPF_AUTO_TARGET_EXE", "*/x")], "", globs(&["*/x"], &[]), vec![]),
        ("", &[], "executable_name: '*x*'", globs(&["*x*"], &[]), vec![]),
        ("--pid 12", &[], "", vec![], vec![12]),
        ("--pid 12,13 --pid 14", &[], "", vec![], vec![12, 13, 14]),
        ("", &[("OTEL_EBPF_TARGET_PID", "12")], "", vec![], vec![12]),
        ("", &[], "pid: [12, 13]", vec![], vec![12, 13]),
    ] {
        let selection = config_of(arguments, environment, yaml).selection;
        assert_eq!(selection, Selection { include, exclude: vec![], pids }, "{arguments} {environment:?} {yaml}");
    }
}

#[test]
fn selectors_from_the_file() {
    let yaml = "
discovery:
  instrument:
    - open_ports: 8080,9000-9001
      exe_path: '*/shop'
      name: shop
      namespace: market
    - cmd_args: '*gunicorn*'
      containers_only: true
    - k8s_namespace: '*'
  exclude_instrument:
    - exe_path: '*/curl'
    - open_ports: [1, 2]
";
    let selection = config_of("--pid 5", &[], yaml).selection;
    let selector = Selector::default;
    assert_eq!(
        selection.include,
        [
            Selector {
                open_ports: vec![port(8080, 8080), port(9000, 9001)],
                executable: Some("*/shop".to_owned()),
                service_name: Some("shop".to_owned()),
                service_namespace: Some("market".to_owned()),
                ..selector()
            },
            Selector { command_line: Some("*gunicorn*".to_owned()), containers_only: true, ..selector() },
            Selector { pod: vec![condition(PodField::Namespace, "*")], ..selector() },
        ]
    );
    assert_eq!(
        selection.exclude,
        [
            Selector { executable: Some("*/curl".to_owned()), ..selector() },
            Selector { open_ports: vec![port(1, 1), port(2, 2)], ..selector() },
        ]
    );
    assert_eq!(selection.pids, [5]);
}

#[test]
fn older_lists_have_patterns_instead_of_globs() {
    let yaml = "discovery:\n  services:\n    - exe_path: server$\n  exclude_services:\n    - exe_path: ^/bin/sh$\n";
    let selection = config_of("", &[], yaml).selection;
    assert_eq!(selection.include[0].executable.as_deref(), Some("*server"));
    assert_eq!(selection.exclude[0].executable.as_deref(), Some("/bin/sh"));
}

fn condition(field: PodField, glob: &str) -> PodCondition {
    PodCondition { field, glob: glob.to_owned() }
}

#[test]
fn conditions_on_pods() {
    let yaml = "
discovery:
  instrument:
    - k8s_namespace: 'shop*'
      k8s_deployment_name: web
      open_ports: 80
      k8s_pod_labels: {app: '{web,api}', tier: front}
  services:
    - k8s_owner_name: ^web
  exclude:
    - k8s_pod_annotations: {team: red}
      k8s_container_name: istio-proxy
";
    let selection = config_of("", &[], yaml).selection;
    let label = |name: &str, glob| condition(PodField::Label(name.to_owned()), glob);
    assert_eq!(
        selection.include,
        [
            Selector {
                open_ports: vec![port(80, 80)],
                pod: vec![
                    condition(PodField::Namespace, "shop*"),
                    condition(PodField::Workload("k8s.deployment.name"), "web"),
                    label("app", "{web,api}"),
                    label("tier", "front"),
                ],
                ..Selector::default()
            },
            Selector { pod: vec![condition(PodField::Owner, "web*")], ..Selector::default() },
        ]
    );
    let red = condition(PodField::Annotation("team".to_owned()), "red");
    let proxy = condition(PodField::Container, "istio-proxy");
    assert_eq!(selection.exclude, [Selector { pod: vec![red, proxy], ..Selector::default() }]);
    assert_eq!(warnings_of(&[], yaml), [""; 0]);
}

#[test]
fn how_the_cluster_is_asked() {
    let of =
        |arguments: &str, environment: &[(&str, &str)], yaml: &str| config_of(arguments, environment, yaml).kubernetes;
    assert_eq!(of("--kubernetes off", &[], "").mode, KubernetesMode::Off);
    assert_eq!(of("", &[("BEYLA_KUBE_METADATA_ENABLE", "true")], "").mode, KubernetesMode::On);
    assert_eq!(of("", &[], "attributes:\n  kubernetes:\n    enable: autodetect\n").mode, KubernetesMode::Auto);
    let given = [("NODE_NAME", "n1"), ("KUBECONFIG", "/a:/b"), ("OTEL_EBPF_KUBE_CLUSTER_NAME", "east")];
    let expected = KubernetesConfig {
        mode: KubernetesMode::Auto,
        kubeconfig: Some("/a".into()),
        node_name: Some("n1".to_owned()),
        cluster_name: Some("east".to_owned()),
        rights: KubernetesRights::Node,
    };
    assert_eq!(of("", &given, ""), expected);
    assert_eq!(of("--kubernetes-rights cluster", &[], "").rights, KubernetesRights::Cluster);
    assert_eq!(of("", &[], "kubernetes:\n  rights: cluster\n").rights, KubernetesRights::Cluster);
    let warnings = warnings_of(&[], "attributes:\n  select: {}\n  kubernetes:\n    drop_external: true\n");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}
