// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one header block says, as far as streams ask.
//!
//! In: the fields of a block. Out: whether it is a head or trailers, and what it makes of either.
//! Cheap to clone: the block that comes again has the same head, as the same value.

use super::{
    field::Field,
    field_list::{FieldList, Kind},
};
use crate::{
    http::{Header, HttpRequest, HttpResponse, HttpVersion, Kept},
    message::{Request, Response},
    rpc,
};

/// What the body is, by the type that a head gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Messages of gRPC.
    Rpc,
    Other,
    /// A request of which it is not known, and whose other fields allow for a call.
    MaybeRpc,
    Untold,
}

#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Had more fields than are kept.
    pub(super) is_too_large: bool,
    pub(super) has_unknown: bool,
    /// Where it may be a request's.
    request: Option<HttpRequest>,
    pub(super) body: Body,
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u32>,
}

impl Head {
    pub(super) fn of(list: &FieldList) -> Self {
        let kind = list.kind();
        Self {
            kind,
            is_too_large: list.is_too_large(),
            has_unknown: list.has_unknown(),
            request: matches!(kind, Kind::Request | Kind::Unknown).then(|| list.request()),
            body: body_of(list),
            status: list.number(Field::Status).and_then(|status| u16::try_from(status).ok()),
            grpc_status: list.number(Field::Kept(Header::GrpcStatus)),
        }
    }

    pub(super) fn request(&self) -> Option<Request> {
        self.request.clone().map(Request::Http)
    }

    /// No span tells anything of its fields; how a gRPC call ended is told apart, wherever it was said.
    pub(super) fn response(&self) -> Response {
        let mut kept = Kept::default();
        if self.has_unknown {
            kept.note_unknown();
        }
        Response::Http(HttpResponse::keep(HttpVersion::Http2, self.status.unwrap_or(0), kept, false))
    }

    /// A request of the same trace does not come again, and one that was too large has cost enough.
    pub(super) fn may_come_again(&self) -> bool {
        !self.is_too_large && !self.request.as_ref().is_some_and(|request| request.has_context())
    }
}

/// A call whose type is not known is told by its method, or by what only calls have.
fn body_of(list: &FieldList) -> Body {
    let get = |header| list.get(Field::Kept(header));
    match get(Header::ContentType) {
        Some(content_type) if rpc::is_walked(content_type) => Body::Rpc,
        Some(_) => Body::Other,
        None if !list.has_unknown() => Body::Untold,
        None if get(Header::GrpcTimeout).is_some() || get(Header::GrpcStatus).is_some() => Body::Rpc,
        None if list.get(Field::Method).is_none_or(|method| method == b"POST") => Body::MaybeRpc,
        None => Body::Untold,
    }
}
