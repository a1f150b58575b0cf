// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is refused at start: each with its place, and with no secret in it.

use std::ffi::OsString;

use super::{problems_of, read};

/// Arguments, environment, file; and what the one problem must say.
#[test]
fn problems_name_the_place_the_value_and_what_is_allowed() {
    for (arguments, environment, yaml, parts) in [
        ("--open-port 0", &[][..], "", &["--open-port cannot be `0`", "1 to 65535"][..]),
        ("--open-port 9000-8000", &[], "", &["perhaps `8000-9000`"]),
        ("--open-port 8000:9000", &[], "", &["perhaps `8000-9000`"]),
        ("--open-port 1-70000", &[], "", &["perhaps `1-65535`"]),
        ("--open-port 80;443", &[], "", &["perhaps `80,443`"]),
        ("--open-port http", &[], "", &["`http` is no port"]),
        ("", &[], "open_port: 99999", &["o.yaml:1:1: --open-port cannot be `99999`"]),
        ("", &[("BEYLA_OPEN_PORT", "x")], "", &["environment BEYLA_OPEN_PORT (an alias of --open-port)"]),
        ("--pid 0", &[], "", &["`0` is no process id"]),
        ("--pid 1,x", &[], "", &["`x` is no process id"]),
        ("--exe [a", &[], "", &["unclosed `[`"]),
        ("--print text", &[], "", &["cannot be `text`", "tree, otlp-json, none"]),
        ("--print tre", &[], "", &["perhaps `tree`"]),
        ("--backend kprobes", &[], "", &["perhaps `kprobe`", "auto, fentry, kprobe, syscall"]),
        ("--admin 9464", &[], "", &["perhaps `127.0.0.1:9464`"]),
        ("--admin :9464", &[], "", &["perhaps `127.0.0.1:9464`"]),
        ("--admin of", &[], "", &["perhaps `off`"]),
        ("--log inof", &[], "", &["`inof` is no log filter", "perhaps `info`"]),
        ("--log debug,onlooker=loud", &[], "", &["no log filter"]),
        ("--shutdown-timeout 10", &[], "", &["such as 500ms, 10s"]),
        ("--shutdown-timeout=-1s", &[], "", &["such as 500ms"]),
        ("--ring-size 10MiB", &[], "", &["power of two", "perhaps `16MiB`"]),
        ("--ring-size 1", &[], "", &["perhaps `4KiB`"]),
        ("--ring-size lots", &[], "", &["power of two"]),
        ("--protocol http/json --endpoint http://c", &[], "", &["grpc, http/protobuf"]),
        ("--endpoint ftp://c", &[], "", &["the scheme must be http or https"]),
        ("--endpoint c:4318", &[], "", &["such as http://localhost:4318"]),
        ("--endpoint http://", &[], "", &["such as http://localhost:4318"]),
        ("--endpoint http://c:99999", &[], "", &["such as http://localhost:4318"]),
        ("--compression zstd", &[], "", &["gzip, none"]),
        ("--timeout soon", &[], "", &["such as 10000, 10s"]),
        ("--headers a", &[], "", &["pair 1 is not of the form name=value"]),
        ("--client-key /k", &[], "", &["a client key is given without its certificate"]),
        ("", &[("OTEL_TRACES_SAMPLER", "always")], "", &["environment OTEL_TRACES_SAMPLER: ", "always_on, always_off"]),
        ("", &[("OTEL_TRACES_SAMPLER_ARG", "2")], "", &["a ratio from 0 to 1"]),
        ("", &[("OTEL_BSP_MAX_QUEUE_SIZE", "-1")], "", &["a whole number from 1 to"]),
        (
            "",
            &[("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "11")],
            "",
            &["larger than the queue"],
        ),
        ("", &[("OTEL_SDK_DISABLED", "yes")], "", &["true, false"]),
        ("", &[("ONLOOKER_PRNT", "tree")], "", &["environment ONLOOKER_PRNT", "did you mean `ONLOOKER_PRINT`?"]),
        ("", &[("ONLOOKER_ENDPOINT", "x")], "", &["did you mean `OTEL_EXPORTER_OTLP_ENDPOINT`?"]),
        ("", &[("ONLOOKER_SERVICE_NAME", "x")], "", &["did you mean `OTEL_SERVICE_NAME`?"]),
        ("", &[("ONLOOKER_XYZZY_PLUGH", "")], "", &["environment ONLOOKER_XYZZY_PLUGH: Onlooker has no such variable"]),
        (
            "",
            &[("ONLOOKER_CONFIG", "gone.yaml")],
            "",
            &["environment ONLOOKER_CONFIG: the file gone.yaml cannot be read"],
        ),
        ("--config gone.yaml", &[], "", &["--config: the file gone.yaml"]),
        ("--config=", &[], "", &["--config has an empty value"]),
        ("", &[], "prnt: tree", &["o.yaml:1:1: there is no key `prnt`: did you mean `print`?"]),
        ("", &[], "otlp:\n  endpiont: x", &["o.yaml:2:3: there is no key `otlp.endpiont`", "`otlp.endpoint`"]),
        ("", &[], "endpoint: x", &["o.yaml:1:1: there is no key `endpoint`: did you mean `otlp.endpoint`?"]),
        ("", &[], "otlp: x", &["`otlp` takes a mapping, and this is a single value"]),
        ("", &[], "log: [a]", &["`log` takes a single value, and this is a list"]),
        ("", &[], "discovery: {instrumnet: []}", &["did you mean `discovery.instrument`?"]),
        ("", &[], "discovery: {instrument: {}}", &["takes a list of selectors"]),
        ("", &[], "discovery: {instrument: [{name: a}]}", &["this selector has no condition"]),
        ("", &[], "discovery: {instrument: [{k8s_namspace: a}]}", &["did you mean `k8s_namespace`?"]),
        ("", &[], "discovery: {instrument: [{k8s_pod_labels: a}]}", &["a mapping of names to values"]),
        ("", &[], "discovery: {instrument: [{k8s_pod_labels: {app: '[a'}}]}", &["unclosed `[`"]),
        ("", &[], "discovery: {exclude: [{k8s_pod_labels: {}}]}", &["this selector has no condition"]),
        ("", &[], "discovery: {instrument: [{open_prts: 1}]}", &["no key `open_prts`: did you mean `open_ports`?"]),
        ("", &[], "discovery: {instrument: [{open_ports: x}]}", &["o.yaml:1:39: open_ports cannot be `x`"]),
        ("", &[], "discovery: {services: [{exe_path: '[a-z]+'}]}", &["write a glob under discovery.instrument"]),
        ("", &[], "a: [", &["this is not YAML"]),
        ("--prnt tree", &[], "", &["there is no option --prnt: did you mean `--print`?", "onlooker --help"]),
        ("--openport 80", &[], "", &["did you mean `--open-port`?"]),
        ("chekc", &[], "", &["there is no command `chekc`: did you mean `check`?"]),
        ("record", &[], "", &["<FILE>", "onlooker --help"]),
        ("--print tree --print none", &[], "", &["cannot be used multiple times", "onlooker --help"]),
        ("--print", &[], "", &["--print", "onlooker --help"]),
        ("completions klingon", &[], "", &["klingon", "bash"]),
    ] {
        let text = problems_of(arguments, environment, yaml);
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in parts {
            assert!(text.contains(part), "{arguments} {environment:?} {yaml}\n  {text}\n  lacks {part}");
        }
    }
}

#[test]
fn text_that_is_not_unicode_is_a_problem() {
    use std::os::unix::ffi::OsStringExt as _;
    let broken = || OsString::from_vec(vec![b'a', 0xff]);
    let environment = [(OsString::from("ONLOOKER_LOG"), broken()), (broken(), broken())];
    let error =
        read([OsString::from("onlooker")].into_iter(), environment.into_iter(), |_| unreachable!()).unwrap_err();
    assert_eq!(error.to_string(), "environment ONLOOKER_LOG: the value is not UTF-8 text");
}

#[test]
fn all_problems_are_told_at_once() {
    let text = problems_of("--print x", &[("ONLOOKER_BACKEND", "y"), ("ONLOOKER_FOO", "z")], "log: '='\nwhat: 1");
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[test]
fn secrets_stand_in_no_problem() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "x:hunter2@"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://u:hunter2@h"),
    ] {
        let text = problems_of("", &[(name, value)], "");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
