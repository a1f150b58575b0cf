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

mod other_agents;
mod refusals;
mod selection;
mod sending;

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
