// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The protocols that are known: recognise one by its first bytes, and parse it.
//!
//! In: the first bytes of a direction; then pieces. Out: a verdict; then messages.
//! Does not: know bodies other than those of Content-Length.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use crate::{
    BodyEnd, Broken, Direction, End, Message, Part, Problem, Protocol, Request, Response, StreamPiece,
    http::{Header, HttpRequest, HttpResponse, HttpVersion},
};

/// Whose bytes these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    Found {
        protocol: Protocol,
        /// The direction that carries the requests.
        requests: Direction,
    },
    NotMine,
    NeedMore,
}

const METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"PUT ", b"DELETE ", b"HEAD ", b"PATCH ", b"OPTIONS ", b"TRACE ", b"CONNECT "];

#[must_use]
pub fn recognise(direction: Direction, bytes: &[u8]) -> Recognition {
    let begins = |word: &[u8]| bytes.starts_with(word);
    let may_begin = |word: &[u8]| word.starts_with(bytes);
    let response = b"HTTP/1.1 ";
    if METHODS.iter().any(|method| begins(method)) {
        Recognition::Found { protocol: Protocol::Http1, requests: direction }
    } else if begins(response) {
        Recognition::Found { protocol: Protocol::Http1, requests: direction.opposite() }
    } else if METHODS.iter().any(|method| may_begin(method)) || may_begin(response) {
        Recognition::NeedMore
    } else {
        Recognition::NotMine
    }
}

enum State<M> {
    Head { bytes: Vec<u8>, first: Option<(M, u32)> },
    Body { stream: Option<u64>, remaining: u64, total: u64, lost: bool },
    Lost,
}

impl<M> State<M> {
    const fn head() -> Self {
        Self::Head { bytes: Vec::new(), first: None }
    }
}

/// The parser of one connection.
pub struct Parser<M> {
    requests: Direction,
    states: [State<M>; 2],
    outstanding: VecDeque<u64>,
    next_stream: u64,
    messages: VecDeque<Message<M>>,
    problems: VecDeque<Problem>,
    finished: bool,
}

impl<M: Copy> Parser<M> {
    #[must_use]
    pub fn new(protocol: Protocol, requests: Direction, joined_mid_stream: bool) -> Self {
        let Protocol::Http1 = protocol;
        let _ = joined_mid_stream;
        Self {
            requests,
            states: [State::head(), State::head()],
            outstanding: VecDeque::new(),
            next_stream: 0,
            messages: VecDeque::new(),
            problems: VecDeque::new(),
            finished: false,
        }
    }

    pub fn poll_message(&mut self) -> Option<Message<M>> {
        self.messages.pop_front()
    }

    pub fn poll_problem(&mut self) -> Option<Problem> {
        self.problems.pop_front()
    }

    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.states.iter().map(|state| if let State::Head { bytes, .. } = state { bytes.len() } else { 0 }).sum()
    }

    pub fn handle(&mut self, direction: Direction, piece: StreamPiece<'_>, mark: M) {
        if self.finished {
            return;
        }
        let is_request = direction == self.requests;
        match piece {
            StreamPiece::Turn => self.turn(is_request, mark),
            StreamPiece::Bytes(bytes) => self.bytes(is_request, bytes, mark),
            StreamPiece::Gap { length } => self.gap(is_request, length, mark),
            StreamPiece::End(end) => self.end(is_request, end, mark),
        }
    }

    fn push(&mut self, stream: u64, mark: M, offset: usize, part: Part) {
        self.messages.push_back(Message { stream, mark, offset: u32::try_from(offset).unwrap_or(u32::MAX), part });
    }

    fn turn(&mut self, is_request: bool, mark: M) {
        let off_track = match &self.states[0] {
            State::Lost => true,
            State::Head { bytes, .. } => !bytes.is_empty(),
            State::Body { .. } => false,
        };
        if is_request && off_track {
            while let Some(stream) = self.outstanding.pop_front() {
                self.push(stream, mark, 0, Part::Broken(Broken::BytesLost));
            }
        }
        if matches!(self.states[usize::from(is_request)], State::Lost | State::Head { .. }) {
            self.states[usize::from(is_request)] = State::head();
        }
    }

    fn gap(&mut self, is_request: bool, length: u64, mark: M) {
        let state = &mut self.states[usize::from(is_request)];
        let excess = match state {
            State::Body { remaining, lost, .. } => {
                let inside = length.min(*remaining);
                *remaining -= inside;
                *lost = true;
                length > inside
            }
            _ => true,
        };
        self.end_of_body(is_request, mark, 0);
        if excess {
            self.states[usize::from(is_request)] = State::Lost;
            if !is_request && let Some(stream) = self.outstanding.pop_front() {
                self.push(stream, mark, 0, Part::Broken(Broken::BytesLost));
            }
        }
    }

    fn end_of_body(&mut self, is_request: bool, mark: M, offset: usize) {
        if let State::Body { stream, remaining: 0, total, lost } = self.states[usize::from(is_request)] {
            self.states[usize::from(is_request)] = State::head();
            let end = BodyEnd { body_bytes: Some(total), bytes_lost: lost };
            if let Some(stream) = stream {
                if is_request {
                    self.push(stream, mark, offset, Part::RequestEnd(end));
                } else {
                    self.outstanding.pop_front();
                    self.push(stream, mark, offset, Part::ResponseEnd(end));
                }
            }
        }
    }

    fn bytes(&mut self, is_request: bool, input: &[u8], mark: M) {
        let mut at = 0;
        while at < input.len() {
            match &mut self.states[usize::from(is_request)] {
                State::Lost => return,
                State::Body { remaining, .. } => {
                    let inside = (*remaining).min((input.len() - at) as u64);
                    *remaining -= inside;
                    at += usize::try_from(inside).unwrap_or(usize::MAX);
                    self.end_of_body(is_request, mark, at);
                }
                State::Head { bytes, first } => {
                    first.get_or_insert((mark, u32::try_from(at).unwrap_or(0)));
                    bytes.push(input[at]);
                    at += 1;
                    if bytes.ends_with(b"\r\n\r\n") {
                        self.head(is_request, mark, at);
                    }
                }
            }
        }
    }

    fn head(&mut self, is_request: bool, mark: M, at: usize) {
        let side = usize::from(is_request);
        let State::Head { bytes, first: Some((first, offset)) } =
            core::mem::replace(&mut self.states[side], State::Lost)
        else {
            return;
        };
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let length = |headers: &[httparse::Header<'_>]| {
            headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("content-length"))
                .and_then(|header| core::str::from_utf8(header.value).ok()?.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let (stream, part, length) = if is_request {
            let mut head = httparse::Request::new(&mut headers);
            let (Ok(_), Some(method), Some(path)) = (head.parse(&bytes), head.method, head.path) else {
                self.problems.push_back(Problem::NotAMessage);
                return;
            };
            self.finished = method == "CONNECT";
            let request = HttpRequest::new(HttpVersion::Http11, method.as_bytes(), path.as_bytes(), &[]);
            let stream = self.next_stream;
            self.next_stream += 1;
            self.outstanding.push_back(stream);
            (Some(stream), Part::RequestHead(Box::new(Request::Http(request))), length(head.headers))
        } else {
            let mut head = httparse::Response::new(&mut headers);
            let (Ok(_), Some(status)) = (head.parse(&bytes), head.code) else {
                self.problems.push_back(Problem::NotAMessage);
                return;
            };
            let values: &[(Header, &[u8])] = &[];
            let response = HttpResponse::new(HttpVersion::Http11, status, values);
            let stream = self.outstanding.front().copied();
            if stream.is_none() {
                self.problems.push_back(Problem::ResponseWithoutRequest);
            }
            (stream, Part::ResponseHead(Box::new(Response::Http(response))), length(head.headers))
        };
        if let Some(stream) = stream {
            self.messages.push_back(Message { stream, mark: first, offset, part });
        }
        self.states[side] = State::Body { stream, remaining: length, total: length, lost: false };
        self.end_of_body(is_request, mark, at);
    }

    fn end(&mut self, is_request: bool, end: End, mark: M) {
        if is_request && end == End::Finished {
            return;
        }
        let broken = match end {
            End::Finished => Broken::ConnectionClosed,
            End::Reset => Broken::ConnectionReset,
            End::Abandoned => Broken::Abandoned,
        };
        while let Some(stream) = self.outstanding.pop_front() {
            self.push(stream, mark, 0, Part::Broken(broken));
        }
    }
}
