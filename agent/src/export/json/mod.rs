// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--print otlp-json`: released spans in, one line with one OTLP/JSON `TracesData` object out.
//!
//! The encoding is proto3's JSON mapping with OTLP's exceptions: ids in hex, enums as numbers, 64-bit numbers as
//! decimal strings, lowerCamelCase keys; fields with their default value are left out. The opentelemetry-proto crate
//! can write it too, from a tree of owned strings per span; here the spans are read where they are.

mod encoding;
#[cfg(test)]
mod tests;

use rustc_hash::FxHashMap;

use crate::policy::ReleasedSpan;

use super::{SCHEMA_URL, SCOPE_NAME, SCOPE_VERSION};

use encoding::{ResourceFields, ResourceSpans, Scope, ScopeSpans, SpanFields, TracesData};

/// Appends the line of these spans, its end included; none is no line. One `ResourceSpans` a service instance.
pub fn write_line(line: &mut Vec<u8>, spans: &[ReleasedSpan]) {
    if spans.is_empty() {
        return;
    }
    let mut place_of_resource: FxHashMap<u64, usize> = FxHashMap::default();
    let mut resource_spans: Vec<ResourceSpans<'_>> = Vec::new();
    for released in spans {
        let resource = released.resource();
        let place = *place_of_resource.entry(resource.id).or_insert_with(|| {
            resource_spans.push(ResourceSpans {
                resource: ResourceFields { attributes: &resource.attributes },
                scope_spans: [ScopeSpans {
                    scope: Scope { name: SCOPE_NAME, version: SCOPE_VERSION },
                    spans: Vec::new(),
                    schema_url: SCHEMA_URL,
                }],
                schema_url: SCHEMA_URL,
            });
            resource_spans.len() - 1
        });
        resource_spans[place].scope_spans[0].spans.push(SpanFields(released.span()));
    }
    serde_json::to_writer(&mut *line, &TracesData { resource_spans }).expect("memory takes all that is written");
    line.push(b'\n');
}
