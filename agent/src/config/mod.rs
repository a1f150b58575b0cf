// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the user asked for, as the stages read it.
//!
//! In: arguments, environment and a YAML file, by [`read()`]. Out: a typed [`Config`] and the command to run, or every problem
//! with its place. `options.rs` is the one table that all of it follows. Nothing here acts on the configuration.

mod command_line;
mod environment;
mod file;
mod nearest;
mod options;
mod otlp;
mod pairs;
mod patterns;
mod pod_conditions;
mod problem;
mod read;
mod reference;
mod report;
mod resolve;
mod selectors;
mod settings;
#[cfg(test)]
mod tests;
mod values;
pub(crate) mod yaml;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use pod_conditions::{PodCondition, PodField};
pub use problem::{ConfigError, Origin, Place, Problem, Warning};
pub use read::{Command, Invocation, read};
pub use reference::{manual, options_page};
pub use report::CheckReport;
pub use values::Refusal;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub selection: Selection,
    pub print: Print,
    /// Absent: nothing is sent.
    pub otlp: Option<OtlpConfig>,
    pub service_name: Option<String>,
    pub service_namespace: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`, in the order given.
    pub resource_attributes: Vec<(String, String)>,
    pub sampler: SamplerConfig,
    pub batch: BatchConfig,
    /// `OTEL_SDK_DISABLED`: everything runs, nothing is printed or sent.
    pub disabled: bool,
    pub backend: BackendChoice,
    /// Whether libraries are probed for what is said under TLS.
    pub reads_tls: bool,
    /// Absent: off.
    pub admin: Option<SocketAddr>,
    pub log: String,
    pub shutdown_timeout: Duration,
    /// Bytes of the kernel's ring buffer: a power of two of at least one page.
    pub ring_bytes: u32,
    pub kubernetes: KubernetesConfig,
}

/// Whether and how the cluster is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesConfig {
    pub mode: KubernetesMode,
    pub kubeconfig: Option<PathBuf>,
    /// Absent: found out.
    pub node_name: Option<String>,
    pub cluster_name: Option<String>,
    pub rights: KubernetesRights,
}

/// How much the API server is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubernetesRights {
    /// The pods of this node.
    #[default]
    Node,
    /// Services and their endpoints as well, of the whole cluster.
    Cluster,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubernetesMode {
    /// In a pod, and where a kubeconfig is named.
    Auto,
    On,
    #[default]
    Off,
}

/// Which processes are watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Any of these selects; none at all selects every process but Onlooker itself, collectors and system daemons.
    pub include: Vec<Selector>,
    /// Any of these refuses, whatever else selects.
    pub exclude: Vec<Selector>,
    /// These processes and their children, through every exec.
    pub pids: Vec<u32>,
}

/// All of its parts must match; a part that is absent matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    pub open_ports: Vec<PortRange>,
    /// Glob on the executable's path.
    pub executable: Option<String>,
    /// Glob on the command line, its arguments joined by spaces.
    pub command_line: Option<String>,
    pub containers_only: bool,
    /// Conditions on the process's pod; one that is in none matches none of them.
    pub pod: Vec<PodCondition>,
    /// Name that the spans of these processes get.
    pub service_name: Option<String>,
    pub service_namespace: Option<String>,
}

/// Both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Print {
    Tree,
    OtlpJson,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    Auto,
    Fentry,
    Kprobe,
    Syscall,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OtlpConfig {
    /// Where traces go, whole: for HTTP with its path.
    pub traces_endpoint: String,
    pub protocol: OtlpProtocol,
    pub headers: Vec<(String, String)>,
    pub timeout: Duration,
    pub gzip: bool,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    Grpc,
    HttpProtobuf,
}

/// `OTEL_TRACES_SAMPLER`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SamplerConfig {
    AlwaysOn,
    AlwaysOff,
    TraceIdRatio(f64),
    ParentBasedAlwaysOn,
    ParentBasedAlwaysOff,
    ParentBasedTraceIdRatio(f64),
}

/// `OTEL_BSP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    pub schedule_delay: Duration,
    pub export_timeout: Duration,
    /// Spans that wait; more are dropped and counted.
    pub max_queue_size: usize,
    /// Spans in one request.
    pub max_export_batch_size: usize,
}
