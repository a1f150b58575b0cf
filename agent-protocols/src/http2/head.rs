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

#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Had more fields than are kept.
    pub(super) is_too_large: bool,
    pub(super) has_unknown: bool,
    /// Where it may be a request's.
    request: Option<HttpRequest>,
    /// The request's body is messages of gRPC.
    pub(super) is_rpc: bool,
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u32>,
}

impl Head {
    pub(super) fn of(list: &FieldList) -> Self {
        let kind = list.kind();
        let content_type = list.get(Field::Kept(Header::ContentType));
        Self {
            kind,
            is_too_large: list.is_too_large(),
            has_unknown: list.has_unknown(),
            request: matches!(kind, Kind::Request | Kind::Unknown).then(|| list.request()),
            is_rpc: content_type.is_some_and(rpc::is_walked),
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
