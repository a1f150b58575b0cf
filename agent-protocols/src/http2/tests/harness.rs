// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a script of a conversation through the parser: as it is, cut everywhere, and with gaps everywhere.
//!
//! In: steps made of frames, and the messages expected. Out: a failed assertion, with the script that failed.
//! The mark of a piece is where it begins in its direction, so that mark plus offset is a place that no cut may change.

use std::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use super::super::{MAX_HEAD_BYTES, frame, recognition::PREFACE};
use crate::{
    BodyEnd, Direction, End, Message, Messages, Parser, Part, Problem, Protocol, Request, Response, StreamPiece,
};

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

/// Bytes of the side that asks.
pub(super) fn to(frames: &[Vec<u8>]) -> Step {
    Requests(frames.concat())
}

/// Bytes of the side that answers.
pub(super) fn from(frames: &[Vec<u8>]) -> Step {
    Responses(frames.concat())
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let header = [length[1], length[2], length[3], kind, flags];
    [&header[..], &stream.to_be_bytes(), payload].concat()
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const HEAD: u8 = frame::END_HEADERS;
pub(super) const LAST: u8 = frame::END_STREAM;

/// The client's preface and empty settings.
pub(super) fn preface() -> Vec<u8> {
    [&PREFACE[..], &frame(4, 0, 0, &[])].concat()
}

pub(super) fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[0, 3, 0, 0, 0, 100])
}

/// A field as a literal, which becomes the newest entry of the table where its name begins with `+`.
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    let (first, name) = name.strip_prefix('+').map_or((0x00, name), |name| (0x40, name));
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    [vec![first], text(name), text(value)].concat()
}

pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// `GET` and its path: method and scheme from the static table, as everybody sends them.
pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, HEAD | LAST, stream, &[&b"\x82\x86"[..], &field(":path", path)].concat())
}

pub(super) fn post(stream: u32, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, HEAD, stream, &[&b"\x83\x86"[..], &field(":path", path), &block(fields)].concat())
}

pub(super) fn status(stream: u32, status: &str, flags: u8) -> Vec<u8> {
    frame(HEADERS, HEAD | flags, stream, &field(":status", status))
}

pub(super) fn trailers(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, HEAD | LAST, stream, &block(fields))
}

pub(super) fn data(stream: u32, bytes: &str, flags: u8) -> Vec<u8> {
    frame(DATA, flags, stream, bytes.as_bytes())
}

pub(super) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(3, 0, stream, &code.to_be_bytes())
}

pub(super) fn go_away(last_stream: u32, code: u32) -> Vec<u8> {
    frame(7, 0, 0, &[last_stream.to_be_bytes(), code.to_be_bytes()].concat())
}

/// What came of a script. The marks are places: the offsets were added to them.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) messages: Vec<Message<u64>>,
    pub(super) problems: Vec<Problem>,
}

pub(super) fn run(joined_mid_stream: bool, steps: &[Step]) -> Outcome {
    run_protocol(Protocol::Http2, joined_mid_stream, steps)
}

/// The long way: nothing is remembered from one piece to the next but what is needed to understand it.
pub(super) fn run_forgetfully(joined_mid_stream: bool, steps: &[Step]) -> Outcome {
    run_with(Protocol::Http2, joined_mid_stream, steps, Parser::rest)
}

pub(super) fn run_protocol(protocol: Protocol, joined_mid_stream: bool, steps: &[Step]) -> Outcome {
    run_with(protocol, joined_mid_stream, steps, |_| {})
}

fn run_with(
    protocol: Protocol,
    joined_mid_stream: bool,
    steps: &[Step],
    before_each: impl Fn(&mut Parser<u64>),
) -> Outcome {
    let mut parser = Parser::new(protocol, Direction::Received, joined_mid_stream);
    let mut outcome = Outcome { messages: vec![], problems: vec![] };
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
        before_each(&mut parser);
        let position = &mut positions[usize::from(direction == Direction::Sent)];
        if length > 0 && last.replace(direction) != Some(direction) {
            parser.handle(direction, StreamPiece::Turn, *position);
        }
        parser.handle(direction, piece, *position);
        *position = position.wrapping_add(length);
        outcome.messages.extend(core::iter::from_fn(|| parser.poll_message()));
        outcome.problems.extend(core::iter::from_fn(|| parser.poll_problem()));
        // Two lanes with a block that is not whole, a table and a list each, and the streams.
        assert!(parser.held_bytes() <= 8 * MAX_HEAD_BYTES, "holds {} bytes", parser.held_bytes());
    }
    check_order(&outcome.messages, steps);
    for message in &mut outcome.messages {
        // What breaks an exchange is noticed in one piece or another, as the cuts have it.
        message.mark = match message.part {
            Part::Broken(_) | Part::Rpc(_) => 0,
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
        let has = |part| parts.contains(&part);
        let is_over = has("broken") || (has("request end") && has("response end"));
        let (name, is_due) = match message.part {
            Part::RequestHead(_) => ("request", parts.is_empty()),
            Part::ResponseHead(_) => ("response", has("request") && !has("response end")),
            Part::RequestEnd(_) => ("request end", has("request")),
            Part::ResponseEnd(_) => ("response end", has("response")),
            Part::Rpc(_) => ("rpc", has("request") && !is_over),
            Part::Broken(_) => ("broken", has("request") && !has("response end")),
        };
        assert!(is_due && !has(name) && !is_over, "{messages:?}\nof {steps:?}");
        parts.push(name);
    }
}

/// One line a message, one a problem.
pub(super) fn text(outcome: &Outcome) -> String {
    let mut lines = vec![];
    for message in &outcome.messages {
        let what = match &message.part {
            Part::RequestHead(request) => {
                let Request::Http(request) = request;
                let unknown = if request.has_unknown_fields { " ?" } else { "" };
                format!("> {} {}{unknown}", lossy(request.method()), lossy(request.target()))
            }
            Part::ResponseHead(response) => {
                let Response::Http(response) = response;
                let unknown = if response.has_unknown_fields { " ?" } else { "" };
                format!("< {}{unknown}", response.status)
            }
            Part::RequestEnd(end) => format!("> end {}", end_text(*end)),
            Part::ResponseEnd(end) => format!("< end {}", end_text(*end)),
            Part::Rpc(rpc) => {
                let side = |side: Option<Messages>| {
                    side.map_or("?".into(), |Messages { count, bytes }| format!("{count}/{bytes}"))
                };
                let status = rpc.status.map_or("?".into(), |status| format!("{status}"));
                let unknown = if rpc.status_is_unknown { "!" } else { "" };
                format!("rpc {} {} {status}{unknown}", side(rpc.requests), side(rpc.responses))
            }
            Part::Broken(broken) => format!("broken {}", broken.name()),
        };
        lines.push(format!("{} {what}", message.stream));
    }
    lines.extend(outcome.problems.iter().map(|problem| format!("! {}", problem.name())));
    lines.join("\n")
}

fn end_text(end: BodyEnd) -> String {
    let bytes = end.body_bytes.map_or("?".into(), |bytes| format!("{bytes}"));
    format!("{bytes}{}", if end.bytes_lost { " lost" } else { "" })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a script comes to in these pieces: where the place was lost, pieces are what it is found again by.
#[track_caller]
pub(super) fn check_pieces(joined_mid_stream: bool, steps: &[Step], expected: &str) {
    assert_eq!(text(&run(joined_mid_stream, steps)), lines(expected), "of {steps:?}");
}

/// The messages of a script, however it is cut; and that no gap in it does harm.
#[track_caller]
pub(super) fn check(steps: &[Step], expected: &str) {
    check_protocol(Protocol::Http2, steps, expected);
}

#[track_caller]
pub(super) fn check_protocol(protocol: Protocol, steps: &[Step], expected: &str) {
    let whole = run_protocol(protocol, false, steps);
    assert_eq!(text(&whole), lines(expected), "of {steps:?}");
    let pieces: Vec<Step> = steps.iter().flat_map(single_bytes).collect();
    assert_eq!(run_protocol(protocol, false, &pieces), whole, "one byte a piece");
    // What more is lost where bytes are lost already need not be told again.
    let has_gaps = steps.iter().any(|step| matches!(step, RequestsGap(_) | ResponsesGap(_)));
    for (index, step) in steps.iter().enumerate() {
        for at in 0..length(step) {
            let (before, after) = split(step, at);
            let cut = [&steps[..index], &[before, after], &steps[index + 1..]].concat();
            assert_eq!(run_protocol(protocol, false, &cut), whole, "cut at {at} of step {index}");
            if protocol == Protocol::Http2 && !has_gaps {
                check_gaps(steps, index, at, &whole);
            }
        }
    }
}

fn lines(expected: &str) -> String {
    let lines: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// Lengths of the gaps that are tried; each ends with its step at the latest.
const GAPS: [usize; 7] = [1, 2, 3, 7, 20, 100, usize::MAX];

fn check_gaps(steps: &[Step], index: usize, at: usize, whole: &Outcome) {
    let (before, after) = split(&steps[index], at);
    for gap in GAPS {
        let gap = gap.min(length(&after));
        let (_, behind) = split(&after, gap);
        let lost = match after {
            Requests(_) => RequestsGap(gap as u64),
            _ => ResponsesGap(gap as u64),
        };
        let mut script = [&steps[..index], &[before.clone(), lost, behind], &steps[index + 1..]].concat();
        let outcome = run(false, &script);
        assert!(
            outcome == *whole || says_so(&outcome, whole),
            "a gap of {gap} at {at} of step {index} is hidden:\n{}\nof {script:?}",
            text(&outcome)
        );
        if steps.iter().any(|step| matches!(step, RequestsEnd(_) | ResponsesEnd(_))) {
            continue;
        }
        script.extend([to(&[get(99, "/next")]), from(&[status(99, "299", 0), data(99, "next", LAST)])]);
        let next = text(&run(false, &script));
        assert!(
            next.contains("99 > GET /next\n99 > end 0") && next.contains("99 < 299\n99 < end 4"),
            "after a gap of {gap} at {at} of step {index} the next exchange is not whole:\n{next}\nof {script:?}"
        );
    }
}

/// Something in the outcome tells that not all was seen.
fn says_so(outcome: &Outcome, whole: &Outcome) -> bool {
    outcome.problems != whole.problems
        || outcome.messages.iter().any(|message| match message.part {
            Part::RequestEnd(end) | Part::ResponseEnd(end) => end.bytes_lost,
            Part::Broken(_) => true,
            _ => false,
        })
}

fn length(step: &Step) -> usize {
    match step {
        Requests(bytes) | Responses(bytes) => bytes.len(),
        _ => 0,
    }
}

fn split(step: &Step, at: usize) -> (Step, Step) {
    match step {
        Requests(bytes) => (Requests(bytes[..at].into()), Requests(bytes[at..].into())),
        Responses(bytes) => (Responses(bytes[..at].into()), Responses(bytes[at..].into())),
        other => (Requests(vec![]), other.clone()),
    }
}

fn single_bytes(step: &Step) -> Vec<Step> {
    match step {
        Requests(bytes) => bytes.iter().map(|byte| Requests(vec![*byte])).collect(),
        Responses(bytes) => bytes.iter().map(|byte| Responses(vec![*byte])).collect(),
        other => vec![other.clone()],
    }
}
