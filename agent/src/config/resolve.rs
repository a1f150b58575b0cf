// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Settings in, the typed configuration out. Every option is looked at, so that all problems are noted at once.

use std::time::Duration;

use super::{
    BatchConfig, Config, KubernetesConfig, OtlpConfig, Print, SamplerConfig, Selection, Selector,
    options::Key,
    otlp, pairs, patterns,
    problem::{Problem, Warning},
    settings::Settings,
    values::{self, RootSampler},
};

/// Nothing where there is a problem; then the settings hold it.
pub(super) fn resolve(settings: &mut Settings) -> Option<Config> {
    let selection = selection(settings);
    let otlp = otlp::read(settings);
    let print = print(settings, otlp.as_ref());
    let resource_attributes = settings.value(Key::ResourceAttributes, pairs::attributes).unwrap_or_default();
    let service_name = settings.value(Key::ServiceName, values::plain);
    let service_namespace = settings.value(Key::ServiceNamespace, values::plain);
    // The specification: OTEL_SERVICE_NAME is stronger than service.name among the attributes.
    let among =
        |name: &str| resource_attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let service_name = service_name.or_else(|| among("service.name"));
    let service_namespace = service_namespace.or_else(|| among("service.namespace"));
    let is_other = |name: &str| name != "service.name" && name != "service.namespace";
    let resource_attributes = resource_attributes.into_iter().filter(|(name, _)| is_other(name)).collect();
    let sampler = sampler(settings);
    let batch = batch(settings);
    let disabled = settings.value(Key::Disabled, values::switch);
    let backend = settings.value(Key::Backend, values::backend);
    let reads_tls = settings.value(Key::Tls, values::on_or_off);
    let admin = settings.value(Key::Admin, values::admin);
    let log = settings.value(Key::Log, values::log_filter);
    let shutdown_timeout: Option<Duration> = settings.value(Key::ShutdownTimeout, values::time);
    let ring_bytes = settings.value(Key::RingSize, values::ring_size);
    let kubernetes = kubernetes(settings);
    if !settings.problems.is_empty() {
        return None;
    }
    Some(Config {
        selection,
        print: print?,
        otlp,
        service_name,
        service_namespace,
        resource_attributes,
        sampler: sampler?,
        batch: batch?,
        disabled: disabled?,
        backend: backend?,
        reads_tls: reads_tls?,
        admin: admin?,
        log: log?,
        shutdown_timeout: shutdown_timeout?,
        ring_bytes: ring_bytes?,
        kubernetes: kubernetes?,
    })
}

/// Ports and globs given together must both match, as in the other agents; what the file lists is added to them.
fn selection(settings: &mut Settings) -> Selection {
    let open_ports = settings.value(Key::OpenPort, values::ports).unwrap_or_default();
    let executables = settings.value(Key::Exe, patterns::globs).unwrap_or_default();
    let pids = settings.value(Key::Pid, values::pids).unwrap_or_default();
    let mut include: Vec<Selector> = executables
        .into_iter()
        .map(|glob| Selector { open_ports: open_ports.clone(), executable: Some(glob), ..Selector::default() })
        .collect();
    if include.is_empty() && !open_ports.is_empty() {
        include.push(Selector { open_ports, ..Selector::default() });
    }
    include.extend(settings.include.iter().cloned());
    Selection { include, exclude: settings.exclude.clone(), pids }
}

pub(super) fn kubernetes(settings: &mut Settings) -> Option<KubernetesConfig> {
    let mode = settings.value(Key::Kubernetes, values::kubernetes);
    let kubeconfig = settings.value(Key::Kubeconfig, values::first_path);
    let node_name = settings.value(Key::NodeName, values::plain);
    let cluster_name = settings.value(Key::ClusterName, values::plain);
    let rights = settings.value(Key::KubernetesRights, values::kubernetes_rights);
    Some(KubernetesConfig { mode: mode?, kubeconfig, node_name, cluster_name, rights: rights? })
}

fn print(settings: &mut Settings, otlp: Option<&OtlpConfig>) -> Option<Print> {
    match settings.get(Key::Print) {
        Some(_) => settings.value(Key::Print, values::print),
        None => Some(if otlp.is_some() { Print::None } else { Print::Tree }),
    }
}

fn sampler(settings: &mut Settings) -> Option<SamplerConfig> {
    let ratio = settings.value(Key::SamplerArgument, values::ratio);
    let name = settings.value(Key::Sampler, values::sampler)?;
    if name.root != RootSampler::TraceIdRatio
        && let Some(given) = settings.get(Key::SamplerArgument)
    {
        let (origin, given) = (given.origin.clone(), given.text.clone());
        let sampler = settings.get(Key::Sampler).map_or("parentbased_always_on", |given| &given.text).to_owned();
        settings.warnings.push(Warning::SamplerArgumentIgnored { origin, given, sampler });
    }
    // The specification: without an argument the ratio is 1.
    let ratio = ratio.unwrap_or(1.0);
    Some(match (name.parent_based, name.root) {
        (false, RootSampler::AlwaysOn) => SamplerConfig::AlwaysOn,
        (false, RootSampler::AlwaysOff) => SamplerConfig::AlwaysOff,
        (false, RootSampler::TraceIdRatio) => SamplerConfig::TraceIdRatio(ratio),
        (true, RootSampler::AlwaysOn) => SamplerConfig::ParentBasedAlwaysOn,
        (true, RootSampler::AlwaysOff) => SamplerConfig::ParentBasedAlwaysOff,
        (true, RootSampler::TraceIdRatio) => SamplerConfig::ParentBasedTraceIdRatio(ratio),
    })
}

fn batch(settings: &mut Settings) -> Option<BatchConfig> {
    let schedule_delay = settings.value(Key::BatchDelay, values::milliseconds);
    let export_timeout = settings.value(Key::BatchTimeout, values::milliseconds);
    let queue = settings.value(Key::BatchQueue, values::count);
    let batch = settings.value(Key::BatchSize, values::count);
    let (queue, mut batch) = (queue?, batch?);
    if batch > queue {
        // A small queue with the batch left alone is no contradiction of the user's.
        if settings.get(Key::BatchSize).is_some() {
            let origin = settings.origin(Key::BatchSize);
            settings.problems.push(Problem::BatchOverQueue { origin, batch, queue });
        }
        batch = queue;
    }
    Some(BatchConfig {
        schedule_delay: schedule_delay?,
        export_timeout: export_timeout?,
        max_queue_size: queue,
        max_export_batch_size: batch,
    })
}
