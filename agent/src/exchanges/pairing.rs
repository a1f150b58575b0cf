// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Joins the parts of one exchange, by connection and stream.
//!
//! In: [`Heard`]. Out: [`ExchangeEvent`]s: every `Began` has exactly one `Ended`.
//! Does not: know bytes, spans or a clock.

use agent_protocols::{BodyEnd, Broken, Message, Part, Protocol, Request, Response, Whole, WholeMessage};

use super::{
    Exchange, ExchangeEvent, ExchangeId, Outcome, Partial,
    table::{Key, Table},
};
use crate::{
    connections::{Heard, Side, What},
    ledger::{Counter, Family, Ledger},
    moment::Moment,
};

/// Exchanges that are open at once. Larger: memory where many requests wait for their responses. Smaller: requests past
/// it make no span.
const OPEN_EXCHANGES: usize = 131_072;

pub struct Exchanges {
    open: Table<Box<Open>>,
    next_id: u64,
    limit: usize,
    counters: Counters,
}

/// An exchange whose end was not seen.
struct Open {
    /// As far as it is known.
    exchange: Exchange,
    request_end: Option<(BodyEnd, Moment)>,
    response_end: Option<(BodyEnd, Moment)>,
}

impl Open {
    /// Both ends were seen: a response may end before its request does.
    const fn is_whole(&self) -> bool {
        self.request_end.is_some() && self.response_end.is_some()
    }
}

impl Exchange {
    /// Fields were named before the connection was seen.
    fn has_unknown_fields(&self) -> bool {
        let Request::Http(request) = &self.request;
        let response = self.response.as_ref().map(|Response::Http(response)| response);
        let in_head = request.has_unknown_fields || response.is_some_and(|response| response.has_unknown_fields);
        in_head || self.rpc.as_ref().is_some_and(|rpc| rpc.status_is_unknown)
    }
}

impl Exchanges {
    #[must_use]
    pub fn new(ledger: &Ledger) -> Self {
        Self { open: Table::default(), next_id: 0, limit: OPEN_EXCHANGES, counters: Counters::new(ledger) }
    }

    /// What comes of it goes to `next`.
    pub fn handle_heard(&mut self, Heard { on, what }: Heard, next: &mut impl FnMut(ExchangeEvent<'_>)) {
        match what {
            What::Message(message) => self.handle_message(on, message, next),
            What::Over(broken, mark) => {
                while let Some(mut open) = self.open.remove_oldest(on.connection.id) {
                    self.end_broken(&mut open, broken, mark, next);
                }
            }
        }
    }

    /// A message that began with the first of so many bytes, and ended with the last.
    pub fn handle_whole(
        &mut self,
        on: Side,
        WholeMessage { stream, whole }: WholeMessage,
        first: Moment,
        bytes: u32,
        next: &mut impl FnMut(ExchangeEvent<'_>),
    ) {
        let key = (on.connection.id, stream);
        let last = Moment { position: first.position.wrapping_add(bytes), ..first };
        match whole {
            Whole::Request(request, end) => self.begin(key, on, request, Some((end, last)), first, next),
            Whole::Response(response, end) => {
                self.counters.messages(on.protocol).increment();
                let Some(mut open) = self.open.remove(key) else { return };
                open.exchange.response_first.get_or_insert(first);
                open.exchange.response = Some(response);
                open.response_end = Some((end, last));
                self.end(&mut open, None, next);
            }
        }
    }

    /// Exchanges that have begun and not ended.
    #[must_use]
    pub const fn open(&self) -> usize {
        self.open.len()
    }

    fn handle_message(&mut self, on: Side, message: Message<Moment>, next: &mut impl FnMut(ExchangeEvent<'_>)) {
        let key = (on.connection.id, message.stream);
        let mark = message.mark;
        let at = Moment { position: mark.position.wrapping_add(message.offset), ..mark };
        match message.part {
            Part::RequestHead(request) => self.begin(key, on, request, None, at, next),
            Part::RequestEnd(end) => {
                if let Some(open) = self.open.get_mut(key) {
                    open.request_end.get_or_insert((end, at));
                    if open.is_whole() {
                        self.end_whole(key, next);
                    }
                }
            }
            Part::ResponseHead(response) => {
                self.counters.messages(on.protocol).increment();
                if let Some(open) = self.open.get_mut(key) {
                    open.exchange.response_first.get_or_insert(at);
                    open.exchange.response = Some(response);
                }
            }
            Part::ResponseEnd(end) => {
                if let Some(open) = self.open.get_mut(key) {
                    open.response_end.get_or_insert((end, at));
                    if open.is_whole() {
                        self.end_whole(key, next);
                    }
                }
            }
            Part::Rpc(rpc) => {
                if let Some(open) = self.open.get_mut(key) {
                    open.exchange.rpc = Some(rpc);
                }
            }
            Part::Broken(broken) => {
                if let Some(mut open) = self.open.remove(key) {
                    self.end_broken(&mut open, broken, at, next);
                }
            }
        }
    }

    fn begin(
        &mut self,
        key: Key,
        on: Side,
        request: Request,
        request_end: Option<(BodyEnd, Moment)>,
        first: Moment,
        next: &mut impl FnMut(ExchangeEvent<'_>),
    ) {
        let Side { connection, protocol, role } = on;
        self.counters.messages(protocol).increment();
        if self.open.len() >= self.limit {
            self.counters.table_full(protocol).increment();
            return;
        }
        let id = ExchangeId(self.next_id);
        self.next_id += 1;
        let exchange = Exchange {
            id,
            protocol,
            role,
            connection,
            request,
            response: None,
            outcome: Outcome::Answered,
            partial: None,
            rpc: None,
            request_body_bytes: None,
            response_body_bytes: None,
            first,
            response_first: None,
            last: first,
        };
        let open = Box::new(Open { exchange, request_end, response_end: None });
        next(ExchangeEvent::Began(&open.exchange));
        if let Some(mut forgotten) = self.open.insert(key, open) {
            // A parser that numbers two requests alike would break the pairing of `Began` and `Ended`; it does not here.
            self.end_broken(&mut forgotten, Broken::NotUnderstood, first, next);
        }
    }

    fn end_whole(&mut self, key: Key, next: &mut impl FnMut(ExchangeEvent<'_>)) {
        let mut open = self.open.remove(key).expect("it was just seen");
        self.end(&mut open, None, next);
    }

    fn end_broken(&self, open: &mut Open, broken: Broken, at: Moment, next: &mut impl FnMut(ExchangeEvent<'_>)) {
        self.counters.incomplete(open.exchange.protocol, broken).increment();
        // Else the response was whole, and the rest of the request never came.
        if open.response_end.is_none() {
            open.exchange.outcome = Outcome::Broken(broken);
        }
        self.end(open, Some((broken, at)), next);
    }

    fn end(&self, open: &mut Open, broken: Option<(Broken, Moment)>, next: &mut impl FnMut(ExchangeEvent<'_>)) {
        let Open { exchange, request_end, response_end } = open;
        let ends = [*request_end, *response_end];
        // Bytes of a body that were not read, but counted, are missed by nobody.
        let cut = |end: &BodyEnd| end.bytes_lost && end.body_bytes.is_none();
        let bytes_lost =
            ends.iter().flatten().any(|(end, _)| cut(end)) || matches!(broken, Some((Broken::BytesLost, _)));
        exchange.partial = match (bytes_lost, exchange.has_unknown_fields()) {
            (true, _) => Some(Partial::BytesLost),
            (false, true) => Some(Partial::JoinedMidStream),
            (false, false) => None,
        };
        let last = ends.iter().flatten().map(|(_, at)| *at).chain(broken.map(|(_, at)| at));
        exchange.last = last.max_by_key(|at| at.time).unwrap_or(exchange.first);
        let body_bytes = |end: Option<(BodyEnd, Moment)>| end.and_then(|(end, _)| end.body_bytes);
        exchange.request_body_bytes = body_bytes(ends[0]);
        exchange.response_body_bytes = body_bytes(ends[1]);
        self.counters.exchanges(exchange.protocol).increment();
        next(ExchangeEvent::Ended(exchange));
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

    use std::rc::Rc;

    use super::*;
    use crate::{
        exchanges::{ConnectionFacts, Endpoint, Role},
        moment::KernelTime,
    };

    struct Pairing {
        ledger: Ledger,
        exchanges: Exchanges,
        began: usize,
        ended: Vec<Exchange>,
        time: u64,
    }

    impl Pairing {
        fn new() -> Self {
            let ledger = Ledger::new();
            let exchanges = Exchanges::new(&ledger);
            Self { ledger, exchanges, began: 0, ended: Vec::new(), time: 0 }
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
                is_tls: false,
                handshake: None,
                joined_mid_stream: false,
            });
            let on = Side { connection, protocol: Protocol::Http1, role: Role::Server };
            let Self { exchanges, began, ended, .. } = self;
            exchanges.handle_heard(Heard { on, what: what(mark) }, &mut |event| match event {
                ExchangeEvent::Began(_) => *began += 1,
                ExchangeEvent::Ended(exchange) => ended.push(exchange.clone()),
            });
        }

        fn part(&mut self, connection: u64, stream: u64, part: Part) {
            self.hear(connection, |mark| What::Message(Message { stream, mark, offset: 3, part }));
        }

        fn ended(&mut self) -> Vec<Exchange> {
            std::mem::take(&mut self.ended)
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
        assert_eq!((pairing.began, pairing.ended.len()), (1, 0));
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
        assert_eq!((pairing.began, pairing.ended.len()), (4, 0));
    }

    #[test]
    fn past_the_limit_requests_begin_nothing_and_are_counted() {
        let mut pairing = Pairing::new();
        pairing.exchanges.limit = 2;
        (0..5).for_each(|stream| pairing.part(1, stream, request()));
        assert_eq!(pairing.began, 2);
        assert!(pairing.ledger.lines().contains("{protocol=\"http1\",reason=\"table_full\"} 3"));
    }
}
