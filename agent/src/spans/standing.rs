// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the spans of one client at one server say again and again: addresses, protocol, user agent.
//!
//! In: whose exchange it is, and the header fields that it came with. Out: the attributes that all such exchanges have,
//! made once, and encoded once by the exporter that needs it.
//! Does not: grow. Each place is shared by all whose hashes agree, and the last one has it; so that many connections
//! of few clients cost what one does.

use std::{
    hash::{Hash as _, Hasher as _},
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use agent_protocols::http::{HttpRequest, HttpVersion};
use rustc_hash::FxHasher;

use super::{Attribute, Value};
use crate::exchanges::{ConnectionFacts, Endpoint, Exchange, Role};

/// Places. Larger: memory, about 1 KB each in use. Smaller: machines that talk to more peers at once make the same
/// attributes again for most spans.
const PLACES: usize = 1024;

/// Bytes of header fields that are remembered. Larger: memory that a client decides about. Smaller: spans of browsers
/// behind several proxies are made from nothing each time.
const FIELD_BYTES: usize = 1024;

/// Attributes that many spans share.
#[derive(Debug, Default)]
pub struct Standing {
    pub attributes: Vec<Attribute>,
    /// Where the client's port stands, which each connection has of its own.
    pub client_port_keys: &'static [&'static str],
    /// As they may leave; nothing where they may as they are.
    released: OnceLock<Option<Arc<Self>>>,
    encoded: OnceLock<Box<[u8]>>,
}

impl Standing {
    #[must_use]
    pub fn new(mut attributes: Vec<Attribute>, client_port_keys: &'static [&'static str]) -> Self {
        attributes.shrink_to_fit();
        Self { attributes, client_port_keys, released: OnceLock::new(), encoded: OnceLock::new() }
    }

    /// For a connection whose client has this port.
    pub fn client_ports(&self, port: u16) -> impl Iterator<Item = Attribute> + use<> {
        self.client_port_keys.iter().map(move |key| Attribute { key, value: Value::Integer(port.into()) })
    }

    /// What may leave of them: `redact` says at the first call whether it has changed anything.
    #[must_use]
    pub fn released(self: &Arc<Self>, redact: impl FnOnce(&mut [Attribute]) -> bool) -> Option<&Arc<Self>> {
        let released = self.released.get_or_init(|| {
            let mut attributes = self.attributes.clone();
            redact(&mut attributes).then(|| Arc::new(Self::new(attributes, self.client_port_keys)))
        });
        released.as_ref()
    }

    /// The attributes in an exporter's form, which is made at the first call. There is one such form: that of OTLP.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Box<[u8]>) -> &[u8] {
        self.encoded.get_or_init(|| encode(self))
    }
}

impl PartialEq for Standing {
    fn eq(&self, other: &Self) -> bool {
        self.attributes == other.attributes && self.client_port_keys == other.client_port_keys
    }
}

/// All that standing attributes are made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parties<'a> {
    pub convention: Convention,
    pub role: Role,
    pub version: HttpVersion,
    pub server: Endpoint,
    pub is_tls: bool,
    pub peer: Option<IpAddr>,
    /// As the parsers' `standing_fields` of a request gives them.
    pub fields: &'a [u8],
}

/// By what an exchange is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Convention {
    /// The method is as it is told; absent where it is not known.
    Http {
        method: Option<&'static str>,
    },
    Grpc,
}

impl<'a> Parties<'a> {
    #[must_use]
    pub fn of(exchange: &Exchange, request: &'a HttpRequest, convention: Convention) -> Self {
        let ConnectionFacts { remote, is_tls, .. } = *exchange.connection;
        Self {
            convention,
            role: exchange.role,
            version: request.version,
            server: exchange.server(),
            is_tls,
            peer: remote.address(),
            fields: request.standing_fields(),
        }
    }

    fn place(&self) -> usize {
        let mut hasher = FxHasher::default();
        (self.convention, self.role, self.version, self.server, self.is_tls, self.peer).hash(&mut hasher);
        hasher.write(self.fields);
        hasher.finish() as usize % PLACES
    }
}

/// The last ones.
#[derive(Debug, Default)]
pub struct StandingCache {
    places: Vec<Option<Box<Remembered>>>,
}

#[derive(Debug)]
struct Remembered {
    parties: Parties<'static>,
    fields: Box<[u8]>,
    standing: Arc<Standing>,
}

impl StandingCache {
    /// What was made of these parties last, or what `make` makes now.
    pub fn get(&mut self, parties: &Parties<'_>, make: impl FnOnce() -> Standing) -> Arc<Standing> {
        if parties.fields.len() > FIELD_BYTES {
            return Arc::new(make());
        }
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let place = &mut self.places[parties.place()];
        if let Some(known) = place
            && (Parties { fields: &known.fields, ..known.parties }) == *parties
        {
            return Arc::clone(&known.standing);
        }
        let standing = Arc::new(make());
        *place = Some(Box::new(Remembered {
            parties: Parties { fields: &[], ..*parties },
            fields: parties.fields.into(),
            standing: Arc::clone(&standing),
        }));
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIES: Parties<'static> = Parties {
        convention: Convention::Http { method: Some("GET") },
        role: Role::Server,
        version: HttpVersion::Http11,
        server: Endpoint::Unix(0),
        is_tls: false,
        peer: None,
        fields: b"fields",
    };

    /// Whether the second parties are given what was made for the first.
    fn are_the_same(one: &Parties<'_>, other: &Parties<'_>) -> bool {
        let mut cache = StandingCache::default();
        let first = cache.get(one, Standing::default);
        Arc::ptr_eq(&first, &cache.get(other, Standing::default))
    }

    #[test]
    fn whatever_differs_is_made_anew() {
        assert!(are_the_same(&PARTIES, &PARTIES));
        for other in [
            Parties { role: Role::Client, ..PARTIES },
            Parties { version: HttpVersion::Http10, ..PARTIES },
            Parties { convention: Convention::Http { method: Some("PUT") }, ..PARTIES },
            Parties { convention: Convention::Grpc, ..PARTIES },
            Parties { server: Endpoint::Unix(1), ..PARTIES },
            Parties { is_tls: true, ..PARTIES },
            Parties { peer: Some(IpAddr::from([127, 0, 0, 1])), ..PARTIES },
            Parties { fields: b"others", ..PARTIES },
        ] {
            assert!(!are_the_same(&PARTIES, &other), "{other:?}");
        }
    }

    #[test]
    fn a_client_decides_about_no_memory() {
        let long = [b'x'; FIELD_BYTES + 1];
        let parties = Parties { fields: &long, ..PARTIES };
        assert!(!are_the_same(&parties, &parties));
        let mut cache = StandingCache::default();
        for number in 0..5 * PLACES {
            cache.get(&Parties { server: Endpoint::Unix(number as u64), ..PARTIES }, Standing::default);
        }
        assert_eq!(cache.places.len(), PLACES);
    }
}
