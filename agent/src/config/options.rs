// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one table of options. From it come the command line, the environment, the aliases, the YAML file, `--help`, the
//! man page, completions, `onlooker check` and `docs/options.md`.
//!
//! A new option is a key, a row in `options/table.rs`, and a line in `resolve.rs` that turns its text into a value. Nothing
//! is read here.

mod table;

pub(super) use table::TABLE;

/// Which option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Config,
    OpenPort,
    Exe,
    Pid,
    Print,
    Endpoint,
    TracesEndpoint,
    MetricsEndpoint,
    Protocol,
    TracesProtocol,
    Headers,
    TracesHeaders,
    Timeout,
    TracesTimeout,
    Compression,
    TracesCompression,
    Certificate,
    TracesCertificate,
    ClientCertificate,
    TracesClientCertificate,
    ClientKeyFile,
    TracesClientKeyFile,
    Insecure,
    TracesInsecure,
    ServiceName,
    ServiceNamespace,
    ResourceAttributes,
    Sampler,
    SamplerArgument,
    BatchDelay,
    BatchTimeout,
    BatchQueue,
    BatchSize,
    Disabled,
    Backend,
    Tls,
    Admin,
    Log,
    ShutdownTimeout,
    RingSize,
    Kubernetes,
    Kubeconfig,
    NodeName,
    ClusterName,
    KubernetesRights,
}

/// How the texts of an option combine, and whether they may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    One,
    /// One of a few names.
    Choice,
    /// Joined by commas: a repeated flag, or a YAML list.
    List,
    /// `name=value` pairs joined by commas, values percent-encoded: a repeated flag, or a YAML mapping.
    Pairs,
    /// As above; the values are never shown.
    SecretPairs,
    /// An address that may carry credentials, which are never shown.
    Address,
    /// The flag alone means `true`.
    Switch,
}

/// One option: every name it has, and what is said of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub key: Key,
    pub kind: Kind,
    /// Without the dashes. Absent where only the environment and the file have it.
    pub flag: Option<&'static str>,
    pub environment: &'static str,
    /// Variables of the other agents, the strongest first.
    pub aliases: &'static [&'static str],
    /// What the other agents' values are called here.
    pub alias_values: &'static [(&'static str, &'static str)],
    /// Path in the YAML file. Empty: not there.
    pub file: &'static str,
    pub file_aliases: &'static [&'static str],
    pub default: Option<&'static str>,
    /// What the value is, in the help.
    pub value: &'static str,
    pub help: &'static str,
    pub group: &'static str,
}

impl Row {
    pub(super) fn of(key: Key) -> &'static Self {
        TABLE.iter().find(|row| row.key == key).expect("a test looks every key up")
    }

    /// What the user calls it: the flag, or else the variable.
    pub(super) fn name(&self) -> String {
        self.flag.map_or_else(|| self.environment.to_owned(), |flag| format!("--{flag}"))
    }
}

pub(super) const SELECTION: &str = "What is watched";
pub(super) const OUTPUT: &str = "Where spans go";
pub(super) const NAMING: &str = "Names and sampling";
pub(super) const CLUSTER: &str = "Kubernetes";
pub(super) const RUNNING: &str = "Running";

const fn row(key: Key, kind: Kind, environment: &'static str, file: &'static str, help: &'static str) -> Row {
    Row {
        key,
        kind,
        flag: None,
        environment,
        aliases: &[],
        alias_values: &[],
        file,
        file_aliases: &[],
        default: None,
        value: "VALUE",
        help,
        group: RUNNING,
    }
}
