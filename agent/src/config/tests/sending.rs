// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where spans go, how they are sent, and what is said of who sends them.

use super::*;

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
