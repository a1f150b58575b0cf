// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an HTTP exchange is called and told, by the stable semantic conventions for HTTP.
//!
//! In: an exchange. Out: the name, the attributes and the status of its span. What is not known is left out.
//! Does not: redact (`policy` does, and nothing leaves without it), nor guess routes: the path is never in a name.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use agent_protocols::{
    Broken,
    http::{Header, HttpRequest, HttpResponse, HttpVersion},
};

use super::{
    Attribute, Status, Value,
    target::{Authority, Target},
};
use crate::exchanges::{Endpoint, Exchange, Outcome, Role};

/// Bytes of one text; the rest is cut. Larger: a request line of 64 KiB is carried through every queue. Smaller: long
/// queries that were legal to the server are cut.
const TEXT_BYTES: usize = 8 * 1024;

/// Attributes of a usual span, so that their list grows once.
pub(super) const USUAL_ATTRIBUTES: usize = 18;

/// A span's part that depends on the protocol.
#[derive(Debug)]
pub struct Description {
    pub name: Cow<'static, str>,
    pub attributes: Vec<Attribute>,
    pub status: Status,
}

#[must_use]
pub fn describe(exchange: &Exchange, request: &HttpRequest, response: Option<&HttpResponse>) -> Description {
    let mut list = List(Vec::with_capacity(USUAL_ATTRIBUTES));
    let name = match known_method(request.method()) {
        Some(method) => {
            list.constant("http.request.method", method);
            method
        }
        // It is not known, which is something else than a method that nobody knows.
        None if request.method().is_empty() && request.has_unknown_fields => "HTTP",
        None => {
            list.constant("http.request.method", "_OTHER");
            list.text("http.request.method_original", request.method());
            "HTTP"
        }
    };
    let target = target_of(request);
    let authority = target.authority.or_else(|| request.header(Header::Host).and_then(Authority::parse));
    match exchange.role {
        Role::Server => {
            list.url_parts(&target, request);
            list.end_point("server.address", "server.port", authority, exchange.connection.local);
            list.client(request, exchange.connection.remote);
        }
        Role::Client => {
            list.full_url(&target, request, authority, exchange.connection.remote);
            list.end_point("server.address", "server.port", authority, exchange.connection.remote);
        }
    }
    list.network(exchange.connection.remote, request.version);
    if let Some(agent) = request.header(Header::UserAgent) {
        list.text("user_agent.original", agent);
    }
    list.size("http.request.body.size", exchange.request_body_bytes);
    list.size("http.response.body.size", exchange.response_body_bytes);
    if request.ambiguous_length || response.is_some_and(|response| response.ambiguous_length) {
        list.push("onlooker.http.ambiguous_length", Value::Boolean(true));
    }
    let status = list.outcome(exchange, response.and_then(status_of));
    Description { name: Cow::Borrowed(name), attributes: list.0, status }
}

fn target_of(request: &HttpRequest) -> Target<'_> {
    match request.target() {
        [] if request.has_unknown_fields => Target::default(),
        // An extended CONNECT (RFC 8441) has a path, as other requests.
        path if request.header(Header::Protocol).is_some() => Target::parse(b"", path),
        target => Target::parse(request.method(), target),
    }
}

/// None where it is not known.
pub(super) fn status_of(response: &HttpResponse) -> Option<u16> {
    (response.status != 0).then_some(response.status)
}

/// HTTP/2 says it with every request; HTTP/1 only where the target is a URL.
fn is_https(target: &Target, request: &HttpRequest) -> bool {
    let is_url = target.absolute.is_some_and(|url| url.starts_with(b"https://"));
    is_url || request.header(Header::Scheme) == Some(b"https")
}

/// The methods of RFC 9110 and RFC 5789. Methods are case-sensitive: `get` is not one of them.
fn known_method(method: &[u8]) -> Option<&'static str> {
    Some(match method {
        b"GET" => "GET",
        b"POST" => "POST",
        b"PUT" => "PUT",
        b"DELETE" => "DELETE",
        b"HEAD" => "HEAD",
        b"OPTIONS" => "OPTIONS",
        b"PATCH" => "PATCH",
        b"CONNECT" => "CONNECT",
        b"TRACE" => "TRACE",
        _ => return None,
    })
}

/// A text of no more than [`TEXT_BYTES`]. Bytes that are not UTF-8 become replacement characters.
pub(super) fn cut_text(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(TEXT_BYTES)];
    String::from_utf8_lossy(cut).into_owned()
}

pub(super) struct List(pub(super) Vec<Attribute>);

impl List {
    pub(super) fn push(&mut self, key: &'static str, value: Value) {
        self.0.push(Attribute { key, value });
    }

    pub(super) fn constant(&mut self, key: &'static str, text: &'static str) {
        self.push(key, Value::Text(Cow::Borrowed(text)));
    }

    pub(super) fn owned(&mut self, key: &'static str, text: String) {
        self.push(key, Value::Text(Cow::Owned(text)));
    }

    pub(super) fn text(&mut self, key: &'static str, bytes: &[u8]) {
        self.owned(key, cut_text(bytes));
    }

    pub(super) fn size(&mut self, key: &'static str, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.push(key, Value::Integer(i64::try_from(bytes).unwrap_or(i64::MAX)));
        }
    }

    fn address(&mut self, key: &'static str, port_key: &'static str, endpoint: Endpoint) {
        if let Endpoint::Internet(address) = endpoint {
            self.owned(key, address.ip().to_string());
            self.push(port_key, Value::Integer(address.port().into()));
        }
    }

    fn url_parts(&mut self, target: &Target, request: &HttpRequest) {
        if let Some(path) = target.path {
            self.text("url.path", path);
        }
        if let Some(query) = target.query {
            self.text("url.query", query);
        }
        // The conventions ask for the scheme of the original client's request where a header tells it.
        match request.header(Header::XForwardedProto) {
            Some(b"https") => self.constant("url.scheme", "https"),
            None if is_https(target, request) => self.constant("url.scheme", "https"),
            _ => self.constant("url.scheme", "http"),
        }
    }

    /// The absolute URL; none for CONNECT, whose target is not a URL, and none where no host is known.
    fn full_url(&mut self, target: &Target, request: &HttpRequest, authority: Option<Authority>, remote: Endpoint) {
        let url = match (target.absolute, target.path, authority, remote) {
            (Some(absolute), ..) => absolute.to_vec(),
            (None, Some(path), authority, remote) => {
                let host = match (authority, remote) {
                    (Some(authority), _) => Cow::Borrowed(authority.whole),
                    (None, Endpoint::Internet(address)) => Cow::Owned(address.to_string().into_bytes()),
                    (None, Endpoint::Unix(_)) => return,
                };
                let path = if path == b"*" { b"" } else { path };
                let query = target.query.map_or([&b""[..], b""], |query| [b"?", query]);
                let scheme = if is_https(target, request) { &b"https://"[..] } else { b"http://" };
                [scheme, host.as_ref(), path, query[0], query[1]].concat()
            }
            _ => return,
        };
        self.text("url.full", &url);
    }

    /// The name that the request used; the port that it named, else the connection's.
    pub(super) fn end_point(
        &mut self,
        key: &'static str,
        port_key: &'static str,
        authority: Option<Authority>,
        connection: Endpoint,
    ) {
        let Some(authority) = authority else { return self.address(key, port_key, connection) };
        self.text(key, authority.host);
        let connected = match connection {
            Endpoint::Internet(address) => Some(address.port()),
            Endpoint::Unix(_) => None,
        };
        if let Some(port) = authority.port.or(connected) {
            self.push(port_key, Value::Integer(port.into()));
        }
    }

    /// The client behind all proxies where a header tells it, as the conventions ask; its port only where it is the
    /// connection's own.
    pub(super) fn client(&mut self, request: &HttpRequest, remote: Endpoint) {
        let forwarded = request.header(Header::XForwardedFor).and_then(|value| {
            let first = value.split(|byte| *byte == b',').next()?;
            let first = str::from_utf8(first.trim_ascii()).ok()?;
            // Some proxies add the port.
            first.parse::<IpAddr>().ok().or_else(|| Some(first.parse::<SocketAddr>().ok()?.ip()))
        });
        match forwarded {
            Some(address) if Some(address) != remote.address() => self.owned("client.address", address.to_string()),
            _ => self.address("client.address", "client.port", remote),
        }
    }

    pub(super) fn network(&mut self, remote: Endpoint, version: HttpVersion) {
        match remote {
            Endpoint::Internet(_) => self.address("network.peer.address", "network.peer.port", remote),
            Endpoint::Unix(_) => self.constant("network.transport", "unix"),
        }
        self.constant("network.protocol.name", "http");
        let version = match version {
            HttpVersion::Http10 => "1.0",
            HttpVersion::Http11 => "1.1",
            HttpVersion::Http2 => "2",
        };
        self.constant("network.protocol.version", version);
    }

    /// The status code, never a made-up one, and what went wrong.
    pub(super) fn outcome(&mut self, exchange: &Exchange, code: Option<u16>) -> Status {
        if let Some(code) = code {
            self.push("http.response.status_code", Value::Integer(code.into()));
        }
        let worst_good = match exchange.role {
            Role::Server => 499,
            Role::Client => 399,
        };
        let mut partial = exchange.partial.map(|partial| partial.name());
        let status = match (code, exchange.outcome) {
            (Some(code), _) if code > worst_good => {
                self.owned("error.type", code.to_string());
                Status::Error
            }
            (_, Outcome::Answered) => Status::Unset,
            // Onlooker lost the end; the program may well have sent it.
            (_, Outcome::Broken(Broken::BytesLost)) => {
                partial = partial.or(Some(Broken::BytesLost.name()));
                Status::Unset
            }
            (_, Outcome::Broken(reason)) => {
                self.constant("error.type", reason.name());
                Status::Error
            }
        };
        if let Some(partial) = partial {
            self.constant("onlooker.partial", partial);
        }
        status
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
