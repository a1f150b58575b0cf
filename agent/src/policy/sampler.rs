// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The standard samplers (OpenTelemetry specification, trace SDK, "Built-in samplers").
//!
//! In: a span's trace id and the flag of the context that its trace came with. Out: yes or no, the same for every span
//! of a trace, here and in every SDK that uses the same ratio.
//! Does not: count, nor look at what the span says.

use crate::{
    config::SamplerConfig,
    spans::{Sampled, Span, TraceId},
};

#[must_use]
pub fn is_sampled(sampler: &SamplerConfig, span: &Span) -> bool {
    // Spans below one of ours inherit its flag: a local parent needs no case of its own.
    let by_parent = |root: bool| match span.sampled {
        Sampled::Yes => true,
        Sampled::No => false,
        Sampled::Undecided => root,
    };
    match *sampler {
        SamplerConfig::AlwaysOn => true,
        SamplerConfig::AlwaysOff => false,
        SamplerConfig::TraceIdRatio(ratio) => within_ratio(span.trace_id, ratio),
        SamplerConfig::ParentBasedAlwaysOn => by_parent(true),
        SamplerConfig::ParentBasedAlwaysOff => by_parent(false),
        SamplerConfig::ParentBasedTraceIdRatio(ratio) => by_parent(within_ratio(span.trace_id, ratio)),
    }
}

/// The upper 63 of the id's lower 64 bits against the ratio: what the SDKs of Go, Rust and C++ do.
fn within_ratio(trace_id: TraceId, ratio: f64) -> bool {
    let TraceId([.., a, b, c, d, e, f, g, h]) = trace_id;
    let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    // A float-to-integer cast saturates: ratios below 0 keep nothing, from 1 on everything.
    ratio >= 1.0 || number < (ratio * (1_u64 << 63) as f64) as u64
}
