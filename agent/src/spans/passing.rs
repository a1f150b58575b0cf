// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Contexts that applications pass on unchanged.
//!
//! In: the requests being served that carried a context. Out: for a call that carries the same one, the request that
//! brought it.
//! Does not: look at timing or threads: the ids are proof enough. Where two requests of a process brought the same
//! context, neither is named.

use rustc_hash::FxHashMap;

use super::{SpanId, open::Record};
use crate::{moment::KernelTime, spans::TraceId};

/// Grows and shrinks with the table of open exchanges.
#[derive(Debug, Default)]
pub struct Passing(FxHashMap<(u32, TraceId, SpanId), Bringers>);

/// The requests being served by one process that brought one context.
#[derive(Debug)]
struct Bringers {
    /// The only one's first byte and span; absent where there have been several.
    only: Option<(KernelTime, SpanId)>,
    requests: u32,
}

impl Passing {
    pub fn handle_request(&mut self, request: &Record) {
        let Some(key) = key(request) else { return };
        let only = Some((request.first, request.span_id));
        let bringers = self.0.entry(key).and_modify(|bringers| bringers.only = None);
        bringers.or_insert(Bringers { only, requests: 0 }).requests += 1;
    }

    pub fn handle_request_end(&mut self, request: &Record) {
        let Some(key) = key(request) else { return };
        if let Some(bringers) = self.0.get_mut(&key) {
            bringers.requests -= 1;
            if bringers.requests == 0 {
                self.0.remove(&key);
            }
        }
    }

    /// The span of the request whose context this call passes on.
    pub fn bringer(&self, call: &Record) -> Option<SpanId> {
        let (began, span_id) = self.0.get(&key(call)?)?.only?;
        (began < call.first).then_some(span_id)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn key(record: &Record) -> Option<(u32, TraceId, SpanId)> {
    record.carried().map(|(trace_id, span_id)| (record.thread.tgid, trace_id, span_id))
}
