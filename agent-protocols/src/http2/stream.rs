// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One stream: a request and its response, as far as they have come.
//!
//! In: what the frames of either side say. Out: how each side ended.
//! Does not: tell messages; `streams` does.

use alloc::boxed::Box;

use super::{
    head::{Body, Head},
    place::Place,
};
use crate::{
    message::{BodyEnd, Rpc},
    rpc::MessageWalk,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

#[derive(Debug)]
pub(super) struct Stream<M> {
    pub(super) id: u32,
    pub(super) request: Half,
    pub(super) response: Half,
    pub(super) response_head: ResponseHead,
    /// Frames were lost that may have been the end of a side that still seems open; where the loss ended.
    pub(super) lost_at: Option<Place<M>>,
    rpc: Option<Box<RpcWalk>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseHead {
    Due,
    Told,
    /// It came, and could not be read.
    Lost,
}

/// One side of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Half {
    pub(super) has_ended: bool,
    body_bytes: u64,
    bytes_lost: bool,
    /// Not all of the body could be counted.
    is_uncounted: bool,
    /// Its end may be among frames that were lost.
    pub(super) may_have_ended: bool,
}

#[derive(Debug, Default)]
struct RpcWalk {
    /// A head has said that this is a call. Else its bodies and its trailers must.
    is_certain: bool,
    requests: MessageWalk,
    responses: MessageWalk,
    status: Option<u32>,
    trailers: Trailers,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trailers {
    #[default]
    Due,
    Known,
    /// With fields that were named before the connection was seen.
    Unknown,
}

impl RpcWalk {
    /// Whether nothing but a call of gRPC looks like this: messages framed as its are, in both bodies, and trailers.
    /// Bias: calls that were cancelled, or refused before a message came back, are told as requests of HTTP.
    fn is_call(&self) -> bool {
        let has_messages = self.requests.messages().is_some_and(|messages| messages.count > 0);
        let is_framed = has_messages && self.requests.is_exact() && self.responses.is_exact();
        self.is_certain || self.status.is_some() || (is_framed && self.trailers != Trailers::Due)
    }
}

impl Half {
    pub(super) fn end(&self) -> BodyEnd {
        let body_bytes = (!self.is_uncounted).then_some(self.body_bytes);
        BodyEnd { body_bytes, bytes_lost: self.bytes_lost }
    }

    /// Given up by its sender. Bytes that were counted and not copied are missed by nobody: what is not known is how many
    /// there would have been.
    pub(super) const fn cut_short(&self) -> BodyEnd {
        BodyEnd { body_bytes: None, bytes_lost: self.is_uncounted }
    }

    pub(super) const fn lose(&mut self) {
        self.bytes_lost = true;
        self.is_uncounted = true;
    }
}

impl<M: Copy> Stream<M> {
    /// `body`: of the request.
    pub(super) fn new(id: u32, body: Body) -> Self {
        let is_certain = body == Body::Rpc;
        let may_be_rpc = is_certain || body == Body::MaybeRpc;
        Self {
            id,
            request: Half::default(),
            response: Half::default(),
            response_head: ResponseHead::Due,
            lost_at: None,
            rpc: may_be_rpc.then(|| Box::new(RpcWalk { is_certain, ..RpcWalk::default() })),
        }
    }

    pub(super) const fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    pub(super) fn read(&mut self, side: Side, bytes: &[u8]) {
        self.half(side).body_bytes += bytes.len() as u64;
        if let Some(walk) = self.walk(side) {
            walk.push(bytes);
        }
    }

    pub(super) fn skip(&mut self, side: Side, length: u64, is_counted: bool) {
        let half = self.half(side);
        half.bytes_lost = true;
        half.body_bytes = half.body_bytes.saturating_add(length);
        half.is_uncounted |= !is_counted;
        if let Some(walk) = self.walk(side) {
            if is_counted { walk.skip(length) } else { walk.lose() }
        }
    }

    /// Frames of this side may have been lost.
    pub(super) fn doubt(&mut self, side: Side, at: Place<M>) {
        let half = self.half(side);
        if !half.has_ended {
            half.may_have_ended = true;
            self.lost_at = Some(at);
        }
    }

    /// A frame of this side has come: it had not ended among those that were lost; but what else was lost?
    pub(super) fn reassure(&mut self, side: Side) {
        let half = self.half(side);
        if core::mem::take(&mut half.may_have_ended) {
            half.lose();
            if let Some(walk) = self.walk(side) {
                walk.lose();
            }
        }
    }

    pub(super) const fn is_doubted(&self) -> bool {
        self.request.may_have_ended || self.response.may_have_ended
    }

    /// A head of the response, or its trailers.
    pub(super) fn note_answer(&mut self, head: &Head, ends_stream: bool) {
        let Some(rpc) = &mut self.rpc else { return };
        let is_first = self.response_head == ResponseHead::Due;
        match head.body {
            Body::Other if is_first && !rpc.is_certain => return self.rpc = None,
            Body::Rpc => rpc.is_certain = true,
            Body::Other | Body::MaybeRpc | Body::Untold => {}
        }
        rpc.status = rpc.status.or(head.grpc_status);
        if ends_stream && head.has_unknown {
            rpc.trailers = Trailers::Unknown;
        } else if ends_stream {
            rpc.trailers = Trailers::Known;
        }
        // A head that ends its stream proves nothing of a body.
        if is_first && !rpc.is_certain {
            rpc.trailers = Trailers::Due;
        }
    }

    pub(super) fn rpc(&self) -> Option<Box<Rpc>> {
        let rpc = self.rpc.as_deref().filter(|rpc| rpc.is_call())?;
        let status = rpc.status.or_else(|| rpc.responses.status());
        Some(Box::new(Rpc {
            requests: rpc.requests.messages(),
            responses: rpc.responses.messages(),
            status,
            status_is_unknown: status.is_none() && rpc.trailers == Trailers::Unknown,
        }))
    }

    fn walk(&mut self, side: Side) -> Option<&mut MessageWalk> {
        let rpc = self.rpc.as_deref_mut()?;
        Some(match side {
            Side::Request => &mut rpc.requests,
            Side::Response => &mut rpc.responses,
        })
    }
}
