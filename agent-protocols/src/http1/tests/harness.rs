// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a script of a conversation through the parser: as it is, cut everywhere, and with gaps everywhere.
//!
//! In: steps, and the messages expected. Out: a failed assertion, with the script that failed.
//! The mark of a piece is where it begins in its direction, so that mark plus offset is a place that no cut may change.

use std::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use super::super::{MAX_HEAD_BYTES, Parser};
use crate::{BodyEnd, Direction, End, Message, Part, Problem, Request, Response, StreamPiece, Whole, WholeMessage};

/// A step of a conversation. Requests are received, responses are sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Requests(Vec<u8>),
    Responses(Vec<u8>),
    RequestsGap(u64),
    ResponsesGap(u64),
    RequestsEnd(End),
    ResponsesEnd(End),
}

use Step::{Requests, RequestsEnd, RequestsGap, Responses, ResponsesEnd, ResponsesGap};

/// `>` a request's bytes, `<` a response's.
pub(super) fn to(bytes: impl AsRef<[u8]>) -> Step {
    Requests(bytes.as_ref().to_vec())
}

pub(super) fn from(bytes: impl AsRef<[u8]>) -> Step {
    Responses(bytes.as_ref().to_vec())
}

/// What came of a script. The marks are places: the offsets were added to them.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) messages: Vec<Message<u64>>,
    pub(super) problems: Vec<Problem>,
    pub(super) finished: bool,
}

pub(super) fn run(joined_mid_stream: bool, steps: &[Step]) -> Outcome {
    let outcome = run_on(joined_mid_stream, steps, false);
    assert_eq!(run_on(joined_mid_stream, steps, true), outcome, "the short way, of {steps:?}");
    outcome
}

/// With `short_way` half-turns are offered as whole messages first.
fn run_on(joined_mid_stream: bool, steps: &[Step], short_way: bool) -> Outcome {
    let mut parser = Parser::new(Direction::Received, joined_mid_stream);
    let mut outcome = Outcome { messages: vec![], problems: vec![], finished: false };
    let mut positions = [0_u64; 2];
    let mut last = None;
    for step in steps {
        let (direction, piece, length) = match step {
            Requests(bytes) => (Direction::Received, StreamPiece::Bytes(bytes), bytes.len() as u64),
            Responses(bytes) => (Direction::Sent, StreamPiece::Bytes(bytes), bytes.len() as u64),
            RequestsGap(length) => (Direction::Received, StreamPiece::Gap { length: *length }, *length),
            ResponsesGap(length) => (Direction::Sent, StreamPiece::Gap { length: *length }, *length),
            RequestsEnd(end) => (Direction::Received, StreamPiece::End(*end), 0),
            ResponsesEnd(end) => (Direction::Sent, StreamPiece::End(*end), 0),
        };
        let position = &mut positions[usize::from(direction == Direction::Sent)];
        let turns = length > 0 && last.replace(direction) != Some(direction);
        let whole = match piece {
            StreamPiece::Bytes(bytes) if turns && short_way => parser.handle_whole(direction, bytes),
            _ => None,
        };
        if let Some(WholeMessage { stream, whole }) = whole {
            let (head, end) = match whole {
                Whole::Request(request, end) => (Part::RequestHead(request), Part::RequestEnd(end)),
                Whole::Response(response, end) => (Part::ResponseHead(response), Part::ResponseEnd(end)),
            };
            let at = |offset, part| Message { stream, mark: *position, offset, part };
            outcome.messages.extend([at(0, head), at(length as u32, end)]);
        } else {
            if turns {
                parser.handle(direction, StreamPiece::Turn, *position);
            }
            parser.handle(direction, piece, *position);
        }
        *position = position.wrapping_add(length);
        outcome.messages.extend(core::iter::from_fn(|| parser.poll_message()));
        outcome.problems.extend(core::iter::from_fn(|| parser.poll_problem()));
        assert!(parser.held_bytes() <= 2 * MAX_HEAD_BYTES, "holds {} bytes", parser.held_bytes());
    }
    outcome.finished = parser.is_finished();
    check_order(&outcome.messages, steps);
    for message in &mut outcome.messages {
        // What breaks an exchange is noticed in one piece or another, as the cuts have it.
        message.mark = match message.part {
            Part::Broken(_) => 0,
            _ => message.mark.wrapping_add(u64::from(message.offset)),
        };
        message.offset = 0;
    }
    outcome
}

/// Heads come first and once, ends once, and nothing after the exchange is over.
fn check_order(messages: &[Message<u64>], steps: &[Step]) {
    let mut seen: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for message in messages {
        let parts = seen.entry(message.stream).or_default();
        let name = part_name(&message.part);
        let is_due = match name {
            "request" => parts.is_empty(),
            "response" => parts.contains(&"request"),
            "request end" => parts.contains(&"request"),
            "response end" => parts.contains(&"response"),
            _ => parts.contains(&"request") && !parts.contains(&"response end"),
        };
        assert!(is_due && !parts.contains(&name) && !parts.contains(&"broken"), "{messages:?}\nof {steps:?}");
        parts.push(name);
    }
}

fn part_name(part: &Part) -> &'static str {
    match part {
        Part::RequestHead(_) => "request",
        Part::RequestEnd(_) => "request end",
        Part::ResponseHead(_) => "response",
        Part::ResponseEnd(_) => "response end",
        Part::Rpc(_) => "rpc",
        Part::Broken(_) => "broken",
    }
}

/// One line a message, one a problem.
pub(super) fn text(outcome: &Outcome) -> String {
    let mut lines = vec![];
    for message in &outcome.messages {
        let what = match &message.part {
            Part::RequestHead(request) => {
                let Request::Http(request) = request;
                let ambiguous = if request.ambiguous_length { " ambiguous" } else { "" };
                let (method, target) = (lossy(request.method()), lossy(request.target()));
                format!("> {method} {target}{ambiguous}")
            }
            Part::ResponseHead(response) => {
                let Response::Http(response) = response;
                let ambiguous = if response.ambiguous_length { " ambiguous" } else { "" };
                format!("< {}{ambiguous}", response.status)
            }
            Part::RequestEnd(end) => format!("> end {}", end_text(*end)),
            Part::ResponseEnd(end) => format!("< end {}", end_text(*end)),
            Part::Rpc(rpc) => format!("{rpc:?}"),
            Part::Broken(broken) => format!("broken {}", broken.name()),
        };
        lines.push(format!("{} {what}", message.stream));
    }
    lines.extend(outcome.problems.iter().map(|problem| format!("! {}", problem.name())));
    lines.extend(outcome.finished.then(|| "finished".into()));
    lines.join("\n")
}

fn end_text(end: BodyEnd) -> String {
    let bytes = end.body_bytes.map_or("?".into(), |bytes| format!("{bytes}"));
    format!("{bytes}{}", if end.bytes_lost { " lost" } else { "" })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The messages of a script, however it is cut; and that no gap in it does harm.
#[track_caller]
pub(super) fn check(steps: &[Step], expected: &str) {
    check_joined(false, steps, expected);
}

#[track_caller]
pub(super) fn check_joined(joined_mid_stream: bool, steps: &[Step], expected: &str) {
    let whole = run(joined_mid_stream, steps);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(text(&whole), expected.join("\n"), "of {steps:?}");
    let pieces: Vec<Step> = steps.iter().flat_map(single_bytes).collect();
    assert_eq!(run(joined_mid_stream, &pieces), whole, "one byte a piece");
    for (index, step) in steps.iter().enumerate() {
        for at in positions(step) {
            let (before, after) = split(step, at);
            let cut = [&steps[..index], &[before, after], &steps[index + 1..]].concat();
            assert_eq!(run(joined_mid_stream, &cut), whole, "cut at {at} of step {index}");
            check_gaps(joined_mid_stream, steps, index, at, &whole);
        }
        check_gaps(joined_mid_stream, steps, index, 0, &whole);
    }
}

/// Lengths of the gaps that are tried; each ends with its step at the latest.
const GAPS: [usize; 7] = [1, 2, 3, 7, 20, 100, usize::MAX];

fn check_gaps(joined_mid_stream: bool, steps: &[Step], index: usize, at: usize, whole: &Outcome) {
    let (before, after) = split(&steps[index], at);
    let (Requests(rest) | Responses(rest)) = &after else { return };
    if rest.is_empty() {
        return;
    }
    for length in GAPS {
        let length = length.min(rest.len());
        let (_, behind) = split(&after, length);
        let gap = match after {
            Requests(_) => RequestsGap(length as u64),
            _ => ResponsesGap(length as u64),
        };
        let mut script = [&steps[..index], &[before.clone(), gap, behind], &steps[index + 1..]].concat();
        let outcome = run(joined_mid_stream, &script);
        assert!(
            outcome == *whole || says_so(&outcome, whole),
            "a gap of {length} at {at} of step {index} is hidden:\n{}\nof {script:?}",
            text(&outcome)
        );
        let is_over = steps.iter().any(|step| matches!(step, RequestsEnd(_) | ResponsesEnd(_))) || whole.finished;
        if is_over || outcome.finished {
            continue;
        }
        script.extend([to("GET /next HTTP/1.1\r\n\r\n"), from("HTTP/1.1 299 OK\r\nContent-Length: 4\r\n\r\nnext")]);
        let next = text(&run(joined_mid_stream, &script));
        let lines: Vec<&str> = next.lines().collect();
        let request = lines.iter().find(|line| line.ends_with(" > GET /next"));
        let stream = request.and_then(|line| line.split(' ').next());
        let response = stream.map(|stream| format!("{stream} < 299\n{stream} < end 4"));
        assert!(
            response.is_some_and(|response| next.contains(&response)),
            "after a gap of {length} at {at} of step {index} the next exchange is not whole:\n{next}\nof {script:?}"
        );
    }
}

/// Something in the outcome tells that not all was seen.
fn says_so(outcome: &Outcome, whole: &Outcome) -> bool {
    let ended = |outcome: &Outcome| {
        outcome.messages.iter().filter(|message| matches!(message.part, Part::ResponseEnd(_) | Part::Broken(_))).count()
    };
    outcome.problems != whole.problems
        || !outcome.problems.is_empty()
        || ended(outcome) < ended(whole)
        || outcome.messages.iter().any(|message| match message.part {
            Part::RequestEnd(end) | Part::ResponseEnd(end) => end.bytes_lost,
            Part::Broken(_) => true,
            _ => false,
        })
}

fn positions(step: &Step) -> core::ops::Range<usize> {
    match step {
        Requests(bytes) | Responses(bytes) => 1..bytes.len().max(1),
        _ => 1..1,
    }
}

fn split(step: &Step, at: usize) -> (Step, Step) {
    match step {
        Requests(bytes) => (to(&bytes[..at]), to(&bytes[at..])),
        Responses(bytes) => (from(&bytes[..at]), from(&bytes[at..])),
        other => (Requests(vec![]), other.clone()),
    }
}

fn single_bytes(step: &Step) -> Vec<Step> {
    match step {
        Requests(bytes) => bytes.iter().map(|byte| to([*byte])).collect(),
        Responses(bytes) => bytes.iter().map(|byte| from([*byte])).collect(),
        other => vec![other.clone()],
    }
}
