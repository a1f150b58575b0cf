// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The variables and files of the other agents: what has a meaning here, and what is warned of.

use super::*;

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
