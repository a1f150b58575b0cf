// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the parser makes of a conversation, stream by stream.
//!
//! In: pieces. Out: what was told of each exchange, and the problems.

use std::collections::BTreeMap;

use agent_protocols::{Broken, Parser, Part, Problem, Protocol, Request, Response, StreamPiece, http::Header};

use crate::conversation::{REQUESTS, Recorded};

/// What was told of one exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub method: String,
    pub path: String,
    /// The header that carries the field.
    pub field: Option<String>,
    pub request_bytes: Option<usize>,
    pub status: Option<u16>,
    pub response_bytes: Option<usize>,
    pub broken: Option<&'static str>,
    /// Some fields are not known.
    pub is_unknown: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    pub told: Told,
    /// Where the request begins in its direction, and in the conversation as a whole.
    pub begin: usize,
}

impl Told {
    pub fn number(&self) -> usize {
        let digits = self.path.trim_start_matches('/').split('?').next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX)
    }

    /// Whatever is told is so; what is absent is among fields that are not known.
    pub fn agrees_with(&self, due: &Self) -> bool {
        let or_unknown = |is_absent: bool| is_absent && self.is_unknown;
        (self.method == due.method || or_unknown(self.method.is_empty()))
            && (self.path == due.path || or_unknown(self.path.is_empty()))
            && (self.field == due.field || or_unknown(self.field.is_none()))
            && (self.status == due.status || self.broken.is_some() || or_unknown(self.status == Some(0)))
            && self.request_bytes == due.request_bytes
            && self.response_bytes == due.response_bytes
            && self.broken == due.broken
    }
}

/// The mark of a piece is where it begins in the conversation.
pub fn read(joined_mid_stream: bool, recorded: &[Recorded]) -> (Vec<Read>, Vec<Problem>) {
    let mut parser = Parser::new(Protocol::Http2, REQUESTS, joined_mid_stream);
    let mut exchanges: BTreeMap<u64, Read> = BTreeMap::new();
    let (mut problems, mut at) = (Vec::new(), 0);
    for piece in recorded {
        let length = piece.bytes.len() + piece.gap;
        let handled = match piece.gap {
            0 => StreamPiece::Bytes(&piece.bytes),
            gap => StreamPiece::Gap { length: gap as u64 },
        };
        parser.handle(piece.direction, handled, at);
        while let Some(message) = parser.poll_message() {
            note(&mut exchanges, message.stream, message.mark + message.offset as usize, message.part);
        }
        problems.extend(std::iter::from_fn(|| parser.poll_problem()));
        at += length;
    }
    (exchanges.into_values().collect(), problems)
}

fn note(exchanges: &mut BTreeMap<u64, Read>, stream: u64, at: usize, part: Part) {
    let read = exchanges.entry(stream).or_insert(Read { told: Told::default(), begin: at });
    let told = &mut read.told;
    let length = |bytes: Option<u64>| bytes.map(|bytes| bytes as usize);
    match part {
        Part::RequestHead(head) => {
            let Request::Http(head) = head;
            told.method = String::from_utf8_lossy(head.method()).into_owned();
            told.path = String::from_utf8_lossy(head.target()).into_owned();
            told.field = head.header(Header::Traceparent).map(|value| String::from_utf8_lossy(value).into_owned());
            told.is_unknown |= head.has_unknown_fields;
        }
        Part::RequestEnd(end) => told.request_bytes = length(end.body_bytes),
        Part::ResponseHead(head) => {
            let Response::Http(head) = head;
            told.status = Some(head.status);
            told.is_unknown |= head.has_unknown_fields;
        }
        Part::ResponseEnd(end) => told.response_bytes = length(end.body_bytes),
        Part::Rpc(_) => {}
        Part::Broken(broken) => told.broken = Some(Broken::name(broken)),
    }
}
