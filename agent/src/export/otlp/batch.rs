// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One request in the making: encoded spans in, one `ExportTraceServiceRequest` for all their resources out.
//!
//! Everything lies in one buffer in the order of arrival, so that its size is known to the byte and nothing is kept alive
//! by a span that waits. Grouping by resource happens once, when the request is put together.

use rustc_hash::FxHashMap;

use super::{
    encode::{encode_resource, encode_span},
    wire::{Field, Writer, push_varint, varint_len},
};
use crate::{
    enrich::Resource,
    export::{SCHEMA_URL, SCOPE_NAME, SCOPE_VERSION},
    spans::Span,
};

#[derive(Debug, Default)]
pub struct Batch {
    /// Resources and spans, encoded.
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
    groups: Vec<Group>,
    /// By the resource's id: its place in `groups`.
    group_of: FxHashMap<u64, u32>,
    spans: usize,
}

/// The bytes of `buffer` from the end of the piece before to `end`.
#[derive(Debug)]
struct Piece {
    group: u32,
    end: usize,
}

/// One resource. Its first piece is the resource itself, the others are its spans.
#[derive(Debug)]
struct Group {
    resource_bytes: usize,
    span_bytes: usize,
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
        self.buffer.len()
    }

    pub fn push(&mut self, span: &Span, resource: &Resource) {
        let group = *self.group_of.entry(resource.id).or_insert_with(|| {
            let index = u32::try_from(self.groups.len()).expect("a batch has fewer spans than 2³²");
            let start = self.buffer.len();
            encode_resource(resource, &mut self.buffer);
            self.pieces.push(Piece { group: index, end: self.buffer.len() });
            self.groups.push(Group { resource_bytes: self.buffer.len() - start, span_bytes: 0 });
            index
        });
        let start = self.buffer.len();
        encode_span(span, &mut self.buffer);
        self.groups[group as usize].span_bytes += self.buffer.len() - start;
        self.pieces.push(Piece { group, end: self.buffer.len() });
        self.spans += 1;
    }

    /// Gives back what the buffer holds beyond its content; for batches that will wait.
    pub fn shrink(&mut self) {
        self.buffer.shrink_to_fit();
        self.pieces.shrink_to_fit();
    }

    /// Empties it, keeping its memory for the next batch.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.pieces.clear();
        self.groups.clear();
        self.group_of.clear();
        self.spans = 0;
    }

    /// Writes the whole request behind what `out` holds.
    pub fn write_request(&self, out: &mut Vec<u8>) {
        const SCOPE_SPANS: Field = Field::new(2);
        const RESOURCE_SPANS: Field = Field::new(1);
        const RESOURCE_SPANS_SCHEMA_URL: Field = Field::new(3);

        let scope = scope_prefix();
        let mut schema = Vec::new();
        Writer(&mut schema).text(RESOURCE_SPANS_SCHEMA_URL, SCHEMA_URL);

        // Frames first, with room for what goes into them, then each piece to its place: order of arrival within a group.
        let mut places = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let scope_spans = scope.len() + group.span_bytes;
            let resource_spans = group.resource_bytes + 1 + varint_len(scope_spans as u64) + scope_spans + schema.len();
            out.push(RESOURCE_SPANS.delimited_tag());
            push_varint(out, resource_spans as u64);
            let resource_at = out.len();
            out.resize(resource_at + group.resource_bytes, 0);
            out.extend_from_slice(&schema);
            out.push(SCOPE_SPANS.delimited_tag());
            push_varint(out, scope_spans as u64);
            out.extend_from_slice(&scope);
            let spans_at = out.len();
            out.resize(spans_at + group.span_bytes, 0);
            places.push(Place { resource_at: Some(resource_at), spans_at });
        }
        let mut start = 0;
        for piece in &self.pieces {
            let bytes = &self.buffer[start..piece.end];
            let at = places[piece.group as usize].take(bytes.len());
            out[at..at + bytes.len()].copy_from_slice(bytes);
            start = piece.end;
        }
    }
}

/// Where the next piece of a group goes.
struct Place {
    /// Until the resource, which comes first, has been placed.
    resource_at: Option<usize>,
    spans_at: usize,
}

impl Place {
    fn take(&mut self, length: usize) -> usize {
        self.resource_at.take().unwrap_or_else(|| {
            let at = self.spans_at;
            self.spans_at += length;
            at
        })
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
