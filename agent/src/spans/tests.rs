// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The stage as a whole: exchanges of invented machines in, spans out.

mod invented;
mod properties;

use std::{cell::Cell, rc::Rc};

use agent_protocols::http::Header;
use invented::*;

use super::*;
use crate::{
    exchanges::Endpoint,
    moment::{ClockSource, FixedClocks, WallOffset, WallTime},
};

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
fn a_chain_of_proxies_nests_though_all_pass_on_one_context() {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let run = run(&[
        call(1, 100, 10, 90).at_port(500).with(Header::Traceparent, traceparent),
        request(2, 200, 11, 89).at_port(500).with(Header::Traceparent, traceparent),
        call(3, 200, 12, 88).at_port(501).with(Header::Traceparent, traceparent),
        request(4, 300, 13, 87).at_port(501).with(Header::Traceparent, traceparent),
    ]);
    // Who sent it says whom it is of; the proxy says what it was told.
    assert!(run.at(10).parent_is_remote && run.at(11).parent_is_remote);
    run.check_parent(12, 11);
    run.check_parent(13, 12);
}

#[test]
fn a_context_that_one_end_did_not_see_is_not_taken_from_it() {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let run = run(&[
        call(1, 100, 20, 80).at_port(500),
        request(2, 200, 21, 79).at_port(500).with(Header::Traceparent, traceparent),
    ]);
    run.check_root(20);
    assert!(run.at(21).parent_is_remote);
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
        let Event::Began(began) = event else { continue };
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
fn threads_of_shared_connections_earn_none() {
    let exchanges = |odd: fn(Told) -> Told, index: usize| {
        let mut exchanges: Vec<Told> = Vec::new();
        for round in 0..60 {
            let (id, start) = (round * 3 + 1, round * 100);
            exchanges.push(request(id, 100, start + 10, start + 90).on(1));
            exchanges.push(request(id + 1, 100, start + 11, start + 91).on(2));
            exchanges.push(call(id + 2, 100, start + 20, start + 80).on(1));
        }
        exchanges[index] = odd(exchanges[index].clone());
        run(&exchanges)
    };
    // The thread that wrote the call may have written what another queued; the others are trusted as before.
    let run = exchanges(Told::over_http2, 3 * 59 + 2);
    run.check_parent(5820, 5810);
    run.check_root(5920);
    // Nor is it known who read its answer.
    let run = exchanges(|call| Told { threads: (1, 9), ..call.over_http2() }, 3 * 58 + 2);
    run.check_parent(5920, 5910);
    // A thread that reads the requests of a shared connection serves many.
    let run = exchanges(Told::over_http2, 3 * 50);
    run.check_parent(4820, 4810);
    run.check_root(5920);
}

#[test]
fn another_program_must_earn_trust_again() {
    let pair =
        |id, start| [request(id, 100, start, start + 80).on(1), request(id + 1, 100, start + 1, start + 81).on(2)];
    let mut events = Vec::new();
    for round in 0..40 {
        let (id, start) = (round * 3 + 1, round * 100);
        let [one, two] = pair(id, start);
        let inner = call(id + 2, 100, start + 10, start + 70).on(1);
        events.extend([(start, one.began()), (start + 1, two.began()), (start + 10, inner.began())]);
        events.extend([(start + 70, inner.ended()), (start + 80, one.ended()), (start + 81, two.ended())]);
    }
    let last_round = events.split_off(39 * 6);
    let mut stage = Spans::new(&Ledger::new(), WallClock::new(FixedClocks(WallOffset::from(0))));
    let mut spans = Vec::new();
    for (time, event) in events {
        stage.handle_event(event.told());
        spans.append(&mut leaving(&mut stage, KernelTime(time * MS)));
    }
    stage.handle_process_replaced(100);
    for (time, event) in last_round {
        stage.handle_event(event.told());
        spans.append(&mut leaving(&mut stage, KernelTime(time * MS)));
    }
    spans.append(&mut leaving(&mut stage, KernelTime(100_000 * MS)));
    let parent = |start: u64| spans.iter().find(|span| span.start == WallTime(start * MS)).and_then(|span| span.parent);
    assert!(parent(3710).is_some());
    assert_eq!(parent(3910), None);
}

#[test]
fn more_waiting_calls_than_are_held_lose_the_first_parents() {
    let more = 5;
    let calls = u64::try_from(HELD).expect("small") + more;
    let outer = request(1, 100, 1, 5000);
    let inner: Vec<Told> = (0..calls).map(|number| call(number + 2, 100, 10, 20 + number / 1000)).collect();
    let began = [(1, outer.began())].into_iter().chain(inner.iter().map(|told| (10, told.began())));
    let ended = inner.iter().map(|told| (told.last, told.ended())).chain([(5000, outer.ended())]);
    let run = play(began.chain(ended), open::RECORDS);
    assert_eq!(run.ambiguous(Ambiguity::HeldTooLong), more);
    assert_eq!(run.spans.iter().filter(|span| span.parent.is_some()).count(), HELD);
}

#[test]
fn processes_past_the_table_are_counted() {
    let others = u32::try_from(PROCESSES).expect("small");
    let mut exchanges: Vec<Told> = (0..others).map(|tgid| request(u64::from(tgid) + 1, tgid, 1, 90)).collect();
    exchanges.push(request(9_000, 9_000, 10, 80));
    exchanges.push(call(9_001, 9_000, 20, 70));
    let run = run(&exchanges);
    run.check_root(20);
    assert_eq!(run.ambiguous(Ambiguity::TableFull), 2);
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
fn a_request_that_found_no_room_may_be_the_cause() {
    let (gone, seen, unseen) = (request(1, 100, 1, 5), request(2, 100, 2, 900), request(3, 100, 3, 901));
    let inner = call(4, 100, 500, 600);
    let events = [(1, gone.began()), (2, seen.began()), (3, unseen.began()), (400, gone.ended())];
    let later = [(500, inner.began()), (600, inner.ended()), (900, seen.ended()), (901, unseen.ended())];
    let run = play(events.into_iter().chain(later), 2);
    run.check_root(500);
    assert_eq!(run.ambiguous(Ambiguity::SeveralRequests), 1);
}

#[test]
fn finishing_gives_what_waits() {
    let ledger = Ledger::new();
    let mut stage = Spans::new(&ledger, WallClock::new(FixedClocks(WallOffset::from(0))));
    let exchange = request(1, 100, 10, 90);
    stage.handle_event(exchange.began().told());
    stage.handle_event(exchange.ended().told());
    assert!(leaving(&mut stage, KernelTime(90 * MS)).is_empty());
    let mut spans = 0;
    stage.finish(&mut |_| spans += 1);
    assert_eq!(spans, 1);
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
    stage.handle_event(exchange.began().told());
    assert!(leaving(&mut stage, KernelTime(10 * MS)).is_empty());
    // The wall clock goes back by an hour while the request is open.
    ahead.set(0);
    stage.handle_event(exchange.ended().told());
    let span = leaving(&mut stage, KernelTime(330 * MS)).pop().expect("settled");
    assert_eq!((span.start, span.end), (WallTime(10 * MS), WallTime(300 * MS)));
}
