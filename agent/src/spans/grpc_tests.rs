// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Calls and how their spans are described, whole.

use std::rc::Rc;

use agent_protocols::{ErrorCode, Protocol, Request, Response, Rpc, http::HttpVersion};

use super::{super::repeats::Repeats, *};
use crate::{
    exchanges::{ConnectionFacts, Endpoint, ExchangeId, Partial},
    moment::Moment,
};

/// A call from 10.0.0.1:40000 to 10.0.0.2:8080.
struct Case {
    role: Role,
    target: &'static [u8],
    headers: &'static [(Header, &'static [u8])],
    http_status: Option<u16>,
    outcome: Outcome,
    rpc: Rpc,
    partial: Option<Partial>,
}

const GRPC: (Header, &[u8]) = (Header::ContentType, b"application/grpc+proto");

const fn call(role: Role, status: Option<u32>) -> Case {
    let one = Some(Messages { count: 1, bytes: 20 });
    Case {
        role,
        target: b"/orders.v1.Orders/Create",
        headers: &[GRPC],
        http_status: Some(200),
        outcome: Outcome::Answered,
        rpc: Rpc { requests: one, responses: one, status, status_is_unknown: false },
        partial: None,
    }
}

fn exchange(case: &Case, request: &HttpRequest, response: Option<&HttpResponse>) -> Exchange {
    let at = |text: &str| Endpoint::Internet(text.parse().expect("an address"));
    let (server, client) = (at("10.0.0.2:8080"), at("10.0.0.1:40000"));
    let (local, remote) = if case.role == Role::Server { (server, client) } else { (client, server) };
    let facts = ConnectionFacts {
        id: 1,
        socket: 1,
        local,
        remote,
        network_namespace: 1,
        is_tls: false,
        handshake: None,
        joined_mid_stream: false,
    };
    Exchange {
        id: ExchangeId(1),
        protocol: Protocol::Http2,
        role: case.role,
        connection: Rc::new(facts),
        request: Request::Http(request.clone()),
        response: response.cloned().map(Response::Http),
        outcome: case.outcome,
        partial: case.partial,
        request_body_bytes: Some(25),
        response_body_bytes: Some(25),
        rpc: Some(Box::new(case.rpc)),
        first: Moment::default(),
        response_first: None,
        last: Moment::default(),
    }
}

/// Name, status and attributes, one a line, those first that stand; none where it is no call.
fn described(case: &Case) -> Option<String> {
    let request = HttpRequest::new(HttpVersion::Http2, b"POST", case.target, case.headers);
    let response = case.http_status.map(|status| HttpResponse::new(HttpVersion::Http2, status, &[]));
    let exchange = exchange(case, &request, response.as_ref());
    let description = describe(&exchange, &request, response.as_ref(), &mut StandingCache::default())?;
    let all = description.all_attributes();
    let lines = all.iter().map(|attribute| {
        let value = match &attribute.value {
            Value::Text(text) => text.to_string(),
            other => format!("{other:?}"),
        };
        format!("\n{}: {value}", attribute.key)
    });
    Some(format!("{} {:?}{}", description.name, description.status, lines.collect::<String>()))
}

/// The first line, and those whose key begins so.
fn check(case: &Case, keys: &[&str], expected: &[&str]) {
    let all = described(case).expect("a call");
    let is_asked = |line: &&str| line.contains(" ") && keys.iter().any(|key| line.starts_with(key));
    let lines: Vec<&str> = all.lines().take(1).chain(all.lines().skip(1).filter(is_asked)).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_usual_call_at_the_server() {
    let case = Case {
        headers: &[GRPC, (Header::Host, b"orders:50051"), (Header::GrpcTimeout, b"999m")],
        ..call(Role::Server, Some(0))
    };
    let expected = "orders.v1.Orders/Create Unset
rpc.system.name: grpc
server.address: orders
server.port: Integer(50051)
client.address: 10.0.0.1
network.peer.address: 10.0.0.1
network.protocol.name: http
network.protocol.version: 2
client.port: Integer(40000)
network.peer.port: Integer(40000)
rpc.method: orders.v1.Orders/Create
rpc.request.metadata.grpc-timeout: Texts([\"999m\"])
onlooker.rpc.request.messages: Integer(1)
onlooker.rpc.request.bytes: Integer(20)
onlooker.rpc.response.messages: Integer(1)
onlooker.rpc.response.bytes: Integer(20)
rpc.response.status_code: OK";
    assert_eq!(described(&case).as_deref(), Some(expected));
}

#[test]
fn a_status_is_a_failure_of_the_server_or_of_the_request() {
    let keys = ["rpc.response", "error.type"];
    let name = "orders.v1.Orders/Create";
    check(&call(Role::Server, Some(5)), &keys, &[&format!("{name} Unset"), "rpc.response.status_code: NOT_FOUND"]);
    let failed = [&format!("{name} Error"), "rpc.response.status_code: NOT_FOUND", "error.type: NOT_FOUND"];
    check(&call(Role::Client, Some(5)), &keys, &failed);
    let internal = [&format!("{name} Error"), "rpc.response.status_code: INTERNAL", "error.type: INTERNAL"];
    check(&call(Role::Server, Some(13)), &keys, &internal);
    let unknown = [&format!("{name} Error"), "rpc.response.status_code: 99", "error.type: 99"];
    check(&call(Role::Client, Some(99)), &keys, &unknown);
}

#[test]
fn without_a_status_none_is_made_up() {
    let keys = ["rpc.response", "http", "error.type", "onlooker.partial"];
    let name = "orders.v1.Orders/Create";
    let reset = Outcome::Broken(Broken::StreamReset(ErrorCode::Cancel));
    let cancelled = Case { outcome: reset, ..call(Role::Client, None) };
    check(&cancelled, &keys, &[&format!("{name} Error"), "error.type: CANCEL"]);
    let proxy = Case { http_status: Some(502), ..call(Role::Client, None) };
    check(&proxy, &keys, &[&format!("{name} Error"), "http.response.status_code: Integer(502)", "error.type: 502"]);
    let lost = Case { partial: Some(Partial::BytesLost), ..call(Role::Server, None) };
    check(&lost, &keys, &[&format!("{name} Unset"), "onlooker.partial: bytes_lost"]);
}

#[test]
fn what_is_not_known_is_left_out() {
    let unknown = Case {
        target: b"",
        rpc: Rpc { status: Some(0), ..Rpc::default() },
        partial: Some(Partial::JoinedMidStream),
        ..call(Role::Server, Some(0))
    };
    let keys = ["rpc.method", "onlooker"];
    check(&unknown, &keys, &["grpc Unset", "onlooker.partial: joined_mid_stream"]);
}

#[test]
fn a_status_in_the_head_is_one() {
    let request = HttpRequest::new(HttpVersion::Http11, b"POST", b"/p.S/M", &[GRPC]);
    let response = HttpResponse::new(HttpVersion::Http11, 200, &[(Header::GrpcStatus, b"7")]);
    let mut exchange = exchange(&call(Role::Client, None), &request, Some(&response));
    exchange.rpc = None;
    let description = describe(&exchange, &request, Some(&response), &mut StandingCache::default()).expect("a call");
    let code = description.attributes.iter().find(|attribute| attribute.key == "rpc.response.status_code");
    assert_eq!(code.map(|code| &code.value), Some(&Value::Text("PERMISSION_DENIED".into())));
}

#[test]
fn calls_that_come_again_are_told_by_how_they_end() {
    let mut repeats = Repeats::default();
    let request = HttpRequest::new(HttpVersion::Http2, b"POST", b"/p.S/M", &[GRPC]);
    let response = HttpResponse::new(HttpVersion::Http2, 200, &[]);
    let mut exchange = exchange(&call(Role::Client, None), &request, Some(&response));
    for (status, count, name) in [
        (0, 1, "OK"),
        (0, 1, "OK"),
        (0, 1, "OK"),
        (5, 1, "NOT_FOUND"),
        (5, 1, "NOT_FOUND"),
        (5, 2, "NOT_FOUND"),
        (0, 2, "OK"),
    ] {
        let responses = Some(Messages { count, bytes: 20 });
        exchange.rpc = Some(Box::new(Rpc { responses, status: Some(status), ..Rpc::default() }));
        let description = repeats.describe(&exchange, || {
            describe(&exchange, &request, Some(&response), &mut StandingCache::default()).expect("a call")
        });
        let get = |key| {
            let found = description.all_attributes().into_iter().find(|attribute| attribute.key == key)?;
            Some(found.value)
        };
        assert_eq!(get("rpc.response.status_code"), Some(Value::Text(name.into())));
        assert_eq!(get("onlooker.rpc.response.messages"), Some(Value::Integer(count as i64)));
    }
}

#[test]
fn what_is_a_call() {
    for (content_type, is_one) in [
        (&b"application/grpc"[..], true),
        (b"application/grpc;charset=utf-8", true),
        (b"application/grpc-web-text", true),
        (b"application/grpcx", false),
        (b"application/json", false),
    ] {
        assert_eq!(is_call(content_type), is_one);
    }
    const OTHER: (Header, &[u8]) = (Header::ContentType, b"application/json");
    assert_eq!(described(&Case { headers: &[OTHER], ..call(Role::Server, Some(0)) }), None);
    // Where the type is not known, what came of it says what it was.
    assert!(described(&Case { headers: &[], ..call(Role::Server, Some(0)) }).is_some());
    let request = HttpRequest::new(HttpVersion::Http2, b"POST", b"/p.S/M", &[]);
    let mut exchange = exchange(&call(Role::Server, None), &request, None);
    exchange.rpc = None;
    assert!(describe(&exchange, &request, None, &mut StandingCache::default()).is_none());
}
