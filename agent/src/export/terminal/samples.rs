// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Spans for the terminal's tests, from few words: an id, milliseconds, and what differs from the usual.

use std::{borrow::Cow, ops::Range, sync::Arc};

use crate::{
    enrich::Resource,
    moment::WallTime,
    policy::{ReleasedSpan, released_for_tests},
    spans::{Attribute, Kind, Sampled, Span, SpanId, Status, TraceId, Value},
};

/// 2023-11-14 22:13:20.482 UTC.
const ORIGIN: u64 = 1_700_000_000_482_000_000;

#[derive(Clone, Debug)]
pub struct Sample {
    pub trace: u8,
    id: u8,
    parent: Option<u8>,
    is_remote: bool,
    kind: Kind,
    pub start: u64,
    end: u64,
    service: String,
    name: String,
    attributes: Vec<Attribute>,
    is_error: bool,
}

impl Sample {
    pub fn server(id: u8, milliseconds: Range<u64>) -> Self {
        Self {
            trace: 7,
            id,
            parent: None,
            is_remote: false,
            kind: Kind::Server,
            start: ORIGIN + milliseconds.start * 1_000_000,
            end: ORIGIN + milliseconds.end * 1_000_000,
            service: "service".to_owned(),
            name: "GET".to_owned(),
            attributes: Vec::new(),
            is_error: false,
        }
    }

    pub fn client(id: u8, milliseconds: Range<u64>) -> Self {
        Self { kind: Kind::Client, ..Self::server(id, milliseconds) }
    }

    pub fn under(mut self, parent: u8) -> Self {
        self.parent = Some(parent);
        self
    }

    pub fn remote(mut self) -> Self {
        self.is_remote = true;
        self
    }

    pub fn of(mut self, service: &str, name: &str) -> Self {
        self.service = service.to_owned();
        self.name = name.to_owned();
        self
    }

    pub fn http(mut self, path: &str, code: i64) -> Self {
        self.is_error = code >= if self.kind == Kind::Server { 500 } else { 400 };
        let url = match self.kind {
            Kind::Server => "url.path",
            Kind::Client => "url.full",
        };
        let path = if self.kind == Kind::Server { path.to_owned() } else { format!("http://localhost{path}") };
        self.with("http.request.method", "GET".into())
            .with(url, path.into())
            .with("http.response.status_code", code.into())
    }

    pub fn with(mut self, key: &'static str, value: Content) -> Self {
        self.attributes.push(Attribute { key, value: value.0 });
        self
    }

    pub fn error(mut self) -> Self {
        self.is_error = true;
        self
    }

    pub fn in_trace(mut self, trace: u8) -> Self {
        self.trace = trace;
        self
    }

    pub fn released(&self) -> ReleasedSpan {
        let mut trace_id = [0xab; 16];
        trace_id[0] = self.trace;
        let id = |id: u8| SpanId([0, 0, 0, 0, 0, 0, 0, id]);
        let service = Attribute { key: "service.name", value: Value::Text(Cow::Owned(self.service.clone())) };
        let span = Span {
            trace_id: TraceId(trace_id),
            span_id: id(self.id),
            parent: self.parent.map(id),
            parent_is_remote: self.is_remote,
            trace_state: None,
            sampled: Sampled::Undecided,
            kind: self.kind,
            name: Cow::Owned(self.name.clone()),
            start: WallTime(self.start),
            end: WallTime(self.end),
            standing: None,
            client_port: 0,
            attributes: self.attributes.clone(),
            status: if self.is_error { Status::Error } else { Status::Unset },
            tgid: 1,
        };
        released_for_tests(span, Arc::new(Resource { id: 1, attributes: vec![service] }))
    }
}

/// An attribute's value, from what a test writes.
pub struct Content(Value);

impl From<&'static str> for Content {
    fn from(text: &'static str) -> Self {
        Self(Value::Text(text.into()))
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self(Value::Text(text.into()))
    }
}

impl From<i64> for Content {
    fn from(number: i64) -> Self {
        Self(Value::Integer(number))
    }
}
