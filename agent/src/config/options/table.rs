// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rows, in the order in which help and `docs/options.md` show them. Data alone.

use super::{CLUSTER, Key, Kind, NAMING, OUTPUT, Row, SELECTION, row};

/// `true` and `false` are values of `BEYLA_PRINT_TRACES`, which came before the printer.
const PRINTERS: &[(&str, &str)] = &[
    ("text", "tree"),
    ("json", "otlp-json"),
    ("json_indent", "otlp-json"),
    ("disabled", "none"),
    ("true", "tree"),
    ("false", "none"),
];

/// What the other agents' switch says.
const CLUSTER_SWITCH: &[(&str, &str)] = &[("true", "on"), ("false", "off"), ("autodetect", "auto")];

pub(in crate::config) const TABLE: &[Row] = &[
    Row {
        flag: Some("config"),
        aliases: &["OTEL_EBPF_CONFIG_PATH", "BEYLA_CONFIG_PATH"],
        value: "FILE",
        ..row(
            Key::Config,
            Kind::One,
            "ONLOOKER_CONFIG",
            "",
            "YAML file to read; flags and the environment are stronger",
        )
    },
    Row {
        flag: Some("open-port"),
        aliases: &["OTEL_EBPF_OPEN_PORT", "BEYLA_OPEN_PORT"],
        value: "PORTS",
        group: SELECTION,
        ..row(
            Key::OpenPort,
            Kind::List,
            "ONLOOKER_OPEN_PORT",
            "open_port",
            "Watch processes that listen on one of these ports, such as 80,443,8000-8999. \
             With --exe both must match. With no selector at all, every process is watched but Onlooker itself, \
             collectors and the system's own daemons",
        )
    },
    Row {
        flag: Some("exe"),
        aliases: &[
            "OTEL_EBPF_AUTO_TARGET_EXE",
            "BEYLA_AUTO_TARGET_EXE",
            "OTEL_EBPF_EXECUTABLE_PATH",
            "BEYLA_EXECUTABLE_PATH",
            "BEYLA_EXECUTABLE_NAME",
        ],
        file_aliases: &["auto_target_exe", "executable_path", "executable_name"],
        value: "GLOB",
        group: SELECTION,
        ..row(
            Key::Exe,
            Kind::List,
            "ONLOOKER_EXE",
            "exe",
            "Watch processes whose executable's path matches this glob, such as `*/server` or `/opt/{shop,pay}/*`",
        )
    },
    Row {
        flag: Some("pid"),
        aliases: &["OTEL_EBPF_TARGET_PID", "BEYLA_TARGET_PID"],
        file_aliases: &["target_pid", "target_pids"],
        value: "PIDS",
        group: SELECTION,
        ..row(
            Key::Pid,
            Kind::List,
            "ONLOOKER_PID",
            "pid",
            "Watch these processes and their children, through every exec",
        )
    },
    Row {
        flag: Some("print"),
        aliases: &["OTEL_EBPF_TRACE_PRINTER", "BEYLA_TRACE_PRINTER", "BEYLA_PRINT_TRACES"],
        alias_values: PRINTERS,
        file_aliases: &["trace_printer", "print_traces"],
        value: "HOW",
        group: OUTPUT,
        ..row(
            Key::Print,
            Kind::Choice,
            "ONLOOKER_PRINT",
            "print",
            "Print spans to stdout: tree, a waterfall a person reads; otlp-json, one OTLP/JSON object a line; none. \
             Default: tree where no endpoint is set, else none",
        )
    },
    Row {
        flag: Some("endpoint"),
        file_aliases: &["otel_traces_export.endpoint"],
        value: "URL",
        group: OUTPUT,
        ..row(
            Key::Endpoint,
            Kind::Address,
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "otlp.endpoint",
            "Send spans to this OTLP endpoint; /v1/traces is added for http",
        )
    },
    Row {
        flag: Some("traces-endpoint"),
        value: "URL",
        group: OUTPUT,
        ..row(
            Key::TracesEndpoint,
            Kind::Address,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "otlp.traces_endpoint",
            "Send spans to exactly this URL",
        )
    },
    Row {
        value: "URL",
        group: OUTPUT,
        file_aliases: &["otel_metrics_export.endpoint"],
        ..row(
            Key::MetricsEndpoint,
            Kind::Address,
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "otlp.metrics_endpoint",
            "Read and not used: metrics are on /metrics of the admin address",
        )
    },
    Row {
        flag: Some("protocol"),
        file_aliases: &["otel_traces_export.protocol"],
        value: "NAME",
        group: OUTPUT,
        ..row(
            Key::Protocol,
            Kind::Choice,
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "otlp.protocol",
            "grpc or http/protobuf. Default: grpc for port 4317, else http/protobuf",
        )
    },
    Row {
        value: "NAME",
        group: OUTPUT,
        ..row(
            Key::TracesProtocol,
            Kind::Choice,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "otlp.traces_protocol",
            "The same, for traces alone",
        )
    },
    Row {
        flag: Some("headers"),
        value: "NAME=VALUE,…",
        group: OUTPUT,
        ..row(
            Key::Headers,
            Kind::SecretPairs,
            "OTEL_EXPORTER_OTLP_HEADERS",
            "otlp.headers",
            "Headers of each export request, values percent-encoded; flags can be read by every user of the machine, \
             so give secrets in the environment or the file",
        )
    },
    Row {
        value: "NAME=VALUE,…",
        group: OUTPUT,
        ..row(
            Key::TracesHeaders,
            Kind::SecretPairs,
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "otlp.traces_headers",
            "The same, for traces alone",
        )
    },
    Row {
        flag: Some("timeout"),
        default: Some("10000"),
        value: "TIME",
        group: OUTPUT,
        ..row(
            Key::Timeout,
            Kind::One,
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "otlp.timeout",
            "Longest wait for one export request: milliseconds, or with a unit, such as 10s",
        )
    },
    Row {
        value: "TIME",
        group: OUTPUT,
        ..row(
            Key::TracesTimeout,
            Kind::One,
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "otlp.traces_timeout",
            "The same, for traces alone",
        )
    },
    Row {
        flag: Some("compression"),
        default: Some("none"),
        value: "NAME",
        group: OUTPUT,
        ..row(Key::Compression, Kind::Choice, "OTEL_EXPORTER_OTLP_COMPRESSION", "otlp.compression", "gzip or none")
    },
    Row {
        value: "NAME",
        group: OUTPUT,
        ..row(
            Key::TracesCompression,
            Kind::Choice,
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
            "otlp.traces_compression",
            "The same, for traces alone",
        )
    },
    Row {
        flag: Some("certificate"),
        value: "FILE",
        group: OUTPUT,
        ..row(
            Key::Certificate,
            Kind::One,
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "otlp.certificate",
            "PEM file of the authorities to trust instead of the system's",
        )
    },
    Row {
        value: "FILE",
        group: OUTPUT,
        ..row(
            Key::TracesCertificate,
            Kind::One,
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
            "otlp.traces_certificate",
            "The same, for traces alone",
        )
    },
    Row {
        flag: Some("client-certificate"),
        value: "FILE",
        group: OUTPUT,
        ..row(
            Key::ClientCertificate,
            Kind::One,
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            "otlp.client_certificate",
            "PEM file of the certificate to show to the collector; needs --client-key",
        )
    },
    Row {
        value: "FILE",
        group: OUTPUT,
        ..row(
            Key::TracesClientCertificate,
            Kind::One,
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
            "otlp.traces_client_certificate",
            "The same, for traces alone",
        )
    },
    Row {
        flag: Some("client-key"),
        value: "FILE",
        group: OUTPUT,
        ..row(
            Key::ClientKeyFile,
            Kind::One,
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "otlp.client_key",
            "PEM file of the client certificate's key",
        )
    },
    Row {
        value: "FILE",
        group: OUTPUT,
        ..row(
            Key::TracesClientKeyFile,
            Kind::One,
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
            "otlp.traces_client_key",
            "The same, for traces alone",
        )
    },
    Row {
        flag: Some("insecure"),
        default: Some("false"),
        group: OUTPUT,
        ..row(
            Key::Insecure,
            Kind::Switch,
            "OTEL_EXPORTER_OTLP_INSECURE",
            "otlp.insecure",
            "No TLS for a grpc endpoint that is written without http:// or https://",
        )
    },
    Row {
        group: OUTPUT,
        ..row(
            Key::TracesInsecure,
            Kind::Switch,
            "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
            "otlp.traces_insecure",
            "The same, for traces alone",
        )
    },
    Row {
        flag: Some("service-name"),
        aliases: &["OTEL_EBPF_SERVICE_NAME", "BEYLA_SERVICE_NAME"],
        file_aliases: &["service_name"],
        value: "NAME",
        group: NAMING,
        ..row(
            Key::ServiceName,
            Kind::One,
            "OTEL_SERVICE_NAME",
            "service.name",
            "One name for all that is watched. Default: the process's own OTEL_SERVICE_NAME, pod, container, executable",
        )
    },
    Row {
        flag: Some("service-namespace"),
        aliases: &["OTEL_EBPF_SERVICE_NAMESPACE", "BEYLA_SERVICE_NAMESPACE"],
        file_aliases: &["service_namespace"],
        value: "NAME",
        group: NAMING,
        ..row(
            Key::ServiceNamespace,
            Kind::One,
            "ONLOOKER_SERVICE_NAMESPACE",
            "service.namespace",
            "One service.namespace for all that is watched",
        )
    },
    Row {
        value: "NAME=VALUE,…",
        group: NAMING,
        ..row(
            Key::ResourceAttributes,
            Kind::Pairs,
            "OTEL_RESOURCE_ATTRIBUTES",
            "resource.attributes",
            "Attributes for every resource, values percent-encoded",
        )
    },
    Row {
        default: Some("parentbased_always_on"),
        file_aliases: &["otel_traces_export.sampler.name"],
        value: "NAME",
        group: NAMING,
        ..row(
            Key::Sampler,
            Kind::Choice,
            "OTEL_TRACES_SAMPLER",
            "sampler.name",
            "always_on, always_off, traceidratio, or one of these behind parentbased_",
        )
    },
    Row {
        file_aliases: &["otel_traces_export.sampler.arg"],
        value: "RATIO",
        group: NAMING,
        ..row(
            Key::SamplerArgument,
            Kind::One,
            "OTEL_TRACES_SAMPLER_ARG",
            "sampler.arg",
            "Share of traces kept by traceidratio, 0 to 1. Default: 1",
        )
    },
    Row {
        default: Some("5000"),
        value: "TIME",
        group: OUTPUT,
        ..row(
            Key::BatchDelay,
            Kind::One,
            "OTEL_BSP_SCHEDULE_DELAY",
            "batch.schedule_delay",
            "Longest wait of a span for others to be sent with: milliseconds, or with a unit",
        )
    },
    Row {
        default: Some("30000"),
        value: "TIME",
        group: OUTPUT,
        ..row(
            Key::BatchTimeout,
            Kind::One,
            "OTEL_BSP_EXPORT_TIMEOUT",
            "batch.export_timeout",
            "Longest time for a batch with all its retries: milliseconds, or with a unit",
        )
    },
    Row {
        default: Some("16384"),
        value: "SPANS",
        group: OUTPUT,
        ..row(
            Key::BatchQueue,
            Kind::One,
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "batch.max_queue_size",
            "Spans that wait; more are dropped and counted",
        )
    },
    Row {
        default: Some("2048"),
        value: "SPANS",
        group: OUTPUT,
        ..row(
            Key::BatchSize,
            Kind::One,
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            "batch.max_export_batch_size",
            "Spans in one export request",
        )
    },
    Row {
        default: Some("false"),
        group: OUTPUT,
        ..row(
            Key::Disabled,
            Kind::Switch,
            "OTEL_SDK_DISABLED",
            "disabled",
            "Everything runs and is counted, nothing is printed or sent",
        )
    },
    Row {
        flag: Some("kubernetes"),
        aliases: &["OTEL_EBPF_KUBE_METADATA_ENABLE", "BEYLA_KUBE_METADATA_ENABLE"],
        alias_values: CLUSTER_SWITCH,
        file_aliases: &["attributes.kubernetes.enable"],
        default: Some("auto"),
        value: "WHEN",
        group: CLUSTER,
        ..row(
            Key::Kubernetes,
            Kind::Choice,
            "ONLOOKER_KUBERNETES",
            "kubernetes.enable",
            "Ask Kubernetes which pods the processes are: auto, in a pod and where a kubeconfig is named; on; off",
        )
    },
    Row {
        flag: Some("kubeconfig"),
        file_aliases: &["attributes.kubernetes.kubeconfig_path"],
        value: "FILE",
        group: CLUSTER,
        ..row(
            Key::Kubeconfig,
            Kind::One,
            "KUBECONFIG",
            "kubernetes.kubeconfig",
            "How to reach the API server outside a pod",
        )
    },
    Row {
        flag: Some("node-name"),
        aliases: &["NODE_NAME"],
        value: "NAME",
        group: CLUSTER,
        ..row(
            Key::NodeName,
            Kind::One,
            "ONLOOKER_NODE_NAME",
            "kubernetes.node_name",
            "The node whose pods are watched. Default: that of Onlooker's own pod, or the machine's name",
        )
    },
    Row {
        flag: Some("cluster-name"),
        aliases: &["OTEL_EBPF_KUBE_CLUSTER_NAME", "BEYLA_KUBE_CLUSTER_NAME"],
        file_aliases: &["attributes.kubernetes.cluster_name"],
        value: "NAME",
        group: CLUSTER,
        ..row(
            Key::ClusterName,
            Kind::One,
            "ONLOOKER_CLUSTER_NAME",
            "kubernetes.cluster_name",
            "k8s.cluster.name of every pod's spans",
        )
    },
    Row {
        flag: Some("kubernetes-rights"),
        default: Some("node"),
        value: "WHICH",
        group: CLUSTER,
        ..row(
            Key::KubernetesRights,
            Kind::Choice,
            "ONLOOKER_KUBERNETES_RIGHTS",
            "kubernetes.rights",
            "What it is asked for: node, the pods of this node; cluster, Services and their endpoints too, which name peers",
        )
    },
    Row {
        flag: Some("backend"),
        default: Some("auto"),
        value: "NAME",
        ..row(
            Key::Backend,
            Kind::Choice,
            "ONLOOKER_BACKEND",
            "backend",
            "How calls are captured: auto, fentry, kprobe or syscall",
        )
    },
    Row {
        flag: Some("tls"),
        default: Some("on"),
        value: "WHETHER",
        ..row(
            Key::Tls,
            Kind::Choice,
            "ONLOOKER_TLS",
            "tls",
            "Read what is said under TLS, by probes in the libraries that programs use: on or off",
        )
    },
    Row {
        flag: Some("admin"),
        default: Some("127.0.0.1:9464"),
        value: "ADDRESS",
        ..row(Key::Admin, Kind::One, "ONLOOKER_ADMIN", "admin", "Address of /livez, /readyz and /metrics, or off")
    },
    Row {
        flag: Some("log"),
        aliases: &["OTEL_EBPF_LOG_LEVEL", "BEYLA_LOG_LEVEL"],
        file_aliases: &["log_level"],
        default: Some("info"),
        value: "FILTER",
        ..row(
            Key::Log,
            Kind::One,
            "ONLOOKER_LOG",
            "log",
            "What is logged to stderr: a level, or levels by module, such as `debug,onlooker::capture=trace`",
        )
    },
    Row {
        flag: Some("shutdown-timeout"),
        aliases: &["OTEL_EBPF_SHUTDOWN_TIMEOUT", "BEYLA_SHUTDOWN_TIMEOUT"],
        default: Some("10s"),
        value: "TIME",
        ..row(
            Key::ShutdownTimeout,
            Kind::One,
            "ONLOOKER_SHUTDOWN_TIMEOUT",
            "shutdown_timeout",
            "Longest time to flush what is queued after SIGTERM or SIGINT",
        )
    },
    Row {
        flag: Some("ring-size"),
        default: Some("4MiB"),
        value: "BYTES",
        ..row(
            Key::RingSize,
            Kind::One,
            "ONLOOKER_RING_SIZE",
            "ring_size",
            "Ring buffer between kernel and daemon: a power of two of at least 4KiB. Larger takes more memory under load, \
             smaller loses bursts",
        )
    },
];
