// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Exchanges and how their spans are described, whole.

use std::rc::Rc;

use agent_protocols::{Protocol, Request, Response, http::Kept};

use super::{super::repeats::Repeats, *};
use crate::{
    exchanges::{ConnectionFacts, ExchangeId, Partial},
    moment::Moment,
};

/// An exchange to be described; the server listens on 10.0.0.2:8080, the client is 10.0.0.1:40000.
struct Case {
    role: Role,
    version: HttpVersion,
    request: (&'static [u8], &'static [u8]),
    headers: &'static [(Header, &'static [u8])],
    status: Option<u16>,
    outcome: Outcome,
    partial: Option<Partial>,
    unix: bool,
}

const fn server(method: &'static [u8], target: &'static [u8]) -> Case {
    Case {
        role: Role::Server,
        version: HttpVersion::Http11,
        request: (method, target),
        headers: &[],
        status: Some(200),
        outcome: Outcome::Answered,
        partial: None,
        unix: false,
    }
}

const fn client(method: &'static [u8], target: &'static [u8]) -> Case {
    Case { role: Role::Client, ..server(method, target) }
}

/// Name, status and attributes, one a line, sorted.
fn described(case: &Case) -> String {
    let (method, target) = case.request;
    described_as(case, &HttpRequest::new(case.version, method, target, case.headers))
}

fn at(text: &str) -> Endpoint {
    Endpoint::Internet(text.parse().expect("an address"))
}

fn exchange_of(case: &Case, request: &HttpRequest) -> Exchange {
    let response = case.status.map(|status| HttpResponse::new(case.version, status, &[]));
    let (near, far) = match (case.unix, case.role) {
        (true, _) => (Endpoint::Unix(1), Endpoint::Unix(2)),
        (false, Role::Server) => (at("10.0.0.2:8080"), at("10.0.0.1:40000")),
        (false, Role::Client) => (at("10.0.0.1:40000"), at("10.0.0.2:8080")),
    };
    let facts = ConnectionFacts {
        id: 1,
        socket: 1,
        local: near,
        remote: far,
        network_namespace: 1,
        is_tls: false,
        handshake: None,
        joined_mid_stream: false,
    };
    Exchange {
        id: ExchangeId(1),
        protocol: Protocol::Http1,
        role: case.role,
        connection: Rc::new(facts),
        request: Request::Http(request.clone()),
        response: response.map(Response::Http),
        outcome: case.outcome,
        partial: case.partial,
        request_body_bytes: Some(0),
        response_body_bytes: case.status.map(|_| 12),
        rpc: None,
        first: Moment::default(),
        response_first: None,
        last: Moment::default(),
    }
}

/// As `described`, with another request.
fn described_as(case: &Case, request: &HttpRequest) -> String {
    let exchange = exchange_of(case, request);
    let response = exchange.response.as_ref().map(|Response::Http(response)| response);
    let mut cache = StandingCache::default();
    let description = describe(&exchange, request, response, &mut cache);
    let again = describe(&exchange, request, response, &mut cache);
    assert_eq!((&again.standing, &again.attributes), (&description.standing, &description.attributes));
    let mut repeats = Repeats::default();
    for _ in 0..3 {
        let repeated = repeats.describe(&exchange, || describe(&exchange, request, response, &mut cache));
        assert_eq!((&repeated.name, repeated.status), (&description.name, description.status));
        let sorted = |description: &Description| {
            let mut all = description.all_attributes();
            all.sort_by_key(|attribute| attribute.key);
            all
        };
        assert_eq!(sorted(&repeated), sorted(&description));
    }
    let is_redacted = |attribute: &Attribute| ["url.full", "url.path", "url.query"].contains(&attribute.key);
    assert!(!description.standing.attributes.iter().any(is_redacted), "policy looks at the span's own attributes");
    let all = description.all_attributes();
    let lines = all.iter().map(|attribute| {
        let value = match &attribute.value {
            Value::Text(text) => text.to_string(),
            other => format!("{other:?}"),
        };
        format!("{}: {value}", attribute.key)
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    format!("{} {:?}\n{}", description.name, description.status, lines.join("\n"))
}

#[test]
fn an_exchange_that_comes_again_is_described_once_and_one_that_differs_anew() {
    let case = server(b"GET", b"/a?token=b");
    let request = HttpRequest::new(case.version, b"GET", b"/a?token=b", &[(Header::Host, b"h")]);
    // Of another connection each, and another value.
    let exchange =
        || exchange_of(&case, &HttpRequest::new(case.version, b"GET", b"/a?token=b", &[(Header::Host, b"h")]));
    let (mut repeats, mut described) = (Repeats::default(), 0);
    let mut times = |exchange: &Exchange| {
        let before = described;
        for _ in 0..5 {
            repeats.describe(exchange, || {
                described += 1;
                describe(exchange, &request, None, &mut StandingCache::default())
            });
        }
        described - before
    };
    let on_it = |change: fn(&mut Exchange)| {
        let mut changed = exchange();
        change(&mut changed);
        changed
    };
    let between = |change: fn(&mut ConnectionFacts)| {
        let mut facts = (*exchange().connection).clone();
        change(&mut facts);
        Exchange { connection: Rc::new(facts), ..exchange() }
    };
    assert_eq!(times(&exchange()), 2, "the second time it is kept");
    assert_eq!(times(&exchange()), 0);
    assert_eq!(times(&between(|facts| facts.remote = at("10.0.0.1:40001"))), 0, "another port of the same client");
    assert_eq!(times(&between(|facts| facts.remote = at("10.0.0.3:40000"))), 2);
    assert_eq!(times(&between(|facts| facts.local = at("10.0.0.2:8081"))), 2);
    assert_eq!(times(&between(|facts| facts.is_tls = true)), 2);
    assert_eq!(times(&between(|facts| facts.handshake = Some(Rc::default()))), 2);
    assert_eq!(times(&on_it(|exchange| exchange.role = Role::Client)), 2);
    let other = HttpRequest::new(case.version, b"GET", b"/a?token=b", &[(Header::Host, b"i")]);
    assert_eq!(times(&exchange_of(&case, &other)), 2);
    assert_eq!(times(&on_it(|exchange| exchange.response_body_bytes = Some(13))), 2);
    assert_eq!(times(&on_it(|exchange| exchange.request_body_bytes = None)), 2);
    let not_found = |exchange: &mut Exchange| {
        exchange.response = Some(Response::Http(HttpResponse::new(HttpVersion::Http11, 404, &[])));
    };
    assert_eq!(times(&on_it(not_found)), 2);
    let failed_call = |exchange: &mut Exchange| {
        let status = [(Header::GrpcStatus, &b"13"[..])];
        exchange.response = Some(Response::Http(HttpResponse::new(HttpVersion::Http11, 200, &status)));
    };
    assert_eq!(times(&on_it(failed_call)), 5, "the next may end otherwise");
    assert_eq!(times(&on_it(|exchange| exchange.partial = Some(Partial::BytesLost))), 5, "never kept");
    assert_eq!(times(&on_it(|exchange| exchange.outcome = Outcome::Broken(Broken::ConnectionReset))), 5);
    assert_eq!(times(&on_it(|exchange| exchange.response = None)), 5);
}

fn check(case: &Case, expected: &str) {
    let (title, attributes) = expected.trim().split_once('\n').expect("a title and attributes");
    let mut attributes: Vec<&str> = attributes.lines().collect();
    attributes.sort_unstable();
    assert_eq!(described(case), format!("{title}\n{}", attributes.join("\n")));
}

/// Only the lines whose key begins so.
fn check_lines(case: &Case, keys: &[&str], expected: &[&str]) {
    let all = described(case);
    let found: Vec<&str> = all.lines().skip(1).filter(|line| keys.iter().any(|key| line.starts_with(key))).collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_usual_request_at_the_server() {
    let case = Case {
        headers: &[(Header::Host, b"shop.example:8080"), (Header::UserAgent, b"curl/8")],
        ..server(b"GET", b"/orders/7?full=1")
    };
    check(
        &case,
        "
GET Unset
http.request.method: GET
url.path: /orders/7
url.query: full=1
url.scheme: http
server.address: shop.example
server.port: Integer(8080)
client.address: 10.0.0.1
client.port: Integer(40000)
network.peer.address: 10.0.0.1
network.peer.port: Integer(40000)
network.protocol.name: http
network.protocol.version: 1.1
user_agent.original: curl/8
http.request.body.size: Integer(0)
http.response.body.size: Integer(12)
http.response.status_code: Integer(200)
",
    );
}

#[test]
fn a_usual_request_at_the_client() {
    let case =
        Case { headers: &[(Header::Host, b"shop")], status: Some(404), ..client(b"POST", b"/orders?token=secret") };
    check(
        &case,
        "
POST Error
http.request.method: POST
url.full: http://shop/orders?token=secret
server.address: shop
server.port: Integer(8080)
network.peer.address: 10.0.0.2
network.peer.port: Integer(8080)
network.protocol.name: http
network.protocol.version: 1.1
http.request.body.size: Integer(0)
http.response.body.size: Integer(12)
http.response.status_code: Integer(404)
error.type: 404
",
    );
}

#[test]
fn a_request_without_an_answer_on_a_unix_socket() {
    let case = Case {
        version: HttpVersion::Http10,
        status: None,
        outcome: Outcome::Broken(Broken::ConnectionReset),
        unix: true,
        ..server(b"get", b"/\xff")
    };
    check(
        &case,
        "
HTTP Error
http.request.method: _OTHER
http.request.method_original: get
url.path: /\u{fffd}
url.scheme: http
network.transport: unix
network.protocol.name: http
network.protocol.version: 1.0
http.request.body.size: Integer(0)
error.type: connection_reset
",
    );
}

#[test]
fn targets_at_the_server() {
    let keys = ["url.", "server."];
    check_lines(
        &server(b"GET", b"http://u:p@[2001:db8::1]:81/a?b"),
        &keys,
        &[
            "url.path: /a",
            "url.query: b",
            "url.scheme: http",
            "server.address: 2001:db8::1",
            "server.port: Integer(81)",
        ],
    );
    check_lines(
        &server(b"CONNECT", b"far:443"),
        &keys,
        &["url.scheme: http", "server.address: far", "server.port: Integer(443)"],
    );
    check_lines(
        &server(b"OPTIONS", b"*"),
        &keys,
        &["url.path: *", "url.scheme: http", "server.address: 10.0.0.2", "server.port: Integer(8080)"],
    );
}

#[test]
fn targets_at_the_client() {
    let keys = ["url.", "server."];
    let connection = ["server.address: 10.0.0.2", "server.port: Integer(8080)"];
    let with = |url: &'static str| [&[url][..], &connection].concat();
    check_lines(&client(b"GET", b"/a"), &keys, &with("url.full: http://10.0.0.2:8080/a"));
    check_lines(&client(b"OPTIONS", b"*"), &keys, &with("url.full: http://10.0.0.2:8080"));
    check_lines(
        &client(b"GET", b"http://far/a"),
        &keys,
        &["url.full: http://far/a", "server.address: far", "server.port: Integer(8080)"],
    );
    check_lines(&client(b"CONNECT", b"far:443"), &keys, &["server.address: far", "server.port: Integer(443)"]);
    check_lines(&Case { unix: true, ..client(b"GET", b"/a") }, &keys, &[]);
    let ipv6 = Case { headers: &[(Header::Host, b"[::1]:99")], ..client(b"GET", b"/a") };
    check_lines(&ipv6, &keys, &["url.full: http://[::1]:99/a", "server.address: ::1", "server.port: Integer(99)"]);
}

#[test]
fn the_client_behind_proxies() {
    let keys = ["client.", "url.scheme", "network.peer"];
    let peer = ["network.peer.address: 10.0.0.1", "network.peer.port: Integer(40000)"];
    let forwarded = Case {
        headers: &[(Header::XForwardedFor, b"203.0.113.9, 10.0.0.1"), (Header::XForwardedProto, b"https")],
        ..server(b"GET", b"/")
    };
    check_lines(&forwarded, &keys, &["url.scheme: https", "client.address: 203.0.113.9", peer[0], peer[1]]);
    let junk = Case {
        headers: &[(Header::XForwardedFor, b"unknown"), (Header::XForwardedProto, b"gopher")],
        ..server(b"GET", b"/")
    };
    let own = ["url.scheme: http", "client.address: 10.0.0.1", "client.port: Integer(40000)", peer[0], peer[1]];
    check_lines(&junk, &keys, &own);
}

#[test]
fn status_and_errors() {
    let keys = ["http.response.status_code", "error.type", "onlooker.partial"];
    let check = |case: Case, status: &str, expected: &[&str]| {
        assert!(described(&case).lines().next().is_some_and(|line| line.ends_with(status)), "{status}");
        check_lines(&case, &keys, expected);
    };
    check(Case { status: Some(499), ..server(b"GET", b"/") }, "Unset", &["http.response.status_code: Integer(499)"]);
    let code = "http.response.status_code: Integer(500)";
    check(Case { status: Some(500), ..server(b"GET", b"/") }, "Error", &[code, "error.type: 500"]);
    check(Case { status: Some(399), ..client(b"GET", b"/") }, "Unset", &["http.response.status_code: Integer(399)"]);
    let closed = Outcome::Broken(Broken::ConnectionClosed);
    check(Case { outcome: closed, status: Some(500), ..server(b"GET", b"/") }, "Error", &[code, "error.type: 500"]);
    let half = ["http.response.status_code: Integer(200)", "error.type: connection_closed"];
    check(Case { outcome: closed, ..server(b"GET", b"/") }, "Error", &half);
    let lost = Case { outcome: Outcome::Broken(Broken::BytesLost), status: None, ..server(b"GET", b"/") };
    check(lost, "Unset", &["onlooker.partial: bytes_lost"]);
    let joined = Case { partial: Some(Partial::JoinedMidStream), ..server(b"GET", b"/") };
    check(joined, "Unset", &["http.response.status_code: Integer(200)", "onlooker.partial: joined_mid_stream"]);
}

#[test]
fn a_long_text_is_cut() {
    let target: &'static [u8] = Vec::leak([&b"/"[..], &[b'a'; 10_000]].concat());
    let path = described(&server(b"GET", target));
    let path = path.lines().find(|line| line.starts_with("url.path")).expect("it has a path");
    assert_eq!(path.len(), "url.path: ".len() + TEXT_BYTES);
}

#[test]
fn both_lengths_are_flagged() {
    let request = HttpRequest::keep(HttpVersion::Http11, Kept::of_request(b"POST", b"/"), true);
    let facts = ConnectionFacts {
        id: 1,
        socket: 1,
        local: Endpoint::Unix(1),
        remote: Endpoint::Unix(2),
        network_namespace: 1,
        is_tls: false,
        handshake: None,
        joined_mid_stream: false,
    };
    let exchange = Exchange {
        id: ExchangeId(1),
        protocol: Protocol::Http1,
        role: Role::Server,
        connection: Rc::new(facts),
        request: Request::Http(request.clone()),
        response: None,
        outcome: Outcome::Broken(Broken::Abandoned),
        partial: None,
        request_body_bytes: None,
        response_body_bytes: None,
        rpc: None,
        first: Moment::default(),
        response_first: None,
        last: Moment::default(),
    };
    let attributes = describe(&exchange, &request, None, &mut StandingCache::default()).attributes;
    let flag = attributes.iter().find(|attribute| attribute.key == "onlooker.http.ambiguous_length");
    assert_eq!(flag.map(|flag| &flag.value), Some(&Value::Boolean(true)));
}

#[test]
fn http_2_says_the_scheme_itself() {
    let over_http2 = |case| Case {
        version: HttpVersion::Http2,
        headers: &[(Header::Scheme, b"https"), (Header::Host, b"shop.example")],
        ..case
    };
    let keys = ["url.", "network.protocol"];
    let version = ["network.protocol.name: http", "network.protocol.version: 2"];
    let parts = ["url.path: /a", "url.query: b", "url.scheme: https"];
    check_lines(&over_http2(server(b"GET", b"/a?b")), &keys, &[&parts[..], &version].concat());
    let full = ["url.full: https://shop.example/a?b"];
    check_lines(&over_http2(client(b"GET", b"/a?b")), &keys, &[&full[..], &version].concat());
}

#[test]
fn an_extended_connect_has_a_path() {
    let case = Case { headers: &[(Header::Protocol, b"websocket")], ..server(b"CONNECT", b"/chat?room=1") };
    check_lines(&case, &["url.path", "url.query"], &["url.path: /chat", "url.query: room=1"]);
    check_lines(&server(b"CONNECT", b"/chat"), &["url.path"], &[]);
}

#[test]
fn what_was_named_before_the_connection_was_seen_is_left_out() {
    let request = |method: &[u8], target: &[u8]| {
        let mut kept = Kept::of_request(method, target);
        kept.note_unknown();
        HttpRequest::keep(HttpVersion::Http2, kept, false)
    };
    assert_eq!(target_of(&request(b"GET", b"")).path, None);
    assert_eq!(target_of(&request(b"GET", b"/a")).path, Some(&b"/a"[..]));
    let unknown = described_as(&server(b"", b""), &request(b"", b""));
    assert!(unknown.starts_with("HTTP Unset\n"), "{unknown}");
    assert!(!["http.request.method", "url.path"].iter().any(|key| unknown.contains(key)), "{unknown}");
    let case = Case {
        version: HttpVersion::Http2,
        status: Some(0),
        partial: Some(Partial::JoinedMidStream),
        ..client(b"GET", b"/")
    };
    let keys = ["http.response.status_code", "error.type", "onlooker"];
    check_lines(&case, &keys, &["onlooker.partial: joined_mid_stream"]);
}
