// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The stage as a whole: exchanges of invented machines in, spans out.

use std::{cell::Cell, collections::HashMap, net::SocketAddr, rc::Rc};

use agent_protocols::{
    Protocol,
    http::{Header, HttpRequest, HttpResponse, HttpVersion},
};
use proptest::prelude::*;

use super::*;
use crate::{
    exchanges::{ConnectionFacts, Endpoint, Outcome},
    moment::{ClockSource, FixedClocks, Moment, Thread, WallOffset, WallTime},
};

const MS: u64 = 1_000_000;

/// An exchange as a test tells it: times in milliseconds, the thread of the request's first byte and of the response's.
#[derive(Clone, Debug)]
struct Told {
    id: u64,
    role: Role,
    tgid: u32,
    threads: (u32, u32),
    first: u64,
    answered: Option<u64>,
    last: u64,
    /// Connection and the client's port; both ends of one exchange have the same port.
    connection: u64,
    port: u16,
    headers: Vec<(Header, Vec<u8>)>,
}

fn told(role: Role, id: u64, tgid: u32, first: u64, last: u64) -> Told {
    let (threads, port) = ((1, 1), u16::try_from(id).expect("small"));
    Told { id, role, tgid, threads, first, answered: Some(last), last, connection: id, port, headers: Vec::new() }
}

fn request(id: u64, tgid: u32, first: u64, last: u64) -> Told {
    told(Role::Server, id, tgid, first, last)
}

fn call(id: u64, tgid: u32, first: u64, last: u64) -> Told {
    told(Role::Client, id, tgid, first, last)
}

impl Told {
    fn at_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    fn on(self, thread: u32) -> Self {
        Self { threads: (thread, thread), ..self }
    }

    fn with(mut self, name: Header, value: &str) -> Self {
        self.headers.push((name, value.as_bytes().to_vec()));
        self
    }

    fn answered(self, answered: u64) -> Self {
        Self { answered: Some(answered), ..self }
    }

    fn moment(&self, time: u64, tid: u32) -> Moment {
        Moment { time: KernelTime(time * MS), thread: Thread { tgid: self.tgid, tid }, position: 77 }
    }

    fn parts(&self) -> (Rc<ConnectionFacts>, Rc<Request>) {
        let client = Endpoint::Internet(SocketAddr::from(([10, 0, 0, 1], self.port)));
        let server = Endpoint::Internet(SocketAddr::from(([10, 0, 0, 2], 80)));
        // The client sees another address than the server has, as behind a Kubernetes service.
        let service = Endpoint::Internet(SocketAddr::from(([10, 96, 0, 1], 80)));
        let (local, remote) = match self.role {
            Role::Server => (server, client),
            Role::Client => (client, service),
        };
        let id = self.connection;
        let facts = ConnectionFacts { id, local, remote, network_namespace: self.tgid, joined_mid_stream: false };
        let headers: Vec<(Header, &[u8])> =
            self.headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let request = HttpRequest::new(HttpVersion::Http11, b"GET", b"/", &headers);
        (Rc::new(facts), Rc::new(Request::Http(request)))
    }

    fn began(&self) -> ExchangeEvent {
        let (connection, request) = self.parts();
        let (id, role) = (ExchangeId(self.id), self.role);
        ExchangeEvent::Began(Began { id, role, connection, request, first: self.moment(self.first, self.threads.0) })
    }

    fn ended(&self) -> ExchangeEvent {
        let (connection, request) = self.parts();
        let response = self.answered.map(|_| {
            let response = HttpResponse::new(HttpVersion::Http11, 200, &[]);
            Box::new(Response::Http(response))
        });
        ExchangeEvent::Ended(Box::new(Exchange {
            id: ExchangeId(self.id),
            protocol: Protocol::Http1,
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
            first: self.moment(self.first, self.threads.0),
            response_first: self.answered.map(|time| self.moment(time, self.threads.1)),
            last: self.moment(self.last, self.threads.1),
        }))
    }
}

struct Run {
    /// By exchange id, told by the start time: tests give every exchange its own.
    spans: Vec<Span>,
    ledger: Ledger,
}

/// Plays the exchanges in the order of their times and lets everything come to rest.
fn run(exchanges: &[Told]) -> Run {
    let mut events: Vec<(u64, u64, ExchangeEvent)> = Vec::new();
    for exchange in exchanges {
        events.push((exchange.first, exchange.id, exchange.began()));
        events.push((exchange.last, exchange.id, exchange.ended()));
    }
    events.sort_by_key(|(time, ..)| *time);
    play(events.into_iter().map(|(time, _, event)| (time, event)), open::RECORDS)
}

fn play(events: impl Iterator<Item = (u64, ExchangeEvent)>, records: usize) -> Run {
    let ledger = Ledger::new();
    let clock = WallClock::new(FixedClocks(WallOffset::from(0)));
    let mut stage = Spans::with(&ledger, clock, Identities::seeded(1, 2), records);
    let mut spans = Vec::new();
    let mut latest = 0;
    for (time, event) in events {
        stage.handle_event(event);
        stage.handle_time(KernelTime(time * MS));
        spans.extend(std::iter::from_fn(|| stage.poll_span()));
        latest = latest.max(time);
    }
    for later in 0..200 {
        stage.handle_time(KernelTime((latest + later * 100) * MS));
        spans.extend(std::iter::from_fn(|| stage.poll_span()));
    }
    assert_eq!(stage.open.len(), 0, "nothing is kept for ever");
    assert!(stage.passing.is_empty() && stage.waiting == 0);
    assert_eq!(stage.spans.get(), spans.len() as u64);
    Run { spans, ledger }
}

impl Run {
    fn at(&self, start: u64) -> &Span {
        self.spans.iter().find(|span| span.start == WallTime(start * MS)).expect("one span for every exchange")
    }

    fn check_parent(&self, child: u64, parent: u64) {
        let (child, parent) = (self.at(child), self.at(parent));
        assert_eq!(child.parent, Some(parent.span_id));
        assert_eq!(child.trace_id, parent.trace_id);
        assert!(!child.parent_is_remote);
    }

    fn check_root(&self, start: u64) {
        assert_eq!(self.at(start).parent, None);
    }

    fn ambiguous(&self, reason: Ambiguity) -> u64 {
        self.ledger.counter(Family::ParentsAmbiguous, &[("reason", reason.name())]).get()
    }
}

#[test]
fn three_services_make_one_trace() {
    let run = run(&[
        request(1, 100, 10, 90),
        call(2, 100, 20, 80).at_port(500),
        request(3, 200, 21, 79).at_port(500),
        call(4, 200, 30, 70).at_port(501),
        request(5, 300, 31, 69).at_port(501),
    ]);
    run.check_root(10);
    run.check_parent(20, 10);
    run.check_parent(21, 20);
    run.check_parent(30, 21);
    run.check_parent(31, 30);
    let starts: Vec<u64> = run.spans.iter().map(|span| span.start.0 / MS).collect();
    assert_eq!(starts, [10, 20, 21, 30, 31], "parents leave first");
}

#[test]
fn the_servers_event_may_come_first() {
    let (out, into) = (call(1, 100, 20, 80).at_port(500), request(2, 200, 21, 79).at_port(500));
    let events = [(21, into.began()), (21, out.began()), (80, out.ended()), (80, into.ended())];
    play(events.into_iter(), 10).check_parent(21, 20);
}

#[test]
fn a_server_that_reads_after_its_client_gave_up_is_still_its_child() {
    let events = [call(1, 100, 20, 60).at_port(500), request(2, 200, 200, 210).at_port(500)];
    let run = run(&events);
    assert_eq!(run.at(200).parent, None, "the connection was closed before the request was read");
    let overlapping = [call(1, 100, 20, 60).at_port(500), request(2, 200, 59, 210).at_port(500)];
    self::run(&overlapping).check_parent(59, 20);
}

#[test]
fn an_address_used_again_joins_the_latest_call() {
    let run = run(&[
        call(1, 100, 10, 20).at_port(500),
        call(2, 100, 30, 50).at_port(500),
        request(3, 200, 31, 49).at_port(500),
    ]);
    run.check_parent(31, 30);
}

#[test]
fn the_carried_context_decides() {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let run = run(&[
        call(1, 100, 20, 80).at_port(500).with(Header::Traceparent, traceparent).with(Header::Tracestate, "a=b"),
        request(2, 200, 21, 79).at_port(500).with(Header::Traceparent, traceparent).with(Header::Tracestate, "a=b"),
    ]);
    for start in [20, 21] {
        let span = run.at(start);
        assert_eq!(span.parent, Some(SpanId(0x00f0_67aa_0ba9_02b7_u64.to_be_bytes())));
        assert!(span.parent_is_remote);
        assert_eq!((span.sampled, span.trace_state.as_deref()), (Sampled::Yes, Some("a=b")));
    }
}

#[test]
fn a_context_passed_on_unchanged_names_the_request_that_brought_it() {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let carrying = |told: Told| told.with(Header::Traceparent, traceparent);
    let busy = request(9, 100, 5, 95);
    let run = run(&[carrying(request(1, 100, 10, 90)), busy, carrying(call(2, 100, 20, 80))]);
    run.check_parent(20, 10);
    assert_eq!(run.at(20).sampled, Sampled::No);
}

#[test]
fn a_context_passed_on_by_two_requests_names_neither() {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let carrying = |told: Told| told.with(Header::Traceparent, traceparent);
    let run =
        run(&[carrying(request(1, 100, 10, 90)), carrying(request(3, 100, 11, 90)), carrying(call(2, 100, 20, 80))]);
    assert!(run.at(20).parent_is_remote);
}

#[test]
fn a_head_that_took_its_time_is_nobodys_cause() {
    let slow = request(2, 100, 1, 95);
    let (outer, inner) = (request(1, 100, 10, 90), call(3, 100, 20, 80));
    let events = [(10, outer.began()), (20, inner.began()), (80, inner.ended()), (85, slow.began())];
    let ends = [(90, outer.ended()), (95, slow.ended())];
    play(events.into_iter().chain(ends), 10).check_parent(20, 10);
}

#[test]
fn sockets_that_are_not_known_are_not_the_same() {
    let mut exchanges = [call(1, 100, 20, 80).began(), request(2, 200, 21, 79).began()];
    for event in &mut exchanges {
        let ExchangeEvent::Began(began) = event else { continue };
        let facts = Rc::make_mut(&mut began.connection);
        (facts.local, facts.remote) = (Endpoint::Unix(0), Endpoint::Unix(0));
    }
    let ends = [(79, request(2, 200, 21, 79).ended()), (80, call(1, 100, 20, 80).ended())];
    play(exchanges.into_iter().map(|event| (21, event)).chain(ends), 10).check_root(21);
}

#[test]
fn sampling_alone_is_inherited() {
    let run = run(&[request(1, 100, 10, 90).with(Header::B3, "0"), call(2, 100, 20, 80)]);
    run.check_root(10);
    run.check_parent(20, 10);
    assert_eq!(run.at(20).sampled, Sampled::No);
}

#[test]
fn several_open_requests_give_no_parent_and_are_counted() {
    let run = run(&[request(1, 100, 10, 90), request(2, 100, 11, 91), call(3, 100, 20, 80)]);
    run.check_root(20);
    assert_eq!(run.ambiguous(Ambiguity::SeveralRequests), 1);
}

#[test]
fn a_request_that_ends_inside_the_call_counts() {
    let run = run(&[request(1, 100, 10, 90), request(2, 100, 11, 30), call(3, 100, 20, 80)]);
    run.check_root(20);
    assert_eq!(run.ambiguous(Ambiguity::SeveralRequests), 1);
}

#[test]
fn a_request_that_begins_inside_the_call_cannot_have_caused_it() {
    run(&[request(1, 100, 10, 90), call(3, 100, 20, 80), request(2, 100, 25, 70)]).check_parent(20, 10);
}

#[test]
fn a_request_of_another_process_does_not_matter() {
    run(&[request(1, 100, 10, 90), request(2, 200, 11, 91), call(3, 100, 20, 80)]).check_parent(20, 10);
}

#[test]
fn a_call_that_outlives_its_request_has_no_parent() {
    run(&[request(1, 100, 10, 50), call(2, 100, 20, 80)]).check_root(20);
    // Answered after the request was: whatever it was for, not for this answer.
    run(&[request(1, 100, 10, 90).answered(30), call(2, 100, 20, 80).answered(60)]).check_root(20);
}

#[test]
fn a_proxy_answers_before_the_whole_body_has_come() {
    run(&[request(1, 100, 10, 90).answered(30), call(2, 100, 20, 80).answered(29)]).check_parent(20, 10);
}

#[test]
fn a_call_waits_for_its_request_but_not_for_ever() {
    let run =
        run(&[request(1, 100, 10, 15_000), call(2, 100, 20, 30).at_port(500), request(3, 200, 21, 29).at_port(500)]);
    run.check_root(20);
    run.check_parent(21, 20);
    assert_eq!(run.ambiguous(Ambiguity::HeldTooLong), 1);
}

#[test]
fn a_process_that_calls_itself_makes_no_circle() {
    let run = run(&[call(1, 100, 20, 80).at_port(500), request(2, 100, 21, 79).at_port(500)]);
    run.check_root(20);
    run.check_parent(21, 20);
    // The same where the call's own time is too late, and where its request came first.
    let (out, into) = (call(1, 100, 25, 80).at_port(500), request(2, 100, 21, 79).at_port(500));
    let events = [(25, into.began()), (25, out.began()), (79, into.ended()), (80, out.ended())];
    let run = play(events.into_iter(), 10);
    run.check_root(25);
    run.check_parent(21, 25);
    assert_eq!(run.ambiguous(Ambiguity::HeldTooLong), 0, "neither waited for the other");
}

#[test]
fn threads_that_serve_one_request_each_earn_trust() {
    // Two requests at a time for a while, each with a call on its own thread.
    let mut exchanges = Vec::new();
    for round in 0..40 {
        let (id, start) = (round * 4 + 1, round * 100);
        exchanges.push(request(id, 100, start + 10, start + 90).on(1));
        exchanges.push(request(id + 1, 100, start + 11, start + 91).on(2));
        exchanges.push(call(id + 2, 100, start + 20, start + 80).on(1));
        exchanges.push(call(id + 3, 100, start + 21, start + 81).on(2));
    }
    // And a timer's, on a thread of its own.
    exchanges.push(call(999, 100, 3922, 3970).on(3));
    let run = run(&exchanges);
    run.check_root(20);
    run.check_parent(3920, 3910);
    run.check_parent(3921, 3911);
    run.check_root(3922);
}

#[test]
fn trust_is_lost_with_one_answer_from_another_thread() {
    let mut exchanges = Vec::new();
    for round in 0..60 {
        let (id, start) = (round * 3 + 1, round * 100);
        exchanges.push(request(id, 100, start + 10, start + 90).on(1));
        exchanges.push(request(id + 1, 100, start + 11, start + 91).on(2));
        exchanges.push(call(id + 2, 100, start + 20, start + 80).on(1));
    }
    exchanges[3 * 50].threads = (1, 2);
    let run = run(&exchanges);
    run.check_parent(4920, 4910);
    run.check_root(5920);
}

#[test]
fn a_full_table_still_gives_every_exchange_its_span() {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let exchanges = [
        request(1, 100, 10, 90),
        request(2, 100, 11, 91),
        request(3, 100, 12, 92).with(Header::Traceparent, traceparent),
    ];
    let began = exchanges.iter().map(|told| (told.first, told.began()));
    let ended = exchanges.iter().map(|told| (told.last, told.ended()));
    let run = play(began.chain(ended), 1);
    assert_eq!(run.spans.len(), 3);
    assert_eq!(run.ambiguous(Ambiguity::TableFull), 1);
    assert!(run.at(12).parent_is_remote);
}

#[test]
fn finishing_gives_what_waits() {
    let ledger = Ledger::new();
    let mut stage = Spans::new(&ledger, WallClock::new(FixedClocks(WallOffset::from(0))));
    let exchange = request(1, 100, 10, 90);
    stage.handle_event(exchange.began());
    stage.handle_event(exchange.ended());
    assert!(stage.poll_span().is_none());
    stage.finish();
    assert!(stage.poll_span().is_some());
}

#[test]
fn a_span_across_a_clock_step_has_its_length() {
    struct Stepping(Rc<Cell<u64>>);
    impl ClockSource for Stepping {
        fn read(&mut self) -> (KernelTime, WallTime) {
            (KernelTime(0), WallTime(self.0.get()))
        }
    }
    let ahead = Rc::new(Cell::new(3_600_000 * MS));
    let mut stage = Spans::new(&Ledger::new(), WallClock::new(Stepping(Rc::clone(&ahead))));
    let exchange = request(1, 100, 10, 300);
    stage.handle_event(exchange.began());
    stage.handle_time(KernelTime(10 * MS));
    // The wall clock goes back by an hour while the request is open.
    ahead.set(0);
    stage.handle_event(exchange.ended());
    stage.handle_time(KernelTime(330 * MS));
    let span = stage.poll_span().expect("settled");
    assert_eq!((span.start, span.end), (WallTime(10 * MS), WallTime(300 * MS)));
}

/// How an invented process uses its threads.
#[derive(Clone, Copy, Debug)]
enum Threads {
    /// Each request has one.
    OneEach,
    /// All work is done by one.
    Loop,
    /// Any thread does anything.
    Stealing,
    /// Most work stays on the thread where it began, as in Go under light load.
    Lazy,
}

/// Requests of one process, each with calls that it causes; times are distinct within a case.
fn machine() -> impl Strategy<Value = (Vec<Told>, HashMap<u64, u64>)> {
    let threads =
        prop_oneof![Just(Threads::OneEach), Just(Threads::Loop), Just(Threads::Stealing), Just(Threads::Lazy)];
    // Start, length, calls as parts of the length, and threads drawn at random.
    let drawn_call = (1..40_u64, 1..50_u64, any::<[u32; 4]>());
    let drawn_request = (0..3000_u64, 100..400_u64, proptest::collection::vec(drawn_call, 0..3), any::<[u32; 2]>());
    // From one request at a time to many.
    let spread = prop_oneof![Just(1), Just(4), Just(12)];
    (threads, spread, proptest::collection::vec(drawn_request, 1..60)).prop_map(|(threads, spread, requests)| {
        let (mut exchanges, mut causes) = (Vec::new(), HashMap::new());
        let thread = |drawn: u32, request: u64| match threads {
            Threads::OneEach => u32::try_from(request).expect("small"),
            Threads::Loop => 1,
            Threads::Stealing => drawn % 4,
            Threads::Lazy if drawn % 6 == 0 => drawn % 3,
            Threads::Lazy => u32::try_from(request % 3).expect("small"),
        };
        let mut id = 0;
        for (start, length, calls, drawn) in requests {
            id += 1;
            let (request_id, start) = (id, start * spread);
            let mut told = request(id, 100, start, start + length);
            told.threads = (thread(drawn[0], request_id), thread(drawn[1], request_id));
            exchanges.push(told);
            for (offset, long, drawn) in calls {
                id += 1;
                let first = start + offset;
                let mut told = call(id, 100, first, first + long);
                told.threads = (thread(drawn[0], request_id), thread(drawn[1], request_id));
                exchanges.push(told);
                causes.insert(id, request_id);
            }
        }
        (exchanges, causes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Precision is 100 %: whatever the process does with its threads, a parent that is given is the true one. A
    /// request's span is known by its client's port, which is the exchange's id here.
    #[test]
    fn a_given_parent_is_the_true_one((exchanges, causes) in machine()) {
        let run = run(&exchanges);
        prop_assert_eq!(run.spans.len(), exchanges.len());
        let requests = run.spans.iter().filter(|span| span.kind == Kind::Server);
        let request_by_span: HashMap<SpanId, u64> = requests.filter_map(|span| match span.attribute("client.port") {
            Some(Value::Integer(port)) => Some((span.span_id, u64::try_from(*port).ok()?)),
            _ => None,
        }).collect();
        for span in run.spans.iter().filter(|span| span.kind == Kind::Client) {
            let Some(parent) = span.parent else { continue };
            let given = request_by_span[&parent];
            // Calls with the same times cannot be told apart here: one of them must have been caused so.
            let same = exchanges.iter().filter(|told| {
                told.role == Role::Client && WallTime(told.first * MS) == span.start && WallTime(told.last * MS) == span.end
            });
            prop_assert!(same.into_iter().any(|told| causes[&told.id] == given));
        }
    }

    /// Events out of order, or of ends that never meet: every exchange has one span, and no parent is its own ancestor.
    #[test]
    fn no_circle_and_nothing_lost(seed in proptest::collection::vec((0..100_u64, 1..100_u64, 0..2_u32, 0..6_u16, any::<bool>()), 1..40)) {
        let exchanges: Vec<Told> = seed.iter().zip(1..).map(|((first, length, process, port, is_server), id)| {
            let role = if *is_server { Role::Server } else { Role::Client };
            told(role, id, 100 + process, *first, first + length).at_port(*port)
        }).collect();
        // In the order told, not of time: any inversion.
        let began = exchanges.iter().map(|told| (0, told.began()));
        let ended = exchanges.iter().rev().map(|told| (200, told.ended()));
        let run = play(began.chain(ended), 30);
        prop_assert_eq!(run.spans.len(), exchanges.len());
        let parents: HashMap<SpanId, Option<SpanId>> = run.spans.iter().map(|span| (span.span_id, span.parent)).collect();
        for span in &run.spans {
            let mut above = span.parent;
            for _ in 0..=exchanges.len() {
                above = above.and_then(|id| parents.get(&id).copied().flatten());
            }
            prop_assert_eq!(above, None);
            let parent = span.parent.and_then(|id| run.spans.iter().find(|span| span.span_id == id));
            prop_assert!(parent.is_none_or(|parent| parent.trace_id == span.trace_id));
        }
    }
}
