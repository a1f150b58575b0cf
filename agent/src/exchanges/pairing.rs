// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Joins the parts of one exchange, by connection and stream.
//!
//! In: [`Heard`]. Out: [`ExchangeEvent`]s: every `Began` has exactly one `Ended`.
//! Does not: know bytes, spans or a clock.

use std::{collections::VecDeque, rc::Rc};

use agent_protocols::{BodyEnd, Broken, Message, Part, Protocol, Request, Response, Rpc};

use super::{
    Began, ConnectionFacts, Exchange, ExchangeEvent, ExchangeId, Outcome, Partial, Role,
    table::{Key, Table},
};
use crate::{
    connections::{Heard, What},
    ledger::{Counter, Family, Ledger},
    moment::Moment,
};

/// Exchanges that are open at once. Larger: memory where many requests wait for their responses. Smaller: requests past
/// it make no span.
const OPEN_EXCHANGES: usize = 131_072;

pub struct Exchanges {
    open: Table<Box<Open>>,
    events: VecDeque<ExchangeEvent>,
    next_id: u64,
    limit: usize,
    counters: Counters,
}

/// An exchange whose end was not seen.
struct Open {
    id: ExchangeId,
    protocol: Protocol,
    role: Role,
    connection: Rc<ConnectionFacts>,
    request: Request,
    response: Option<Response>,
    request_end: Option<(BodyEnd, Moment)>,
    response_end: Option<(BodyEnd, Moment)>,
    rpc: Option<Box<Rpc>>,
    first: Moment,
    response_first: Option<Moment>,
}

impl Open {
    /// Both ends were seen: a response may end before its request does.
    const fn is_whole(&self) -> bool {
        self.request_end.is_some() && self.response_end.is_some()
    }

    /// Fields were named before the connection was seen.
    fn has_unknown_fields(&self) -> bool {
        let Request::Http(request) = &self.request;
        let response = self.response.as_ref().map(|Response::Http(response)| response);
        request.has_unknown_fields || response.is_some_and(|response| response.has_unknown_fields)
    }
}

impl Exchanges {
    #[must_use]
    pub fn new(ledger: &Ledger) -> Self {
        Self {
            open: Table::default(),
            events: VecDeque::new(),
            next_id: 0,
            limit: OPEN_EXCHANGES,
            counters: Counters::new(ledger),
        }
    }

    pub fn handle_heard(&mut self, heard: Heard) {
        let Heard { connection, protocol, role, what } = heard;
        match what {
            What::Message(message) => self.handle_message(connection, protocol, role, message),
            What::Over(broken, mark) => self.handle_over(connection.id, broken, mark),
        }
    }

    pub fn poll_event(&mut self) -> Option<ExchangeEvent> {
        self.events.pop_front()
    }

    /// Exchanges that have begun and not ended.
    #[must_use]
    pub const fn open(&self) -> usize {
        self.open.len()
    }

    fn handle_message(
        &mut self,
        connection: Rc<ConnectionFacts>,
        protocol: Protocol,
        role: Role,
        message: Message<Moment>,
    ) {
        let key = (connection.id, message.stream);
        let mark = message.mark;
        let at = Moment { position: mark.position.wrapping_add(message.offset), ..mark };
        match message.part {
            Part::RequestHead(request) => self.begin(key, connection, protocol, role, request, at),
            Part::RequestEnd(end) => {
                if let Some(open) = self.open.get_mut(key) {
                    open.request_end.get_or_insert((end, at));
                    if open.is_whole() {
                        self.end_whole(key);
                    }
                }
            }
            Part::ResponseHead(response) => {
                self.counters.messages(protocol).increment();
                if let Some(open) = self.open.get_mut(key) {
                    open.response_first.get_or_insert(at);
                    open.response = Some(response);
                }
            }
            Part::ResponseEnd(end) => {
                if let Some(open) = self.open.get_mut(key) {
                    open.response_end.get_or_insert((end, at));
                    if open.is_whole() {
                        self.end_whole(key);
                    }
                }
            }
            Part::Rpc(rpc) => {
                if let Some(open) = self.open.get_mut(key) {
                    open.rpc = Some(rpc);
                }
            }
            Part::Broken(broken) => {
                if let Some(open) = self.open.remove(key) {
                    self.end_broken(*open, broken, at);
                }
            }
        }
    }

    fn begin(
        &mut self,
        key: Key,
        connection: Rc<ConnectionFacts>,
        protocol: Protocol,
        role: Role,
        request: Request,
        first: Moment,
    ) {
        self.counters.messages(protocol).increment();
        if self.open.len() >= self.limit {
            self.counters.table_full(protocol).increment();
            return;
        }
        let id = ExchangeId(self.next_id);
        self.next_id += 1;
        self.events.push_back(ExchangeEvent::Began(Began {
            id,
            protocol,
            role,
            connection: Rc::clone(&connection),
            request: request.clone(),
            first,
        }));
        let open = Box::new(Open {
            id,
            protocol,
            role,
            connection,
            request,
            response: None,
            request_end: None,
            response_end: None,
            rpc: None,
            first,
            response_first: None,
        });
        if let Some(forgotten) = self.open.insert(key, open) {
            // A parser that numbers two requests alike would break the pairing of `Began` and `Ended`; it does not here.
            self.end_broken(*forgotten, Broken::NotUnderstood, first);
        }
    }

    fn end_whole(&mut self, key: Key) {
        let open = self.open.remove(key).expect("it was just seen");
        self.end(*open, Outcome::Answered, None);
    }

    fn end_broken(&mut self, open: Open, broken: Broken, at: Moment) {
        // The response was whole; the rest of the request never came.
        let answered = open.response_end.is_some();
        self.counters.incomplete(open.protocol, broken).increment();
        self.end(open, if answered { Outcome::Answered } else { Outcome::Broken(broken) }, Some((broken, at)));
    }

    fn end(&mut self, open: Open, outcome: Outcome, broken: Option<(Broken, Moment)>) {
        let ends = [open.request_end, open.response_end];
        // Bytes of a body that were not read, but counted, are missed by nobody.
        let cut = |end: &BodyEnd| end.bytes_lost && end.body_bytes.is_none();
        let bytes_lost =
            ends.iter().flatten().any(|(end, _)| cut(end)) || matches!(broken, Some((Broken::BytesLost, _)));
        let partial = match (bytes_lost, open.has_unknown_fields()) {
            (true, _) => Some(Partial::BytesLost),
            (false, true) => Some(Partial::JoinedMidStream),
            (false, false) => None,
        };
        let last = ends.iter().flatten().map(|(_, at)| *at).chain(broken.map(|(_, at)| at));
        let last = last.max_by_key(|at| at.time).unwrap_or(open.first);
        let body_bytes = |end: Option<(BodyEnd, Moment)>| end.and_then(|(end, _)| end.body_bytes);
        self.counters.exchanges(open.protocol).increment();
        self.events.push_back(ExchangeEvent::Ended(Box::new(Exchange {
            id: open.id,
            protocol: open.protocol,
            role: open.role,
            connection: open.connection,
            request: open.request,
            response: open.response,
            outcome,
            partial,
            rpc: open.rpc,
            request_body_bytes: body_bytes(open.request_end),
            response_body_bytes: body_bytes(open.response_end),
            first: open.first,
            response_first: open.response_first,
            last,
        })));
    }

    fn handle_over(&mut self, connection: u64, broken: Broken, at: Moment) {
        while let Some(open) = self.open.remove_oldest(connection) {
            self.end_broken(*open, broken, at);
        }
    }
}

/// Fetched once; by protocol, and by reason.
struct Counters {
    messages: [Counter; Protocol::ALL.len()],
    exchanges: [Counter; Protocol::ALL.len()],
    table_full: [Counter; Protocol::ALL.len()],
    incomplete: [[Counter; Broken::ALL.len()]; Protocol::ALL.len()],
}

impl Counters {
    fn new(ledger: &Ledger) -> Self {
        let by_protocol = |family| Protocol::ALL.map(|it| ledger.counter(family, &[("protocol", it.name())]));
        let incomplete = |protocol: Protocol, reason| {
            ledger.counter(Family::ExchangesIncomplete, &[("protocol", protocol.name()), ("reason", reason)])
        };
        Self {
            messages: by_protocol(Family::Messages),
            exchanges: by_protocol(Family::Exchanges),
            table_full: Protocol::ALL.map(|protocol| incomplete(protocol, "table_full")),
            incomplete: Protocol::ALL.map(|protocol| Broken::ALL.map(|broken| incomplete(protocol, broken.name()))),
        }
    }

    const fn messages(&self, protocol: Protocol) -> Counter {
        self.messages[protocol as usize]
    }

    const fn exchanges(&self, protocol: Protocol) -> Counter {
        self.exchanges[protocol as usize]
    }

    const fn table_full(&self, protocol: Protocol) -> Counter {
        self.table_full[protocol as usize]
    }

    const fn incomplete(&self, protocol: Protocol, broken: Broken) -> Counter {
        self.incomplete[protocol as usize][broken.index()]
    }
}

#[cfg(test)]
mod tests {
    use agent_protocols::http::{HttpRequest, HttpResponse, HttpVersion};

    use super::*;
    use crate::{exchanges::Endpoint, moment::KernelTime};

    struct Pairing {
        ledger: Ledger,
        exchanges: Exchanges,
        time: u64,
    }

    impl Pairing {
        fn new() -> Self {
            let ledger = Ledger::new();
            let exchanges = Exchanges::new(&ledger);
            Self { ledger, exchanges, time: 0 }
        }

        fn hear(&mut self, connection: u64, what: impl FnOnce(Moment) -> What) {
            self.time += 1;
            let mark = Moment { time: KernelTime(self.time), position: u32::MAX, ..Moment::default() };
            let connection = Rc::new(ConnectionFacts {
                socket: 1,
                id: connection,
                local: Endpoint::Unix(1),
                remote: Endpoint::Unix(2),
                network_namespace: 0,
                joined_mid_stream: false,
            });
            let heard = Heard { connection, protocol: Protocol::Http1, role: Role::Server, what: what(mark) };
            self.exchanges.handle_heard(heard);
        }

        fn part(&mut self, connection: u64, stream: u64, part: Part) {
            self.hear(connection, |mark| What::Message(Message { stream, mark, offset: 3, part }));
        }

        fn events(&mut self) -> Vec<ExchangeEvent> {
            std::iter::from_fn(|| self.exchanges.poll_event()).collect()
        }

        fn ended(&mut self) -> Vec<Exchange> {
            let ended = |event| if let ExchangeEvent::Ended(exchange) = event { Some(*exchange) } else { None };
            self.events().into_iter().filter_map(ended).collect()
        }
    }

    fn request() -> Part {
        let request = HttpRequest::new(HttpVersion::Http11, b"GET", b"/", &[]);
        Part::RequestHead(Request::Http(request))
    }

    fn response() -> Part {
        Part::ResponseHead(Response::Http(HttpResponse::new(HttpVersion::Http11, 200, &[])))
    }

    const END: BodyEnd = BodyEnd { body_bytes: Some(4), bytes_lost: false };

    #[test]
    fn an_exchange_is_over_when_both_ends_were_seen_whichever_came_last() {
        let mut pairing = Pairing::new();
        pairing.part(1, 0, request());
        pairing.part(1, 0, response());
        pairing.part(1, 0, Part::ResponseEnd(END));
        assert!(matches!(pairing.events()[..], [ExchangeEvent::Began(_)]));
        pairing.part(1, 0, Part::RequestEnd(BodyEnd { body_bytes: None, bytes_lost: true }));
        let ended = pairing.ended();
        assert_eq!((ended[0].outcome, ended[0].partial), (Outcome::Answered, Some(Partial::BytesLost)));
        assert_eq!(ended[0].last.time, KernelTime(4));
        // The offset is added to the mark's position, across the wrap.
        assert_eq!(ended[0].first.position, 2);
        assert_eq!(ended[0].response_first.map(|at| at.time), Some(KernelTime(2)));
    }

    #[test]
    fn a_body_that_was_counted_and_not_read_is_whole() {
        let mut pairing = Pairing::new();
        pairing.part(1, 0, request());
        pairing.part(1, 0, Part::RequestEnd(END));
        pairing.part(1, 0, response());
        pairing.part(1, 0, Part::ResponseEnd(BodyEnd { bytes_lost: true, ..END }));
        let ended = pairing.ended();
        assert_eq!((ended[0].response_body_bytes, ended[0].partial), (Some(4), None));
    }

    #[test]
    fn an_answer_counts_though_its_request_was_never_finished() {
        let mut pairing = Pairing::new();
        pairing.part(1, 0, request());
        pairing.part(1, 0, response());
        pairing.part(1, 0, Part::ResponseEnd(END));
        pairing.part(1, 0, Part::Broken(Broken::ConnectionReset));
        assert_eq!(pairing.ended()[0].outcome, Outcome::Answered);
        assert!(pairing.ledger.lines().contains("{protocol=\"http1\",reason=\"connection_reset\"} 1"));
    }

    #[test]
    fn the_end_of_a_connection_ends_its_exchanges_and_no_others() {
        let mut pairing = Pairing::new();
        for (connection, stream) in [(1, 0), (2, 0), (2, u64::MAX), (3, 0)] {
            pairing.part(connection, stream, request());
        }
        pairing.hear(2, |mark| What::Over(Broken::ConnectionClosed, mark));
        let ended = pairing.ended();
        assert_eq!(ended.len(), 2);
        assert!(ended.iter().all(|exchange| exchange.connection.id == 2));
        assert!(ended.iter().all(|exchange| exchange.outcome == Outcome::Broken(Broken::ConnectionClosed)));
        assert_eq!(pairing.exchanges.open(), 2);
        // What comes after the end begins nothing.
        pairing.part(2, 0, Part::ResponseEnd(END));
        assert!(pairing.events().is_empty());
    }

    #[test]
    fn past_the_limit_requests_begin_nothing_and_are_counted() {
        let mut pairing = Pairing::new();
        pairing.exchanges.limit = 2;
        (0..5).for_each(|stream| pairing.part(1, stream, request()));
        assert_eq!(pairing.events().len(), 2);
        assert!(pairing.ledger.lines().contains("{protocol=\"http1\",reason=\"table_full\"} 3"));
    }
}
