// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the terminal keeps of a span until its trace is complete: what a row shows, and nothing else of it.

use std::{borrow::Cow, sync::Arc};

use crate::{
    enrich::Resource,
    moment::WallTime,
    policy::ReleasedSpan,
    spans::{Kind, Span, SpanId, Status, TraceId, Value},
};

use super::words::harmless;

#[derive(Clone, Debug)]
pub struct Facts {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// The parent that is to be seen here; a remote one is not.
    pub parent: Option<SpanId>,
    pub kind: Kind,
    pub start: WallTime,
    /// Not before `start`, whatever the clocks did.
    pub end: WallTime,
    pub resource: Arc<Resource>,
    /// Harmless, as all texts here are but those of the resource.
    name: Cow<'static, str>,
    /// Said beside a name that is a method alone.
    path: Option<Box<str>>,
    /// The other end, for calls to what is not watched.
    peer: Option<Box<str>>,
    /// `201`, `OK`, or the kind of error where there is no code.
    pub status: Box<str>,
    pub is_error: bool,
}

impl Facts {
    pub fn of(released: &ReleasedSpan) -> Self {
        let span = released.span();
        Self {
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent: span.parent.filter(|_| !span.parent_is_remote),
            kind: span.kind,
            start: span.start,
            end: span.end.max(span.start),
            resource: Arc::clone(released.resource()),
            name: match &span.name {
                Cow::Borrowed(ours) => Cow::Borrowed(ours),
                Cow::Owned(name) => Cow::Owned(harmless(name)),
            },
            path: path_beside_name(span),
            peer: (span.kind == Kind::Client).then(|| peer(span)).flatten(),
            status: status(span),
            is_error: span.status == Status::Error,
        }
    }

    pub const fn duration(&self) -> u64 {
        self.end.0 - self.start.0
    }

    pub fn service(&self) -> String {
        harmless(self.resource.service_name())
    }

    /// Who is called; where that is not known, who calls.
    pub fn peer(&self) -> String {
        self.peer.as_deref().map_or_else(|| self.service(), str::to_owned)
    }

    pub fn name(&self) -> String {
        match &self.path {
            Some(path) => format!("{} {path}", self.name),
            None => self.name.to_string(),
        }
    }

    /// The name with what looks like an identifier replaced by `*`, so that siblings that differ in it alone are equal.
    pub fn pattern(&self) -> String {
        let Some(path) = &self.path else { return self.name.to_string() };
        let segments: Vec<&str> = path.split('/').map(|part| if is_identifier(part) { "*" } else { part }).collect();
        format!("{} {}", self.name, segments.join("/"))
    }
}

/// Numbers, hashes, UUIDs. Bias: a version such as `v2` stays, and so do words; a word with a digit further in is taken
/// for an identifier, which folds two rows that a person might have kept apart.
fn is_identifier(segment: &str) -> bool {
    let is_version = segment.strip_prefix('v').is_some_and(|rest| rest.len() <= 2);
    !is_version && segment.bytes().any(|byte| byte.is_ascii_digit())
}

fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    match span.attribute(key)? {
        Cow::Borrowed(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn integer(span: &Span, key: &str) -> Option<i64> {
    match *span.attribute(key)? {
        Value::Integer(number) => Some(number),
        _ => None,
    }
}

/// Without a route a name is a method alone, which tells a person too little.
fn path_beside_name(span: &Span) -> Option<Box<str>> {
    if text(span, "http.request.method").is_none() || span.name.contains([' ', '/']) {
        return None;
    }
    let path = text(span, "url.path").or_else(|| path_of(text(span, "url.full")?))?;
    Some(harmless(path).into())
}

fn path_of(url: &str) -> Option<&str> {
    let (_, after_scheme) = url.split_once("://")?;
    let path = &after_scheme[after_scheme.find('/')?..];
    path.split(['?', '#']).next()
}

fn peer(span: &Span) -> Option<Box<str>> {
    if let Some(system) = text(span, "db.system.name").or_else(|| text(span, "messaging.system")) {
        return Some(harmless(system).into());
    }
    let address = harmless(text(span, "server.address")?);
    Some(match integer(span, "server.port") {
        Some(80 | 443) | None => address.into(),
        Some(port) => format!("{address}:{port}").into(),
    })
}

fn status(span: &Span) -> Box<str> {
    if let Some(code) = integer(span, "http.response.status_code") {
        return code.to_string().into();
    }
    let code = ["rpc.response.status_code", "db.response.status_code", "error.type"];
    code.iter().find_map(|key| text(span, key)).map(|code| harmless(code).into()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_in_paths_do_not_tell_siblings_apart() {
        let cases = [("17", true), ("9f86d081", true), ("v2", false), ("orders", false), ("", false), ("sku-17", true)];
        for (segment, expected) in cases {
            assert_eq!(is_identifier(segment), expected, "{segment}");
        }
    }

    #[test]
    fn the_path_of_an_address_ends_at_its_query() {
        assert_eq!(path_of("http://localhost:80/a/b?c=/d#e"), Some("/a/b"));
        assert_eq!(path_of("http://localhost"), None);
        assert_eq!(path_of("/a"), None);
    }
}
