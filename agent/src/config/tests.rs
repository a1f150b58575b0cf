// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the command line, the environment and a file give together: data-only cases over one `read`.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use super::{
    options::{Kind, TABLE},
    *,
};

mod refusals;

/// `ONLOOKER_CONFIG` is set to `o.yaml` where `yaml` is not empty.
fn try_read(arguments: &str, environment: &[(&str, &str)], yaml: &str) -> Result<Invocation, ConfigError> {
    let arguments = std::iter::once("onlooker").chain(arguments.split_whitespace()).map(OsString::from);
    let file = [("ONLOOKER_CONFIG", "o.yaml")];
    let file = file.iter().filter(|_| !yaml.is_empty());
    let environment = environment.iter().chain(file).map(|(name, value)| (OsString::from(name), OsString::from(value)));
    read(arguments, environment, |path| match path == Path::new("o.yaml") {
        true => Ok(yaml.to_owned()),
        false => Err(io::ErrorKind::NotFound.into()),
    })
}

fn config_of(arguments: &str, environment: &[(&str, &str)], yaml: &str) -> Config {
    match try_read(arguments, environment, yaml) {
        Ok(Invocation { command: Command::Run(config), .. }) => *config,
        other => panic!("{arguments} {environment:?} {yaml}: {other:?}"),
    }
}

fn warnings_of(environment: &[(&str, &str)], yaml: &str) -> Vec<String> {
    try_read("", environment, yaml).unwrap().warnings.iter().map(ToString::to_string).collect()
}

fn problems_of(arguments: &str, environment: &[(&str, &str)], yaml: &str) -> String {
    let error = try_read(arguments, environment, yaml).expect_err(arguments);
    assert_eq!(error.exit_status(), 2);
    error.to_string()
}

fn check_text(arguments: &str, environment: &[(&str, &str)], yaml: &str) -> CheckReport {
    match try_read(&format!("check {arguments}"), environment, yaml).unwrap().command {
        Command::Check(report) => report,
        other => panic!("{other:?}"),
    }
}

fn port(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

#[test]
fn with_nothing_given_the_defaults_hold() {
    assert_eq!(
        config_of("", &[], ""),
        Config {
            selection: Selection::default(),
            print: Print::Tree,
            otlp: None,
            service_name: None,
            service_namespace: None,
            resource_attributes: Vec::new(),
            sampler: SamplerConfig::ParentBasedAlwaysOn,
            batch: BatchConfig {
                schedule_delay: Duration::from_secs(5),
                export_timeout: Duration::from_secs(30),
                max_queue_size: 16384,
                max_export_batch_size: 2048,
            },
            disabled: false,
            backend: BackendChoice::Auto,
            reads_tls: true,
            admin: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9464))),
            log: "info".to_owned(),
            shutdown_timeout: Duration::from_secs(10),
            ring_bytes: agent_common::limits::RING_BYTES,
            kubernetes: KubernetesConfig { mode: KubernetesMode::Auto, ..KubernetesConfig::default() },
        }
    );
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let variable = [("ONLOOKER_LOG", "warn")];
    let alias = [("BEYLA_LOG_LEVEL", "ERROR")];
    let both = [("BEYLA_LOG_LEVEL", "ERROR"), ("ONLOOKER_LOG", "warn")];
    let two_aliases = [("BEYLA_LOG_LEVEL", "ERROR"), ("OTEL_EBPF_LOG_LEVEL", "DEBUG")];
    for (arguments, environment, yaml, expected) in [
        ("", &[][..], "", "info"),
        ("", &[], "log: debug", "debug"),
        ("", &[], "log_level: DEBUG", "DEBUG"),
        ("", &[], "log_level: debug\nlog: trace", "trace"),
        ("", &variable, "log: debug", "warn"),
        ("", &alias, "log: debug", "ERROR"),
        ("", &both, "", "warn"),
        ("", &two_aliases, "", "DEBUG"),
        ("", &[("ONLOOKER_LOG", "")], "log: debug", "debug"),
        ("", &[("ONLOOKER_LOG", " ")], "", "info"),
        ("--log trace", &variable, "log: debug", "trace"),
        ("run --log trace", &variable, "", "trace"),
        ("--log trace run", &variable, "", "trace"),
        ("--log=debug,onlooker::capture=trace", &[], "", "debug,onlooker::capture=trace"),
    ] {
        assert_eq!(config_of(arguments, environment, yaml).log, expected, "{arguments} {environment:?} {yaml}");
    }
}

#[test]
fn the_printer() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    for (arguments, environment, yaml, expected) in [
        ("", &[][..], "", Print::Tree),
        ("", &[endpoint], "", Print::None),
        ("--print tree", &[endpoint], "", Print::Tree),
        ("--print none", &[], "", Print::None),
        ("--print otlp-json", &[], "", Print::OtlpJson),
        ("", &[("OTEL_EBPF_TRACE_PRINTER", "text")], "", Print::Tree),
        ("", &[("BEYLA_TRACE_PRINTER", "json")], "", Print::OtlpJson),
        ("", &[("BEYLA_TRACE_PRINTER", "json_indent")], "", Print::OtlpJson),
        ("", &[("BEYLA_TRACE_PRINTER", "disabled")], "", Print::None),
        ("", &[("BEYLA_PRINT_TRACES", "true"), endpoint], "", Print::Tree),
        ("", &[], "print: none", Print::None),
        ("", &[], "trace_printer: json", Print::OtlpJson),
    ] {
        assert_eq!(config_of(arguments, environment, yaml).print, expected, "{arguments} {environment:?} {yaml}");
    }
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

#[test]
fn where_traces_go() {
    use OtlpProtocol::{Grpc, HttpProtobuf};
    let base = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";
    for (arguments, environment, yaml, url, expected) in [
        ("", &[(base, "http://c:4318")][..], "", "http://c:4318/v1/traces", HttpProtobuf),
        ("", &[(base, "http://c:4318/")], "", "http://c:4318/v1/traces", HttpProtobuf),
        ("", &[(base, "https://c/otlp/")], "", "https://c/otlp/v1/traces", HttpProtobuf),
        ("", &[(base, "http://c/a?k=1")], "", "http://c/a/v1/traces?k=1", HttpProtobuf),
        ("", &[(base, "http://c:4317")], "", "http://c:4317", Grpc),
        ("", &[(base, "http://[::1]:4317")], "", "http://[::1]:4317", Grpc),
        ("", &[(base, "c:4317")], "", "https://c:4317", Grpc),
        ("", &[(base, "c:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")], "", "http://c:4317", Grpc),
        ("--insecure", &[(base, "c:4317")], "", "http://c:4317", Grpc),
        ("--insecure=false", &[(base, "c:4317")], "", "https://c:4317", Grpc),
        ("", &[(base, "http://c:9"), (protocol, "grpc")], "", "http://c:9", Grpc),
        ("", &[(base, "http://c:4317"), (protocol, "http/protobuf")], "", "http://c:4317/v1/traces", HttpProtobuf),
        ("", &[(traces, "http://c:4318/x")], "", "http://c:4318/x", HttpProtobuf),
        ("", &[(traces, "http://c:4318")], "", "http://c:4318", HttpProtobuf),
        ("", &[(traces, "http://t:4318/x"), (base, "http://c:4317")], "", "http://t:4318/x", HttpProtobuf),
        ("--endpoint http://f:4318", &[(traces, "http://t:1/x")], "", "http://f:4318/v1/traces", HttpProtobuf),
        ("--traces-endpoint http://f/y", &[(base, "http://t:1/x")], "", "http://f/y", HttpProtobuf),
        ("", &[], "otlp: {endpoint: 'http://c:4317'}", "http://c:4317", Grpc),
        ("", &[], "otel_traces_export:\n  endpoint: http://c:4318", "http://c:4318/v1/traces", HttpProtobuf),
        (
            "",
            &[(protocol, "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"), (base, "http://c:4317")],
            "",
            "http://c:4317/v1/traces",
            HttpProtobuf,
        ),
    ] {
        let otlp = config_of(arguments, environment, yaml).otlp.unwrap();
        assert_eq!(
            (otlp.traces_endpoint.as_str(), otlp.protocol),
            (url, expected),
            "{arguments} {environment:?} {yaml}"
        );
    }
}

#[test]
fn how_traces_are_sent() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4317");
    let otlp = config_of(
        "",
        &[
            endpoint,
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20a, x=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key"),
        ],
        "",
    );
    let headers = vec![("authorization".to_owned(), "Basic a".to_owned()), ("x".to_owned(), "1".to_owned())];
    assert_eq!(
        otlp.otlp.unwrap(),
        OtlpConfig {
            traces_endpoint: "https://c:4317".to_owned(),
            protocol: OtlpProtocol::Grpc,
            headers: headers.clone(),
            timeout: Duration::from_millis(2500),
            gzip: true,
            certificate: Some("/ca".into()),
            client_certificate: Some("/cert".into()),
            client_key: Some("/key".into()),
        }
    );
    let specific = [
        endpoint,
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "c=d"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
    ];
    let otlp = config_of("", &specific, "").otlp.unwrap();
    assert_eq!(otlp.headers, [("c".to_owned(), "d".to_owned())]);
    assert_eq!((otlp.timeout, otlp.gzip), (Duration::from_millis(2), true));
    let otlp = config_of("--timeout 3s --headers e=f --headers g=h", &specific, "").otlp.unwrap();
    assert_eq!((otlp.timeout, otlp.headers.len()), (Duration::from_secs(3), 2));
    let yaml = "otlp:\n  endpoint: http://c:4318\n  headers:\n    Authorization: Basic a\n    x: '1'\n";
    assert_eq!(config_of("", &[], yaml).otlp.unwrap().headers, headers);
}

#[test]
fn names_attributes_and_sampling() {
    let config = config_of("", &[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,service.namespace=n,team=x%20y")], "");
    assert_eq!(config.service_name.as_deref(), Some("a"));
    assert_eq!(config.service_namespace.as_deref(), Some("n"));
    assert_eq!(config.resource_attributes, [("team".to_owned(), "x y".to_owned())]);
    let both = [("OTEL_RESOURCE_ATTRIBUTES", "service.name=a"), ("OTEL_SERVICE_NAME", "b")];
    assert_eq!(config_of("", &both, "").service_name.as_deref(), Some("b"));
    assert_eq!(config_of("", &[("BEYLA_SERVICE_NAME", "c")], "").service_name.as_deref(), Some("c"));
    assert_eq!(config_of("", &[], "service: {name: no}").service_name.as_deref(), Some("no"));
    assert_eq!(config_of("", &[], "service_name: d").service_name.as_deref(), Some("d"));
    for (name, argument, expected) in [
        ("always_on", "", SamplerConfig::AlwaysOn),
        ("always_off", "", SamplerConfig::AlwaysOff),
        ("traceidratio", "0.25", SamplerConfig::TraceIdRatio(0.25)),
        ("traceidratio", "", SamplerConfig::TraceIdRatio(1.0)),
        ("parentbased_always_on", "", SamplerConfig::ParentBasedAlwaysOn),
        ("parentbased_always_off", "", SamplerConfig::ParentBasedAlwaysOff),
        ("parentbased_traceidratio", "0", SamplerConfig::ParentBasedTraceIdRatio(0.0)),
        ("", "", SamplerConfig::ParentBasedAlwaysOn),
    ] {
        let environment = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        assert_eq!(config_of("", &environment, "").sampler, expected, "{name} {argument}");
    }
    assert!(config_of("", &[("OTEL_SDK_DISABLED", "TRUE")], "").disabled);
    let batch = config_of("", &[("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_BSP_SCHEDULE_DELAY", "10")], "").batch;
    assert_eq!((batch.max_queue_size, batch.max_export_batch_size), (100, 100));
    assert_eq!(batch.schedule_delay, Duration::from_millis(10));
}

#[test]
fn running() {
    for (text, expected) in [("4096", 4096), ("64KiB", 65536), ("8MiB", 8 << 20), ("1G", 1 << 30), ("16 mib", 16 << 20)]
    {
        assert_eq!(config_of("", &[("ONLOOKER_RING_SIZE", text)], "").ring_bytes, expected, "{text}");
    }
    for (text, expected) in [("1500ms", 1500), ("1m30s", 90_000), ("2s", 2000), ("0s", 0)] {
        let time = config_of(&format!("--shutdown-timeout {text}"), &[], "").shutdown_timeout;
        assert_eq!(time, Duration::from_millis(expected), "{text}");
    }
    assert_eq!(config_of("--admin off", &[], "").admin, None);
    assert_eq!(config_of("--admin [::1]:80", &[], "").admin, Some("[::1]:80".parse().unwrap()));
    assert_eq!(config_of("--backend syscall", &[], "").backend, BackendChoice::Syscall);
}

#[test]
fn names_of_the_other_agents_without_meaning_are_warnings() {
    for (name, value, expected) in [
        ("BEYLA_METRICS_FEATURES", "x", Some("BEYLA_METRICS_FEATURES has no meaning")),
        ("OTEL_EBPF_KUBE_RECONNECT_INITIAL_INTERVAL", "5s", Some("has no meaning")),
        ("BEYLA_OPN_PORT", "80", Some("did you mean `BEYLA_OPEN_PORT`?")),
        ("OTEL_EXPORTER_OTLP_ENDPONT", "x", Some("did you mean `OTEL_EXPORTER_OTLP_ENDPOINT`?")),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c:4318/v1/metrics", Some("metrics are not sent yet")),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5", Some("the sampler parentbased_always_on takes no ratio")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317", Some("so TLS is used")),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "x", None),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "x", None),
        ("OTEL_PROPAGATORS", "b3", None),
        ("BEYLA_METRICS_FEATURES", "", None),
        ("PATH", "/bin", None),
    ] {
        let warnings = warnings_of(&[(name, value)], "");
        match expected {
            Some(part) => assert!(warnings.len() == 1 && warnings[0].contains(part), "{name}: {warnings:?}"),
            None => assert_eq!(warnings, [""; 0], "{name}"),
        }
    }
}

#[test]
fn variables_of_a_kubernetes_service_called_onlooker_are_nobodys_mistake() {
    for (name, value) in [
        ("ONLOOKER_SERVICE_HOST", "10.0.0.1"),
        ("ONLOOKER_SERVICE_PORT", "9464"),
        ("ONLOOKER_SERVICE_PORT_METRICS", "9464"),
        ("ONLOOKER_PORT", "tcp://10.0.0.1:9464"),
        ("ONLOOKER_PORT_9464_TCP", "tcp://10.0.0.1:9464"),
        ("ONLOOKER_PORT_9464_TCP_ADDR", "10.0.0.1"),
        ("ONLOOKER_UI_SERVICE_HOST", "10.0.0.1"),
    ] {
        assert_eq!(warnings_of(&[(name, value)], ""), [""; 0], "{name}");
    }
    assert!(problems_of("", &[("ONLOOKER_OPN_PORT", "80")], "").contains("`ONLOOKER_OPEN_PORT`"));
}

#[test]
fn a_file_of_another_agent_is_read_with_warnings() {
    let yaml = "
log_level: DEBUG
trace_printer: text
channel_buffer_len: 33
ebpf:
  wakeup_len: 100
routes: {unmatched: heuristic}
discovery:
  poll_interval: 5s
  instrument:
    - exe_path: '*/server'
      routes: {}
otel_traces_export:
  endpoint: http://c:4318
  reporters_cache_len: 2
";
    let config = config_of("", &[], yaml);
    assert_eq!((config.log.as_str(), config.print), ("DEBUG", Print::Tree));
    let warnings = warnings_of(&[], yaml);
    let keys: Vec<&str> = warnings.iter().filter_map(|warning| warning.split('`').nth(1)).collect();
    assert_eq!(
        keys,
        [
            "channel_buffer_len",
            "ebpf",
            "routes",
            "discovery.poll_interval",
            "routes",
            "otel_traces_export.reporters_cache_len"
        ]
    );
}

#[test]
fn check_names_the_source_of_every_value() {
    let environment = [
        ("BEYLA_OPEN_PORT", "80"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@c:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2"),
    ];
    let report = check_text("--print tree", &environment, "service:\n  name: shop\n");
    assert_eq!(report.exit_status, 0);
    let squeezed: Vec<String> =
        report.text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "--open-port 80 environment BEYLA_OPEN_PORT (an alias of --open-port)",
        "--print tree --print",
        "--endpoint http://***@c:4318 environment OTEL_EXPORTER_OTLP_ENDPOINT",
        "--headers authorization=*** environment OTEL_EXPORTER_OTLP_HEADERS",
        "--service-name shop o.yaml:2:3",
        "--admin 127.0.0.1:9464 default",
        "spans go to http://***@c:4318/v1/traces by http/protobuf",
        "watched: listens on 80",
    ] {
        assert!(squeezed.iter().any(|known| known == line), "{line} in\n{}", report.text);
    }
    assert!(!report.text.contains("hunter2"), "{}", report.text);
}

#[test]
fn check_tells_problems_and_ends_with_2() {
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://user:hunter2@c"), ("BEYLA_FOO_BAR", "x")];
    let report = check_text("", &environment, "prnt: x\n");
    assert_eq!(report.exit_status, 2);
    for part in ["problem: o.yaml:1:1", "problem: environment OTEL", "warning: environment BEYLA_FOO_BAR", "2 problems"]
    {
        assert!(report.text.contains(part), "{part} in\n{}", report.text);
    }
    assert!(!report.text.contains("hunter2"), "{}", report.text);
}

#[test]
fn commands() {
    let command = |arguments: &str| try_read(arguments, &[], "").unwrap().command;
    let kubernetes = KubernetesConfig { mode: KubernetesMode::Auto, ..KubernetesConfig::default() };
    let doctor = |json, pids| Command::Doctor { json, pids, kubernetes: kubernetes.clone() };
    assert_eq!(command("doctor --json"), doctor(true, vec![]));
    assert_eq!(command("doctor --pid 7,9"), doctor(false, vec![7, 9]));
    // What is wrong with the rest is for `check` to say.
    let environment = [("ONLOOKER_KUBERNETES_RIGHTS", "cluster"), ("ONLOOKER_BACKEND", "none such")];
    let asked = try_read("doctor", &environment, "").unwrap().command;
    assert!(matches!(asked, Command::Doctor { kubernetes, .. } if kubernetes.rights == KubernetesRights::Cluster));
    assert!(matches!(command("record /tmp/x --pid 1"), Command::Record { file, config }
        if file == Path::new("/tmp/x") && config.selection.pids == [1]));
    assert!(matches!(command("--print none replay x"), Command::Replay { file, config }
        if file == Path::new("x") && config.print == Print::None));
    for (arguments, part) in [
        ("--help", "--open-port"),
        ("-h", "--ring-size"),
        ("--version", env!("CARGO_PKG_VERSION")),
        ("check --help", "--print"),
        ("man", ".TH"),
        ("completions bash", "_onlooker"),
        ("completions zsh", "#compdef onlooker"),
        ("options-page", "# Options"),
    ] {
        assert!(matches!(command(arguments), Command::Print(text) if text.contains(part)), "{arguments}");
    }
    // A broken configuration must not keep the doctor away.
    assert!(try_read("doctor", &[("ONLOOKER_FOO", "x")], "").is_ok());
}

#[test]
fn the_parser_is_sound() {
    command_line::parser().debug_assert();
}

#[test]
fn names_in_the_table_are_unique_and_complete() {
    let mut names: Vec<&str> = Vec::new();
    for row in TABLE {
        assert_eq!(options::Row::of(row.key).environment, row.environment);
        names.extend(row.flag);
        names.push(row.environment);
        names.extend(row.aliases);
        names.extend([row.file].iter().filter(|file| !file.is_empty()));
        names.extend(row.file_aliases);
        assert!(!row.help.is_empty() && !row.help.ends_with('.'), "{}", row.environment);
        assert!(row.kind != Kind::Switch || row.default == Some("false") || row.environment.contains("TRACES"));
    }
    let flags_and_files = ["config", "exe", "pid", "print", "backend", "admin", "log", "tls"];
    names.sort_unstable();
    let twice: Vec<&str> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(twice.iter().all(|name| flags_and_files.contains(name)), "{twice:?}");
}

#[test]
fn the_options_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/options.md");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == options_page(),
        "docs/options.md is old: `cargo run -p onlooker -- options-page > docs/options.md`"
    );
}
