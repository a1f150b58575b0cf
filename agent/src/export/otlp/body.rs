// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The body of one request to the collector: the same bytes for every attempt.
//!
//! In: a batch. Out: its request in parts, of which the large ones are the batch's own buffers: nothing is copied to be sent.
//! Does not: compress in parts. A compressed body is one.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::Write as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes};
use flate2::{Compression, write::GzEncoder};
use hyper::body::{Frame, SizeHint};

use super::batch::Batch;

/// Spans of fewer bytes are copied. Larger: more is copied. Smaller: a batch of many services is sent in more parts than it
/// is worth.
const PART_BYTES: usize = 16 * 1024;

/// Flag and length of a gRPC message.
const GRPC_PREFIX_BYTES: usize = 5;

#[derive(Clone, Debug)]
pub struct Body {
    parts: VecDeque<Bytes>,
    left: usize,
}

impl Body {
    #[must_use]
    pub fn of(batch: &Arc<Batch>, gzip: bool) -> Self {
        let parts = if gzip { [compressed(batch)].into() } else { parts(batch) };
        let left = parts.iter().map(Bytes::len).sum();
        Self { parts, left }
    }

    /// As a message of gRPC: behind a flag and its length.
    #[must_use]
    pub fn in_grpc(mut self, gzip: bool) -> Self {
        let mut prefix = Vec::with_capacity(GRPC_PREFIX_BYTES);
        prefix.put_u8(u8::from(gzip));
        prefix.put_u32(u32::try_from(self.left).expect("a batch is a few MiB"));
        self.left += prefix.len();
        self.parts.push_front(prefix.into());
        self
    }
}

/// A group's spans, for as long as anybody reads them.
struct Spans {
    batch: Arc<Batch>,
    group: usize,
}

impl AsRef<[u8]> for Spans {
    fn as_ref(&self) -> &[u8] {
        self.batch.spans_of(self.group)
    }
}

fn parts(batch: &Arc<Batch>) -> VecDeque<Bytes> {
    let (mut parts, mut small) = (VecDeque::new(), Vec::new());
    batch.write_groups(&mut small, |small, group, spans| {
        if spans.len() < PART_BYTES {
            small.extend_from_slice(spans);
        } else {
            parts.push_back(std::mem::take(small).into());
            parts.push_back(Bytes::from_owner(Spans { batch: Arc::clone(batch), group }));
        }
    });
    if !small.is_empty() {
        parts.push_back(small.into());
    }
    parts
}

fn compressed(batch: &Batch) -> Bytes {
    let mut body = Vec::new();
    batch.write_request(&mut body);
    // Spans repeat their keys: even the fastest level leaves about a tenth, and the rest costs several times the CPU.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&body).and_then(|()| encoder.finish()).expect("writing to memory does not fail").into()
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.pop_front();
        self.left -= part.as_ref().map_or(0, Bytes::len);
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::otlp::tests::{resource, span};

    fn whole(body: &Body) -> Vec<u8> {
        assert_eq!(body.left, body.parts.iter().map(Bytes::len).sum::<usize>());
        body.parts.iter().flatten().copied().collect()
    }

    #[test]
    fn the_parts_are_the_request_and_large_ones_are_not_copied() {
        let mut batch = Batch::default();
        for number in 0..500 {
            batch.push(&span(number), &resource(number % 2));
        }
        batch.push(&span(0), &resource(2));
        let mut request = Vec::new();
        batch.write_request(&mut request);
        let batch = Arc::new(batch);
        let body = Body::of(&batch, false);
        assert_eq!(whole(&body), request);
        let own = (0..2).map(|group| batch.spans_of(group).as_ptr());
        assert!(own.clone().all(|place| body.parts.iter().any(|part| part.as_ptr() == place)));
        assert_eq!(body.parts.len(), 5, "the third group is small");

        let grpc = whole(&body.clone().in_grpc(false));
        assert_eq!(grpc[..5], [&[0][..], &(request.len() as u32).to_be_bytes()].concat());
        assert_eq!(grpc[5..], request);

        drop(body);
        assert!(Arc::try_unwrap(batch).is_ok(), "nobody reads it any more");
    }
}
