// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What holds for every machine that can be invented: given parents are true, none is its own ancestor, nothing is lost.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{super::*, invented::*};
use crate::moment::WallTime;

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
            Threads::Lazy if drawn.is_multiple_of(6) => drawn % 3,
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
        let request_by_span: HashMap<SpanId, u64> = requests.filter_map(|span| match span.attribute("client.port").as_deref() {
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
