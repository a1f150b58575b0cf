// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Trace: exchanges in, spans out, with ids, certain parents and the attributes of the semantic conventions.

mod span;

pub use span::{Attribute, Kind, Sampled, Span, SpanId, Status, TraceId, Value};
