// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The span, before anything has decided whether it may leave.

use std::{borrow::Cow, sync::Arc};

use super::Standing;
use crate::{exchanges::Role, moment::WallTime};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub [u8; 16]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub [u8; 8]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Server,
    Client,
}

impl From<Role> for Kind {
    fn from(role: Role) -> Self {
        match role {
            Role::Server => Self::Server,
            Role::Client => Self::Client,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Unset,
    Error,
}

/// What the carried context says about sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sampled {
    /// No context was carried: the root sampler decides.
    Undecided,
    Yes,
    No,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Cow<'static, str>),
    Integer(i64),
    Boolean(bool),
    /// An array of strings.
    Texts(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    pub key: &'static str,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent: Option<SpanId>,
    /// The parent is a span of another process that was read from the wire, not one that Onlooker made.
    pub parent_is_remote: bool,
    pub trace_state: Option<String>,
    pub sampled: Sampled,
    pub kind: Kind,
    pub name: Cow<'static, str>,
    pub start: WallTime,
    pub end: WallTime,
    /// What it has in common with others of the same parties.
    pub standing: Option<Arc<Standing>>,
    /// For the keys that the standing ones have for it.
    pub client_port: u16,
    pub attributes: Vec<Attribute>,
    pub status: Status,
    /// The process it belongs to; `enrich` knows its resource.
    pub tgid: u32,
}

impl Span {
    pub fn all_attributes(&self) -> impl Iterator<Item = Cow<'_, Attribute>> {
        all_attributes(self.standing.as_deref(), self.client_port, &self.attributes)
    }

    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<Cow<'_, Value>> {
        let found = self.all_attributes().find(|attribute| attribute.key == key)?;
        Some(match found {
            Cow::Borrowed(attribute) => Cow::Borrowed(&attribute.value),
            Cow::Owned(attribute) => Cow::Owned(attribute.value),
        })
    }
}

/// The standing ones, the client's port, then the span's own.
pub(super) fn all_attributes<'a>(
    standing: Option<&'a Standing>,
    client_port: u16,
    own: &'a [Attribute],
) -> impl Iterator<Item = Cow<'a, Attribute>> {
    let stood = standing.map_or(&[][..], |standing| &standing.attributes).iter().map(Cow::Borrowed);
    let ports = standing.into_iter().flat_map(move |standing| standing.client_ports(client_port)).map(Cow::Owned);
    stood.chain(ports).chain(own.iter().map(Cow::Borrowed))
}
