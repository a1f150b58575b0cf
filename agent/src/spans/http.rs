// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an HTTP exchange is called and told, by the stable semantic conventions for HTTP.
//!
//! In: an exchange. Out: the name, the attributes and the status of its span. What is not known is left out.
//! Does not: redact (`policy` does, and nothing leaves without it), nor guess routes: the path is never in a name.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use agent_protocols::{
    Broken,
    http::{Header, HttpRequest, HttpResponse, HttpVersion},
};

use super::{
    Attribute, Status, Value,
    description::Description,
    standing::{Convention, Parties, Standing, StandingCache},
    target::{Authority, Target},
};
use crate::exchanges::{ConnectionFacts, Endpoint, Exchange, Handshake, Outcome, Role};

/// Bytes of one text; the rest is cut. Larger: a request line of 64 KiB is carried through every queue. Smaller: long
/// queries that were legal to the server are cut.
const TEXT_BYTES: usize = 8 * 1024;

/// Attributes of a usual span beside the standing ones, so that their list grows once.
const USUAL_ATTRIBUTES: usize = 8;

#[must_use]
pub fn describe(
    exchange: &Exchange,
    request: &HttpRequest,
    response: Option<&HttpResponse>,
    standing: &mut StandingCache,
) -> Description {
    let mut list = List(Vec::with_capacity(USUAL_ATTRIBUTES));
    let known = known_method(request.method());
    // A method that is not known is something else than one that nobody knows.
    let method = known.or((!is_unknown(request.method(), request)).then_some("_OTHER"));
    if known.is_none() && method.is_some() {
        list.text("http.request.method_original", request.method());
    }
    let target = target_of(request);
    let parties = Parties::of(exchange, request, Convention::Http { method });
    // Where the target names the server, it stands above the header fields.
    let standing = match target.authority {
        Some(_) => Arc::new(stand(&parties, request, &target)),
        None => standing.get(&parties, || stand(&parties, request, &target)),
    };
    match exchange.role {
        Role::Server => list.path_and_query(&target),
        Role::Client => list.full_url(&target, request, authority(&target, request), &exchange.connection),
    }
    list.handshake(exchange.connection.handshake.as_deref());
    list.size("http.request.body.size", exchange.request_body_bytes);
    list.size("http.response.body.size", exchange.response_body_bytes);
    if request.ambiguous_length || response.is_some_and(|response| response.ambiguous_length) {
        list.push("onlooker.http.ambiguous_length", Value::Boolean(true));
    }
    let status = list.outcome(exchange, response.and_then(status_of));
    let name = Cow::Borrowed(known.unwrap_or("HTTP"));
    Description { name, standing, client_port: exchange.client_port(), attributes: list.0, status }
}

/// What all requests of these parties have in common. Of the target only what names the server is looked at.
fn stand(parties: &Parties<'_>, request: &HttpRequest, target: &Target) -> Standing {
    let mut list = List(Vec::new());
    if let Convention::Http { method: Some(method) } = parties.convention {
        list.constant("http.request.method", method);
    }
    if parties.role == Role::Server {
        list.scheme(target, request, parties.is_tls);
    }
    let client_port_keys = list.parties(parties, request, authority(target, request));
    if let Some(agent) = request.header(Header::UserAgent) {
        list.text("user_agent.original", agent);
    }
    Standing::new(list.0, client_port_keys)
}

fn authority<'a>(target: &Target<'a>, request: &'a HttpRequest) -> Option<Authority<'a>> {
    target.authority.or_else(|| request.header(Header::Host).and_then(Authority::parse))
}

fn target_of(request: &HttpRequest) -> Target<'_> {
    match request.target() {
        target if is_unknown(target, request) => Target::default(),
        // An extended CONNECT (RFC 8441) has a path, as other requests.
        path if request.header(Header::Protocol).is_some() => Target::parse(b"", path),
        target => Target::parse(request.method(), target),
    }
}

/// Whether a part that every request has is not known.
fn is_unknown(part: &[u8], request: &HttpRequest) -> bool {
    part.is_empty() && request.has_unknown_fields
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
            self.port(port_key, endpoint);
        }
    }

    fn port(&mut self, key: &'static str, endpoint: Endpoint) {
        if let Endpoint::Internet(address) = endpoint {
            self.push(key, Value::Integer(address.port().into()));
        }
    }

    /// What was agreed on before the first request.
    pub(super) fn handshake(&mut self, handshake: Option<&Handshake>) {
        let Some(Handshake { version, server_name }) = handshake else { return };
        if let Some(version) = version {
            self.constant("tls.protocol.name", "tls");
            self.constant("tls.protocol.version", version);
        }
        if let Some(name) = server_name {
            self.owned("tls.client.server_name", name.to_string());
        }
    }

    fn path_and_query(&mut self, target: &Target) {
        if let Some(path) = target.path {
            self.text("url.path", path);
        }
        if let Some(query) = target.query {
            self.text("url.query", query);
        }
    }

    /// The conventions ask for the scheme of the original client's request where a header tells it.
    fn scheme(&mut self, target: &Target, request: &HttpRequest, is_tls: bool) {
        match request.header(Header::XForwardedProto) {
            Some(b"https") => self.constant("url.scheme", "https"),
            None if is_tls || is_https(target, request) => self.constant("url.scheme", "https"),
            _ => self.constant("url.scheme", "http"),
        }
    }

    /// The absolute URL; none for CONNECT, whose target is not a URL, and none where no host is known.
    fn full_url(
        &mut self,
        target: &Target,
        request: &HttpRequest,
        authority: Option<Authority>,
        connection: &ConnectionFacts,
    ) {
        let url = match (target.absolute, target.path, authority, connection.remote) {
            (Some(absolute), ..) => absolute.to_vec(),
            (None, Some(path), authority, remote) => {
                let host = match (authority, remote) {
                    (Some(authority), _) => Cow::Borrowed(authority.whole),
                    (None, Endpoint::Internet(address)) => Cow::Owned(address.to_string().into_bytes()),
                    (None, Endpoint::Unix(_) | Endpoint::Unknown) => return,
                };
                let path = if path == b"*" { b"" } else { path };
                let query = target.query.map_or([&b""[..], b""], |query| [b"?", query]);
                let is_https = connection.is_tls || is_https(target, request);
                let scheme = if is_https { &b"https://"[..] } else { b"http://" };
                [scheme, host.as_ref(), path, query[0], query[1]].concat()
            }
            _ => return,
        };
        self.text("url.full", &url);
    }

    /// The name that the request used; the port that it named, else the connection's.
    fn end_point(
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
            Endpoint::Unix(_) | Endpoint::Unknown => None,
        };
        if let Some(port) = authority.port.or(connected) {
            self.push(port_key, Value::Integer(port.into()));
        }
    }

    /// Who talks to whom, and how; for calls of any convention. True: the client's address is that of the connection.
    pub(super) fn parties(
        &mut self,
        parties: &Parties<'_>,
        request: &HttpRequest,
        authority: Option<Authority<'_>>,
    ) -> &'static [&'static str] {
        let Parties { role, server, peer, .. } = *parties;
        self.end_point("server.address", "server.port", authority, server);
        let is_direct = role == Role::Server && self.client(request, peer);
        match peer {
            Some(address) => self.owned("network.peer.address", address.to_string()),
            None if server == Endpoint::Unknown => {}
            None => self.constant("network.transport", "unix"),
        }
        if role == Role::Client {
            self.port("network.peer.port", server);
        }
        self.constant("network.protocol.name", "http");
        self.constant(
            "network.protocol.version",
            match parties.version {
                HttpVersion::Http10 => "1.0",
                HttpVersion::Http11 => "1.1",
                HttpVersion::Http2 => "2",
            },
        );
        match (role, peer) {
            (Role::Server, Some(_)) if is_direct => &["client.port", "network.peer.port"],
            (Role::Server, Some(_)) => &["network.peer.port"],
            _ => &[],
        }
    }

    /// The client behind all proxies where a header tells it, as the conventions ask. True: it is the connection's own.
    fn client(&mut self, request: &HttpRequest, peer: Option<IpAddr>) -> bool {
        let forwarded = request.header(Header::XForwardedFor).and_then(|value| {
            let first = value.split(|byte| *byte == b',').next()?;
            let first = str::from_utf8(first.trim_ascii()).ok()?;
            // Some proxies add the port.
            first.parse::<IpAddr>().ok().or_else(|| Some(first.parse::<SocketAddr>().ok()?.ip()))
        });
        if let Some(address) = forwarded.or(peer) {
            self.owned("client.address", address.to_string());
        }
        forwarded.is_none() || forwarded == peer
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
