// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The direction in which responses flow.
//!
//! In: its pieces. Out: heads and ends of responses, each of the oldest outstanding request; exchanges that broke.
//! Does not: tell of informational responses, nor of responses to requests that were not seen.

use alloc::{boxed::Box, vec::Vec};

use super::{
    Parser, Upgraded,
    head::{Method, ResponseHead},
    lane::{Event, Place, Unfinished},
    web_call::WebCall,
};
use crate::{
    http::Header,
    message::{BodyEnd, Broken, Part, Problem, Response},
    piece::{End, StreamPiece},
};

const SWITCHING_PROTOCOLS: u16 = 101;

impl<M: Copy> Parser<M> {
    pub(super) fn handle_response_piece(&mut self, piece: StreamPiece<'_>, mark: M) {
        if self.responses.ended().is_some() {
            return;
        }
        match piece {
            StreamPiece::Turn => self.responses.turn(),
            StreamPiece::Bytes(bytes) => {
                let mut at = 0;
                loop {
                    let from = at;
                    let event = self.responses.read(bytes, &mut at, mark);
                    if let Some(web_call) = &mut self.web_call {
                        web_call.push(&bytes[from..at]);
                    }
                    let Some(event) = event else { break };
                    self.response_event(Some(event), mark);
                    if self.finished {
                        return self.keep_rest(&bytes[at..]);
                    }
                }
            }
            StreamPiece::Gap { length } => {
                self.web_call = None;
                let event = self.responses.gap(length, mark);
                self.response_event(event, mark);
            }
            StreamPiece::End(end) => self.responses_ended(end, mark),
        }
    }

    pub(super) fn response_event(&mut self, event: Option<Event<M, ResponseHead>>, mark: M) {
        match event {
            None => {}
            Some(Event::Head { head, begin, end, at_turn, found_again, before }) => {
                if let Some((body_end, place)) = before {
                    self.end_response(body_end, place);
                }
                if found_again {
                    self.break_unanswerable(mark);
                }
                self.response_head(head, begin, end, at_turn);
            }
            Some(Event::BodyEnded(end, place)) => self.end_response(end, place),
            Some(Event::Misread(problem)) => {
                self.note(problem);
                let broken = match problem {
                    Problem::HeadCutShort => Broken::BytesLost,
                    _ => Broken::NotUnderstood,
                };
                self.break_oldest(broken, mark);
            }
            Some(Event::BodyMisread(problem)) => self.note(problem),
        }
    }

    fn response_head(&mut self, head: ResponseHead, begin: Place<M>, head_end: Place<M>, at_turn: bool) {
        let status = head.response.status;
        let is_informational = (100..200).contains(&status) && status != SWITCHING_PROTOCOLS;
        let Some(oldest) = self.outstanding.front_mut().filter(|oldest| at_turn || !oldest.after_loss) else {
            // Whether it has a body depends on its request, which was not seen.
            if !is_informational {
                self.note(Problem::ResponseWithoutRequest);
                self.responses.lose(Broken::BytesLost);
            }
            return;
        };
        oldest.after_loss = false;
        if is_informational {
            return;
        }
        let (stream, method, is_web_call) = (oldest.stream, oldest.method, oldest.is_web_call);
        let switches_to = head.response.header(Header::Upgrade).filter(|_| status == SWITCHING_PROTOCOLS);
        if switches_to.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"h2c")) {
            return self.upgrade(stream, head_end);
        }
        if head.length_is_invalid {
            self.note(Problem::InvalidLength);
        }
        let framing = head.framing_of(method);
        self.tell(stream, begin, Part::ResponseHead(Response::Http(head.response)));
        let is_tunnel = method == Method::Connect && (200..300).contains(&status);
        if status == SWITCHING_PROTOCOLS || is_tunnel {
            self.finish(head_end);
            return;
        }
        self.web_call = is_web_call.then(|| Box::new(WebCall::new(framing)));
        if let Some(end) = self.responses.begin_body(framing, head_end) {
            self.end_response(end, head_end);
        }
    }

    /// A response was found at a turn, after the place had been lost: it answers the first request of the newest
    /// batch. If a later batch was lost among the requests, it answers one that was not seen.
    fn break_unanswerable(&mut self, mark: M) {
        let newest = self.outstanding.back().map(|newest| newest.batch);
        let is_unseen = self.turned_since_head && self.requests.is_astray();
        let is_anyones = is_unseen || self.batch_is_split;
        while self.outstanding.front().is_some_and(|oldest| is_anyones || Some(oldest.batch) != newest) {
            self.break_oldest(Broken::BytesLost, mark);
        }
    }

    /// The oldest outstanding request has its response.
    pub(super) fn end_response(&mut self, end: BodyEnd, place: Place<M>) {
        let Some(answered) = self.outstanding.pop_front() else { return };
        if self.open_request == Some(answered.stream)
            && let Some((request_end, request_place)) = self.requests.give_up_body()
        {
            // Where the request ended is not known, but it has.
            self.end_request(request_end, request_place);
        }
        if let Some(web_call) = self.web_call.take() {
            self.tell(answered.stream, place, Part::Rpc(web_call.told()));
        }
        self.tell(answered.stream, place, Part::ResponseEnd(end));
    }

    /// What follows is HTTP/2, and holds the answer to this request; those behind it have none.
    #[cold]
    fn upgrade(&mut self, stream: u64, head_end: Place<M>) {
        self.end_request(BodyEnd::default(), head_end);
        self.outstanding.pop_front();
        self.break_all(Broken::NotUnderstood, head_end.mark);
        let Place { mark, offset } = head_end;
        self.upgraded = Some(Box::new(Upgraded { request: stream, mark, offset, rest: Vec::new() }));
        self.finished = true;
    }

    /// What came behind the head that granted HTTP/2.
    #[cold]
    fn keep_rest(&mut self, rest: &[u8]) {
        if let Some(upgraded) = &mut self.upgraded {
            upgraded.rest.extend_from_slice(rest);
        }
    }

    /// What follows is another protocol.
    fn finish(&mut self, place: Place<M>) {
        self.end_request(BodyEnd::default(), place);
        self.end_response(BodyEnd { body_bytes: Some(0), bytes_lost: false }, place);
        self.break_all(Broken::NotUnderstood, place.mark);
        self.requests.lose(Broken::NotUnderstood);
        self.responses.lose(Broken::NotUnderstood);
        self.finished = true;
    }

    fn responses_ended(&mut self, end: End, mark: M) {
        let unfinished = self.responses.end(end);
        let reason = self.reason_of_end(end);
        let mut others = reason;
        match unfinished {
            // A body that was lost sight of is taken to have ended in order, as its connection did, and is flagged.
            Unfinished::OpenBody(body, place) if reason == Broken::ConnectionClosed => self.end_response(body, place),
            Unfinished::Head => self.note(Problem::HeadCutShort),
            Unfinished::Lost(because) => others = because,
            Unfinished::Nothing | Unfinished::Body(_) | Unfinished::OpenBody(..) => {}
        }
        self.break_all(others, mark);
    }
}
