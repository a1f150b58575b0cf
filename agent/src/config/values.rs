// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Texts in, typed values out, or why not and what is allowed. Pure; no file is opened and no name is looked up.

use std::{net::SocketAddr, time::Duration};

use env_filter::Builder as LogFilter;

use super::{BackendChoice, KubernetesMode, KubernetesRights, OtlpProtocol, PortRange, Print, nearest::nearest};

/// Why a text is no value of an option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("allowed are {}{}", allowed.join(", "), meant(nearest.as_deref()))]
    NotOneOf { allowed: &'static [&'static str], nearest: Option<String> },
    #[error("a whole number from {least} to {most} is allowed")]
    NotANumber { least: u64, most: u64 },
    #[error("`{part}` is no port; allowed are ports from 1 to 65535 and ranges of them, such as 80,443,8000-8999{}", meant(nearest.as_deref()))]
    NotAPort { part: String, nearest: Option<String> },
    #[error("`{part}` is no process id; allowed are numbers from 1 to 4194304, separated by commas")]
    NotAProcess { part: String },
    #[error("the glob `{part}` has an unclosed `{open}`")]
    NotAGlob { part: String, open: char },
    #[error("an empty text is not allowed")]
    Empty,
    #[error("a ratio from 0 to 1 is allowed, such as 0.25")]
    NotARatio,
    #[error("a time is allowed, such as {example}")]
    NotATime { example: &'static str },
    #[error("a power of two from 4KiB to 1GiB is allowed{}", meant(nearest.as_deref()))]
    NotARingSize { nearest: Option<String> },
    #[error("an IP address with a port is allowed, such as 127.0.0.1:9464, or off{}", meant(nearest.as_deref()))]
    NotAnAddress { nearest: Option<String> },
    #[error("`{part}` is no log filter; allowed are off, error, warn, info, debug, trace, and these by module, such as debug,onlooker::capture=trace{}", meant(*nearest))]
    NotALogFilter { part: String, nearest: Option<&'static str> },
    #[error("pair {number} is not of the form name=value, with the value percent-encoded")]
    NotAPair { number: usize },
    #[error("the name or the value of pair {number} cannot stand in a header")]
    NotAHeader { number: usize },
    #[error("a URL with a host is allowed, such as {example}")]
    NotAUrl { example: &'static str },
    #[error("the scheme must be http or https")]
    NotAScheme,
    #[error(
        "only simple regular expressions can be read as a glob (letters, `.*`, `^`, `$`, `|`): write a glob under discovery.instrument instead"
    )]
    NotASimplePattern,
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; perhaps `{name}` is meant"))
}

/// The value that has this name, whatever its case.
fn named<T: Copy>(text: &str, allowed: &'static [&'static str], values: &[T]) -> Result<T, Refusal> {
    match allowed.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        Some(index) => Ok(values[index]),
        None => Err(Refusal::NotOneOf { allowed, nearest: nearest(text, allowed.iter().copied()).map(str::to_owned) }),
    }
}

pub(super) fn print(text: &str) -> Result<Print, Refusal> {
    named(text, &["tree", "otlp-json", "none"], &[Print::Tree, Print::OtlpJson, Print::None])
}

pub(super) fn backend(text: &str) -> Result<BackendChoice, Refusal> {
    use BackendChoice::{Auto, Fentry, Kprobe, Syscall};
    named(text, &["auto", "fentry", "kprobe", "syscall"], &[Auto, Fentry, Kprobe, Syscall])
}

pub(super) fn kubernetes(text: &str) -> Result<KubernetesMode, Refusal> {
    named(text, &["auto", "on", "off"], &[KubernetesMode::Auto, KubernetesMode::On, KubernetesMode::Off])
}

pub(super) fn kubernetes_rights(text: &str) -> Result<KubernetesRights, Refusal> {
    named(text, &["node", "cluster"], &[KubernetesRights::Node, KubernetesRights::Cluster])
}

pub(super) fn on_or_off(text: &str) -> Result<bool, Refusal> {
    named(text, &["on", "off"], &[true, false])
}

pub(super) fn protocol(text: &str) -> Result<OtlpProtocol, Refusal> {
    named(text, &["grpc", "http/protobuf"], &[OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf])
}

/// Whether to compress.
pub(super) fn compression(text: &str) -> Result<bool, Refusal> {
    named(text, &["gzip", "none"], &[true, false])
}

pub(super) fn switch(text: &str) -> Result<bool, Refusal> {
    named(text, &["true", "false"], &[true, false])
}

/// Names of the standard samplers, before their ratio is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SamplerName {
    pub parent_based: bool,
    pub root: RootSampler,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootSampler {
    AlwaysOn,
    AlwaysOff,
    TraceIdRatio,
}

pub(super) fn sampler(text: &str) -> Result<SamplerName, Refusal> {
    use RootSampler::{AlwaysOff, AlwaysOn, TraceIdRatio};
    const NAMES: &[&str] = &[
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ];
    let name = |parent_based, root| SamplerName { parent_based, root };
    let values = [AlwaysOn, AlwaysOff, TraceIdRatio];
    let values: Vec<_> =
        [false, true].into_iter().flat_map(|parent_based| values.map(|root| name(parent_based, root))).collect();
    named(text, NAMES, &values)
}

pub(super) fn ratio(text: &str) -> Result<f64, Refusal> {
    text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).ok_or(Refusal::NotARatio)
}

/// Larger: a queue that could not be held in memory is believed to be one. Smaller: large collectors are starved.
const COUNT_LIMIT: u64 = 1_000_000;

pub(super) fn count(text: &str) -> Result<usize, Refusal> {
    let count: Option<u64> = text.parse().ok().filter(|count| (1..=COUNT_LIMIT).contains(count));
    count.and_then(|count| usize::try_from(count).ok()).ok_or(Refusal::NotANumber { least: 1, most: COUNT_LIMIT })
}

/// Milliseconds where there is no unit, as the OpenTelemetry specification says.
pub(super) fn milliseconds(text: &str) -> Result<Duration, Refusal> {
    let refusal = Refusal::NotATime { example: "10000, 10s or 1m30s" };
    match text.parse() {
        Ok(milliseconds) => {
            Some(Duration::from_millis(milliseconds)).filter(|time| *time <= LONGEST_TIME).ok_or(refusal)
        }
        Err(_) => with_unit(text).ok_or(refusal),
    }
}

pub(super) fn time(text: &str) -> Result<Duration, Refusal> {
    with_unit(text).ok_or(Refusal::NotATime { example: "500ms, 10s or 1m30s" })
}

/// Larger: sums with the clock could overflow. Smaller: nobody waits a day.
const LONGEST_TIME: Duration = Duration::from_secs(24 * 60 * 60);

fn with_unit(text: &str) -> Option<Duration> {
    let time: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(time).ok().filter(|time| *time <= LONGEST_TIME)
}

pub(super) fn path(text: &str) -> Result<std::path::PathBuf, Refusal> {
    plain(text).map(Into::into)
}

/// `KUBECONFIG` may list several files: the first is read.
pub(super) fn first_path(text: &str) -> Result<std::path::PathBuf, Refusal> {
    path(text.split(':').find(|part| !part.is_empty()).unwrap_or_default())
}

pub(super) fn plain(text: &str) -> Result<String, Refusal> {
    if text.trim().is_empty() { Err(Refusal::Empty) } else { Ok(text.to_owned()) }
}

/// `off` is no address.
pub(super) fn admin(text: &str) -> Result<Option<SocketAddr>, Refusal> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let refusal = || {
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        let nearest =
            port.map(|port| format!("127.0.0.1:{port}")).or_else(|| nearest(text, ["off"]).map(str::to_owned));
        Refusal::NotAnAddress { nearest }
    };
    text.parse().map(Some).map_err(|_| refusal())
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A lone word that is no level would be taken for a module, and silence everything else: it must look like one.
pub(super) fn log_filter(text: &str) -> Result<String, Refusal> {
    let refusal = |part: &str, nearest| Refusal::NotALogFilter { part: part.to_owned(), nearest };
    if LogFilter::new().try_parse(text).is_err() {
        let level = text.rsplit(['=', ',']).next().unwrap_or_default();
        return Err(refusal(text, nearest(level, LEVELS)));
    }
    for part in text.split('/').next().unwrap_or_default().split(',').map(str::trim) {
        let is_level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
        let is_module = match part.split_once('=') {
            Some((module, _)) => !module.is_empty(),
            None => part.contains("::") || part == "onlooker",
        };
        if !is_level && !is_module {
            return Err(refusal(part, nearest(part, LEVELS)));
        }
    }
    Ok(text.to_owned())
}

pub(super) const RING_LEAST: u64 = 4096;
const RING_MOST: u64 = 1 << 30;

/// Bytes, or KiB, MiB, GiB. The letters alone mean the same: a ring of 8,000,000 bytes does not exist.
pub(super) fn ring_size(text: &str) -> Result<u32, Refusal> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(Refusal::NotARingSize { nearest: None }),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if bytes.is_power_of_two() && (RING_LEAST..=RING_MOST).contains(&bytes) => {
            Ok(u32::try_from(bytes).expect("1 GiB is below 4 GiB"))
        }
        Some(bytes) => {
            let near = bytes.clamp(RING_LEAST, RING_MOST).next_power_of_two();
            let near = if near >= 1 << 20 { format!("{}MiB", near >> 20) } else { format!("{}KiB", near >> 10) };
            Err(Refusal::NotARingSize { nearest: Some(near) })
        }
        None => Err(Refusal::NotARingSize { nearest: None }),
    }
}

pub(super) fn ports(text: &str) -> Result<Vec<PortRange>, Refusal> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err(Refusal::Empty);
    }
    parts.into_iter().map(port_range).collect()
}

fn port_range(part: &str) -> Result<PortRange, Refusal> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let refusal = |nearest| Err(Refusal::NotAPort { part: part.to_owned(), nearest });
    // People write ranges with `:` and `..`, and lists with blanks.
    for (separator, right) in [("..", "-"), (":", "-"), (" - ", "-"), (" ", ","), (";", ",")] {
        let pieces: Vec<&str> = part.split(separator).collect();
        if pieces.len() > 1 && pieces.iter().all(|piece| port(piece).is_some()) {
            return refusal(Some(pieces.join(right)));
        }
    }
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(PortRange { first, last }),
        (Some(first), Some(last)) => refusal(Some(format!("{last}-{first}"))),
        (Some(first), None) if last.parse::<u64>().is_ok_and(|last| last > 65535) => {
            refusal(Some(format!("{first}-65535")))
        }
        _ => refusal(None),
    }
}

/// The kernel's own limit (`PID_MAX_LIMIT`, include/linux/threads.h).
const LARGEST_PID: u32 = 4_194_304;

pub(super) fn pids(text: &str) -> Result<Vec<u32>, Refusal> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err(Refusal::Empty);
    }
    parts
        .into_iter()
        .map(|part| match part.parse() {
            Ok(pid) if (1..=LARGEST_PID).contains(&pid) => Ok(pid),
            _ => Err(Refusal::NotAProcess { part: part.to_owned() }),
        })
        .collect()
}
