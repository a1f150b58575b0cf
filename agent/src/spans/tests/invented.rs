// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Invented machines: exchanges told in a line each, played through the stage until it rests.

use std::{net::SocketAddr, rc::Rc};

use agent_protocols::{
    Protocol, Response,
    http::{Header, HttpRequest, HttpResponse, HttpVersion},
};

use super::super::*;
use crate::{
    exchanges::{ConnectionFacts, Endpoint, Outcome},
    moment::{FixedClocks, Moment, Thread, WallOffset, WallTime},
};

pub const MS: u64 = 1_000_000;

/// An exchange as a test tells it: times in milliseconds, the thread of the request's first byte and of the response's.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: u64,
    pub protocol: Protocol,
    pub role: Role,
    pub tgid: u32,
    pub threads: (u32, u32),
    pub first: u64,
    pub answered: Option<u64>,
    pub last: u64,
    /// Connection and the client's port; both ends of one exchange have the same port.
    pub connection: u64,
    pub port: u16,
    pub headers: Vec<(Header, Vec<u8>)>,
}

pub fn told(role: Role, id: u64, tgid: u32, first: u64, last: u64) -> Told {
    let (threads, port) = ((1, 1), u16::try_from(id).expect("small"));
    Told {
        id,
        protocol: Protocol::Http1,
        role,
        tgid,
        threads,
        first,
        answered: Some(last),
        last,
        connection: id,
        port,
        headers: Vec::new(),
    }
}

pub fn request(id: u64, tgid: u32, first: u64, last: u64) -> Told {
    told(Role::Server, id, tgid, first, last)
}

pub fn call(id: u64, tgid: u32, first: u64, last: u64) -> Told {
    told(Role::Client, id, tgid, first, last)
}

impl Told {
    pub fn at_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    pub fn on(self, thread: u32) -> Self {
        Self { threads: (thread, thread), ..self }
    }

    pub fn over_http2(self) -> Self {
        Self { protocol: Protocol::Http2, ..self }
    }

    pub fn with(mut self, name: Header, value: &str) -> Self {
        self.headers.push((name, value.as_bytes().to_vec()));
        self
    }

    pub fn answered(self, answered: u64) -> Self {
        Self { answered: Some(answered), ..self }
    }

    pub fn moment(&self, time: u64, tid: u32) -> Moment {
        Moment { time: KernelTime(time * MS), thread: Thread { tgid: self.tgid, tid }, position: 77 }
    }

    pub fn parts(&self) -> (Rc<ConnectionFacts>, Request) {
        let client = Endpoint::Internet(SocketAddr::from(([10, 0, 0, 1], self.port)));
        let server = Endpoint::Internet(SocketAddr::from(([10, 0, 0, 2], 80)));
        // The client sees another address than the server has, as behind a Kubernetes service.
        let service = Endpoint::Internet(SocketAddr::from(([10, 96, 0, 1], 80)));
        let (local, remote) = match self.role {
            Role::Server => (server, client),
            Role::Client => (client, service),
        };
        let id = self.connection;
        let facts = ConnectionFacts {
            id,
            socket: id,
            local,
            remote,
            network_namespace: self.tgid,
            is_tls: false,
            handshake: None,
            joined_mid_stream: false,
        };
        let headers: Vec<(Header, &[u8])> =
            self.headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let request = HttpRequest::new(HttpVersion::Http11, b"GET", b"/", &headers);
        (Rc::new(facts), Request::Http(request))
    }

    pub fn began(&self) -> Event {
        let exchange = self.exchange();
        let unknown = Exchange {
            response: None,
            outcome: Outcome::Answered,
            response_first: None,
            last: exchange.first,
            ..exchange
        };
        Event::Began(unknown)
    }

    pub fn ended(&self) -> Event {
        Event::Ended(self.exchange())
    }

    fn exchange(&self) -> Exchange {
        let (connection, request) = self.parts();
        let response = self.answered.map(|_| {
            let response = HttpResponse::new(HttpVersion::Http11, 200, &[]);
            Response::Http(response)
        });
        Exchange {
            id: ExchangeId(self.id),
            protocol: self.protocol,
            role: self.role,
            connection,
            request,
            outcome: match response {
                Some(_) => Outcome::Answered,
                None => Outcome::Broken(agent_protocols::Broken::ConnectionClosed),
            },
            response,
            partial: None,
            request_body_bytes: None,
            response_body_bytes: None,
            rpc: None,
            first: self.moment(self.first, self.threads.0),
            response_first: self.answered.map(|time| self.moment(time, self.threads.1)),
            last: self.moment(self.last, self.threads.1),
        }
    }
}

/// An event with its exchange.
pub enum Event {
    Began(Exchange),
    Ended(Exchange),
}

impl Event {
    pub const fn told(&self) -> ExchangeEvent<'_> {
        match self {
            Self::Began(exchange) => ExchangeEvent::Began(exchange),
            Self::Ended(exchange) => ExchangeEvent::Ended(exchange),
        }
    }
}

pub struct Run {
    /// By exchange id, told by the start time: tests give every exchange its own.
    pub spans: Vec<Span>,
    pub ledger: Ledger,
}

/// Plays the exchanges in the order of their times and lets everything come to rest.
pub fn run(exchanges: &[Told]) -> Run {
    let mut events: Vec<(u64, u64, Event)> = Vec::new();
    for exchange in exchanges {
        events.push((exchange.first, exchange.id, exchange.began()));
        events.push((exchange.last, exchange.id, exchange.ended()));
    }
    events.sort_by_key(|(time, ..)| *time);
    play(events.into_iter().map(|(time, _, event)| (time, event)), open::RECORDS)
}

/// The spans that leave as time comes this far.
pub fn leaving(stage: &mut Spans, now: KernelTime) -> Vec<Span> {
    let mut spans = Vec::new();
    stage.handle_time(now, &mut |span| spans.push(span.clone()));
    spans
}

pub fn play(events: impl Iterator<Item = (u64, Event)>, records: usize) -> Run {
    let ledger = Ledger::new();
    let clock = WallClock::new(FixedClocks(WallOffset::from(0)));
    let mut stage = Spans::with(&ledger, clock, Identities::seeded(1, 2), records);
    let mut spans = Vec::new();
    let mut latest = 0;
    for (time, event) in events {
        stage.handle_event(event.told());
        spans.append(&mut leaving(&mut stage, KernelTime(time * MS)));
        latest = latest.max(time);
    }
    for later in 0..200 {
        spans.append(&mut leaving(&mut stage, KernelTime((latest + later * 100) * MS)));
    }
    assert_eq!(stage.open.len(), 0, "nothing is kept for ever");
    assert!(stage.passing.is_empty() && stage.waiting == 0);
    assert_eq!(ledger.counter(Family::Spans, &[]).get(), spans.len() as u64);
    Run { spans, ledger }
}

impl Run {
    pub fn at(&self, start: u64) -> &Span {
        self.spans.iter().find(|span| span.start == WallTime(start * MS)).expect("one span for every exchange")
    }

    pub fn check_parent(&self, child: u64, parent: u64) {
        let (child, parent) = (self.at(child), self.at(parent));
        assert_eq!(child.parent, Some(parent.span_id));
        assert_eq!(child.trace_id, parent.trace_id);
        assert!(!child.parent_is_remote);
    }

    pub fn check_root(&self, start: u64) {
        assert_eq!(self.at(start).parent, None);
    }

    pub fn ambiguous(&self, reason: Ambiguity) -> u64 {
        self.ledger.counter(Family::ParentsAmbiguous, &[("reason", reason.name())]).get()
    }
}
