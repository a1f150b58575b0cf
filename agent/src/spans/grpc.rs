// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a gRPC call is called and told, by the semantic conventions for RPC.
//!
//! In: an HTTP exchange. Out: the name, the attributes and the status of its span, if its request is a call of gRPC or
//! gRPC-Web. What is not known is left out: a call that was reset has no status code, for none was on the wire.
//! Does not: tell a deadline that ran out from a call that was cancelled: both are a reset. The deadline is told.

use std::borrow::Cow;

use agent_protocols::{
    Broken, Messages,
    http::{Header, HttpRequest, HttpResponse},
};

use super::{
    Status, Value,
    description::Description,
    http::{List, cut_text, status_of},
    standing::{Convention, Parties, Standing, StandingCache},
    target::Authority,
};
use crate::exchanges::{Exchange, Outcome, Role};

/// Attributes of a usual call beside the standing ones, so that their list grows once.
const USUAL_ATTRIBUTES: usize = 10;

const OK: u32 = 0;

/// The status codes by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Those that are the server's own failures, by the conventions: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL,
/// UNAVAILABLE and DATA_LOSS.
const SERVER_FAILURES: [u32; 6] = [2, 4, 12, 13, 14, 15];

/// None where the exchange is no call.
#[must_use]
pub fn describe(
    exchange: &Exchange,
    request: &HttpRequest,
    response: Option<&HttpResponse>,
    standing: &mut StandingCache,
) -> Option<Description> {
    let is_call = match request.header(Header::ContentType) {
        Some(content_type) => is_call(content_type),
        // The type was named before the connection was seen; what came of the call proves what it was.
        None => exchange.rpc.is_some(),
    };
    if !is_call {
        return None;
    }
    let mut list = List(Vec::with_capacity(USUAL_ATTRIBUTES));
    let method = request.target().strip_prefix(b"/").filter(|method| !method.is_empty());
    let name = match method {
        Some(method) => {
            list.text("rpc.method", method);
            Cow::Owned(cut_text(method))
        }
        None => Cow::Borrowed("grpc"),
    };
    let parties = Parties::of(exchange, request, Convention::Grpc);
    let standing = standing.get(&parties, || stand(&parties, request));
    list.handshake(exchange.connection.handshake.as_deref());
    if let Some(timeout) = request.header(Header::GrpcTimeout) {
        list.push("rpc.request.metadata.grpc-timeout", Value::Texts(vec![cut_text(timeout)]));
    }
    let rpc = exchange.rpc.as_deref().copied().unwrap_or_default();
    list.messages("onlooker.rpc.request.messages", "onlooker.rpc.request.bytes", rpc.requests);
    list.messages("onlooker.rpc.response.messages", "onlooker.rpc.response.bytes", rpc.responses);
    // Over HTTP/1 (gRPC-Web), the status of an answer without a message stands in its head.
    let in_head = || str::from_utf8(response?.header(Header::GrpcStatus)?).ok()?.parse().ok();
    let status = match rpc.status.or_else(in_head) {
        Some(code) => list.code(exchange, code),
        None => list.without_code(exchange, response.and_then(status_of)),
    };
    Some(Description { name, standing, client_port: exchange.client_port(), attributes: list.0, status })
}

/// What all calls between these parties have in common.
fn stand(parties: &Parties<'_>, request: &HttpRequest) -> Standing {
    let mut list = List(Vec::new());
    list.constant("rpc.system.name", "grpc");
    let authority = request.header(Header::Host).and_then(Authority::parse);
    let client_port_keys = list.parties(parties, request, authority);
    Standing::new(list.0, client_port_keys)
}

/// `application/grpc` and `application/grpc-web`, with whatever says how messages are written.
fn is_call(content_type: &[u8]) -> bool {
    let Some(rest) = content_type.strip_prefix(b"application/grpc") else { return false };
    matches!(rest.first(), None | Some(b'+' | b';' | b'-'))
}

impl List {
    fn messages(&mut self, count_key: &'static str, bytes_key: &'static str, messages: Option<Messages>) {
        if let Some(Messages { count, bytes }) = messages {
            self.size(count_key, Some(count));
            self.size(bytes_key, Some(bytes));
        }
    }

    fn code(&mut self, exchange: &Exchange, code: u32) -> Status {
        let name = CODES.get(code as usize).map_or_else(|| Cow::Owned(code.to_string()), |name| Cow::Borrowed(*name));
        self.push("rpc.response.status_code", Value::Text(name.clone()));
        self.partial(exchange);
        let is_failure = match exchange.role {
            Role::Server => SERVER_FAILURES.contains(&code),
            Role::Client => code != OK,
        };
        if !is_failure {
            return Status::Unset;
        }
        self.push("error.type", Value::Text(name));
        Status::Error
    }

    /// Something else than a gRPC server has answered, or nothing has.
    fn without_code(&mut self, exchange: &Exchange, http_status: Option<u16>) -> Status {
        const HTTP_OK: u16 = 200;
        match (exchange.outcome, http_status) {
            (_, None | Some(HTTP_OK)) => self.outcome(exchange, None),
            (Outcome::Broken(Broken::BytesLost), _) => self.outcome(exchange, http_status),
            (_, Some(status)) => {
                self.push("http.response.status_code", Value::Integer(status.into()));
                self.partial(exchange);
                self.owned("error.type", status.to_string());
                Status::Error
            }
        }
    }

    fn partial(&mut self, exchange: &Exchange) {
        if let Some(partial) = exchange.partial {
            self.constant("onlooker.partial", partial.name());
        }
    }
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
mod tests;
