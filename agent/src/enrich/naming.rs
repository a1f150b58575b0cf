// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What calls into the cluster are told of whom they call: `server.address` becomes a name.
//!
//! In: client spans, and news that names may have changed. Out: the same spans, where what they call has a name in the
//! cluster. `network.peer.address` and `url.full` stay what was on the wire.
//! Does not: ask for each span. What a span has in common with others of the same parties is named once, and again only
//! when names may have changed; that one stays the same where they have not, and with it what exporters made of it.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use super::kubernetes::{Peers, Pods};
use crate::spans::{Attribute, Span, Standing, Value};

/// Places; each is shared by all whose numbers agree. Larger: memory, about 1 KB each in use. Smaller: machines that call
/// more peers at once look the same names up again and again.
const PLACES: usize = 1024;

const ADDRESS: &str = "server.address";
const PORT: &str = "server.port";

#[derive(Debug, Default)]
pub struct Naming {
    places: Vec<Option<Named>>,
    /// How often names have changed.
    news: u64,
}

#[derive(Debug)]
struct Named {
    /// Held, so that no other one comes to lie where it lies.
    standing: Arc<Standing>,
    /// Of whose process: what a short name means depends on it.
    resource: u64,
    news: u64,
    name: Option<String>,
    /// With the name, if there is one.
    named: Arc<Standing>,
}

/// Whom a span calls, as it was on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    host: &'a str,
    port: u16,
}

impl<'a> Server<'a> {
    fn of(attributes: &'a [Attribute]) -> Option<Self> {
        let value = |key| attributes.iter().find(|attribute| attribute.key == key).map(|attribute| &attribute.value);
        let Value::Text(host) = value(ADDRESS)? else { return None };
        let port = match value(PORT) {
            Some(Value::Integer(port)) => u16::try_from(*port).unwrap_or_default(),
            _ => 0,
        };
        Some(Self { host, port })
    }

    /// What it is called, by a process of this namespace.
    #[must_use]
    pub fn find(&self, peers: &Peers, pods: &Pods, namespace: Option<&str>) -> Option<String> {
        match self.host.parse::<IpAddr>() {
            Ok(address) => peers.at((address.to_canonical(), self.port).into(), pods),
            Err(_) => peers.called(self.host, namespace),
        }
    }
}

impl Naming {
    pub const fn handle_news(&mut self) {
        self.news += 1;
    }

    /// `find` gives the name. It depends on nothing but the server, the resource and the news.
    pub fn name(&mut self, span: &mut Span, resource: u64, find: impl FnOnce(Server<'_>) -> Option<String>) {
        let Some(standing) = span.standing.as_mut() else { return };
        let find = |attributes: &[Attribute]| Server::of(attributes).and_then(find);
        // Nobody else has it, so that it will not come again.
        if Arc::get_mut(standing).is_some() {
            if let Some(name) = find(&standing.attributes) {
                *standing = Arc::new(with_name(standing, name));
            }
            return;
        }
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let place = &mut self.places[place(standing, resource)];
        if let Some(known) = place
            && Arc::ptr_eq(&known.standing, standing)
            && known.resource == resource
        {
            if known.news != self.news {
                known.handle_name(find(&standing.attributes));
                known.news = self.news;
            }
            *standing = Arc::clone(&known.named);
            return;
        }
        let (news, unnamed) = (self.news, Arc::clone(standing));
        let named = Arc::clone(standing);
        let known = place.insert(Named { standing: unnamed, resource, news, name: None, named });
        known.handle_name(find(&standing.attributes));
        *standing = Arc::clone(&known.named);
    }
}

impl Named {
    fn handle_name(&mut self, name: Option<String>) {
        if name != self.name {
            self.named = match &name {
                Some(name) => Arc::new(with_name(&self.standing, name.clone())),
                None => Arc::clone(&self.standing),
            };
            self.name = name;
        }
    }
}

fn place(standing: &Arc<Standing>, resource: u64) -> usize {
    // Allocations begin at multiples of 16.
    (Arc::as_ptr(standing).addr() >> 4).wrapping_add(resource as usize) % PLACES
}

fn with_name(standing: &Standing, name: String) -> Standing {
    let mut attributes = standing.attributes.clone();
    if let Some(address) = attributes.iter_mut().find(|attribute| attribute.key == ADDRESS) {
        address.value = Value::Text(Cow::Owned(name));
    }
    Standing::new(attributes, standing.is_direct)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{
        moment::WallTime,
        spans::{Kind, Sampled, SpanId, Status, TraceId},
    };

    fn standing(host: &str, port: i64) -> Arc<Standing> {
        let attributes = vec![
            Attribute { key: "http.request.method", value: Value::Text(Cow::Borrowed("GET")) },
            Attribute { key: ADDRESS, value: Value::Text(Cow::Owned(host.to_owned())) },
            Attribute { key: PORT, value: Value::Integer(port) },
        ];
        Arc::new(Standing::new(attributes, true))
    }

    fn span(standing: &Arc<Standing>) -> Span {
        Span {
            trace_id: TraceId([1; 16]),
            span_id: SpanId([1; 8]),
            parent: None,
            parent_is_remote: false,
            trace_state: None,
            sampled: Sampled::Undecided,
            kind: Kind::Client,
            name: Cow::Borrowed("GET"),
            start: WallTime(0),
            end: WallTime(1),
            standing: Some(Arc::clone(standing)),
            attributes: Vec::new(),
            status: Status::Unset,
            tgid: 1,
        }
    }

    /// A directory that counts how often it is asked, and knows one thing.
    #[derive(Default)]
    struct Directory {
        name: Cell<Option<&'static str>>,
        asked: Cell<u32>,
    }

    impl Directory {
        fn find(&self, server: Server<'_>) -> Option<String> {
            assert_eq!((server.host, server.port), ("orders", 8080));
            self.asked.set(self.asked.get() + 1);
            self.name.get().map(str::to_owned)
        }

        /// The standing attributes of a span that was named.
        fn name(&self, naming: &mut Naming, standing: &Arc<Standing>, resource: u64) -> Arc<Standing> {
            let mut span = span(standing);
            naming.name(&mut span, resource, |server| self.find(server));
            span.standing.expect("it had some")
        }
    }

    fn address(standing: &Standing) -> &str {
        Server::of(&standing.attributes).expect("there is one").host
    }

    #[test]
    fn names_are_looked_up_once_until_there_is_news() {
        let (mut naming, directory, standing) = (Naming::default(), Directory::default(), standing("orders", 8080));
        let first = directory.name(&mut naming, &standing, 1);
        assert!(Arc::ptr_eq(&first, &standing), "nothing is known of it");
        directory.name.set(Some("orders.shop"));
        let second = directory.name(&mut naming, &standing, 1);
        assert!(Arc::ptr_eq(&second, &standing) && directory.asked.get() == 1, "no news");
        naming.handle_news();
        let named = directory.name(&mut naming, &standing, 1);
        assert_eq!((address(&named), address(&standing)), ("orders.shop", "orders"));
        assert_eq!(named.attributes.len(), standing.attributes.len());
        naming.handle_news();
        let again = directory.name(&mut naming, &standing, 1);
        assert!(Arc::ptr_eq(&again, &named) && directory.asked.get() == 3, "news of others");
        directory.name.set(None);
        naming.handle_news();
        assert!(Arc::ptr_eq(&directory.name(&mut naming, &standing, 1), &standing));
    }

    #[test]
    fn the_same_host_is_another_s_for_another_process() {
        let (mut naming, directory, standing) = (Naming::default(), Directory::default(), standing("orders", 8080));
        directory.name.set(Some("orders.shop"));
        assert_eq!(address(&directory.name(&mut naming, &standing, 1)), "orders.shop");
        directory.name.set(Some("orders.front"));
        assert_eq!(address(&directory.name(&mut naming, &standing, 2)), "orders.front");
    }

    #[test]
    fn what_nobody_else_has_is_not_remembered() {
        let (mut naming, directory) = (Naming::default(), Directory::default());
        directory.name.set(Some("orders.shop"));
        let mut span = span(&standing("orders", 8080));
        naming.name(&mut span, 1, |server| directory.find(server));
        assert_eq!(address(span.standing.as_deref().expect("it had some")), "orders.shop");
        assert!(naming.places.is_empty());
    }
}
