// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One request in the making: encoded spans in, one `ExportTraceServiceRequest` for all their resources out.
//!
//! Each resource has a buffer, in which its spans follow it in the order of arrival: a request is the buffers, one after
//! the other, with a few bytes between. Sizes are known to the byte, and nothing is kept alive by a span that waits.

use rustc_hash::FxHashMap;

use super::{
    encode::{encode_resource, encode_span},
    wire::{Field, Writer, delimited_len},
};
use crate::{
    enrich::Resource,
    export::{SCHEMA_URL, SCOPE_NAME, SCOPE_VERSION},
    spans::Span,
};

/// Bytes of empty buffers that are kept for the next batch. Larger: memory that one busy moment of many services leaves
/// behind. Smaller: busy services allocate for every batch.
const SPARE_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
pub struct Batch {
    groups: Vec<Group>,
    /// By the resource's id: its place in `groups`.
    group_of: FxHashMap<u64, usize>,
    /// The resource of the last span, and its place: mostly that of the next one, too.
    last: Option<(u64, usize)>,
    bytes: usize,
    spans: usize,
    /// Empty buffers of groups that were, for those to come.
    spare: Vec<Vec<u8>>,
}

/// A resource and its spans, encoded.
#[derive(Debug)]
struct Group {
    buffer: Vec<u8>,
    resource_bytes: usize,
}

impl Batch {
    /// Spans in it.
    #[must_use]
    pub const fn spans(&self) -> usize {
        self.spans
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spans == 0
    }

    /// Bytes held, resources included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, span: &Span, resource: &Resource) {
        let index = match self.last {
            Some((id, index)) if id == resource.id => index,
            _ => self.place(resource),
        };
        let buffer = &mut self.groups[index].buffer;
        let before = buffer.len();
        encode_span(span, buffer);
        self.bytes += buffer.len() - before;
        self.spans += 1;
    }

    fn place(&mut self, resource: &Resource) -> usize {
        let index = *self.group_of.entry(resource.id).or_insert_with(|| {
            let mut buffer = self.spare.pop().unwrap_or_default();
            encode_resource(resource, &mut buffer);
            self.bytes += buffer.len();
            self.groups.push(Group { resource_bytes: buffer.len(), buffer });
            self.groups.len() - 1
        });
        self.last = Some((resource.id, index));
        index
    }

    /// Gives back what it holds beyond its content; for batches that will wait.
    pub fn shrink(&mut self) {
        self.spare = Vec::new();
        self.groups.iter_mut().for_each(|group| group.buffer.shrink_to_fit());
    }

    /// Empties it, keeping its memory for the next batch.
    pub fn clear(&mut self) {
        self.group_of.clear();
        self.last = None;
        (self.bytes, self.spans) = (0, 0);
        let buffers = self.groups.drain(..).map(|group| group.buffer).chain(std::mem::take(&mut self.spare));
        let mut kept = 0;
        for mut buffer in buffers {
            buffer.clear();
            kept += buffer.capacity();
            if kept <= SPARE_BYTES {
                self.spare.push(buffer);
            }
        }
    }

    /// The encoded spans of a group.
    #[must_use]
    pub fn spans_of(&self, group: usize) -> &[u8] {
        let Group { buffer, resource_bytes } = &self.groups[group];
        &buffer[*resource_bytes..]
    }

    /// Writes the whole request behind what `out` holds.
    pub fn write_request(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes * 5 / 4);
        self.write_groups(out, |out, _, spans| out.extend_from_slice(spans));
    }

    /// Writes the request but for the spans of each group, which are left to `write_spans`, with the group's number.
    pub fn write_groups(&self, out: &mut Vec<u8>, mut write_spans: impl FnMut(&mut Vec<u8>, usize, &[u8])) {
        const SCOPE_SPANS: Field = Field::new(2);
        const RESOURCE_SPANS: Field = Field::new(1);
        const RESOURCE_SPANS_SCHEMA_URL: Field = Field::new(3);

        let scope = scope_prefix();
        let schema_bytes = delimited_len(SCHEMA_URL.len());
        for (number, group) in self.groups.iter().enumerate() {
            let (resource, spans) = group.buffer.split_at(group.resource_bytes);
            let scope_spans = scope.len() + spans.len();
            let mut writer = Writer(out);
            writer.delimited(RESOURCE_SPANS, resource.len() + schema_bytes + delimited_len(scope_spans));
            writer.0.extend_from_slice(resource);
            writer.text(RESOURCE_SPANS_SCHEMA_URL, SCHEMA_URL);
            writer.delimited(SCOPE_SPANS, scope_spans);
            writer.0.extend_from_slice(&scope);
            write_spans(out, number, spans);
        }
    }
}

/// What every `ScopeSpans` begins with: the scope and the schema.
fn scope_prefix() -> Vec<u8> {
    const SCOPE: Field = Field::new(1);
    const SCHEMA: Field = Field::new(3);
    const NAME: Field = Field::new(1);
    const VERSION: Field = Field::new(2);
    let mut prefix = Vec::with_capacity(80);
    let mut writer = Writer(&mut prefix);
    writer.message::<1>(SCOPE, |scope| {
        scope.text(NAME, SCOPE_NAME);
        scope.text(VERSION, SCOPE_VERSION);
    });
    writer.text(SCHEMA, SCHEMA_URL);
    prefix
}
