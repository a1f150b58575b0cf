// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The direction in which requests flow.
//!
//! In: its pieces. Out: heads and ends of requests; each head joins the outstanding ones.
//! Does not: break exchanges when this direction ends in order: a client may half-close and wait for its response.

use super::{
    MAX_OUTSTANDING, Outstanding, Parser,
    head::{Method, RequestHead},
    lane::{Event, Place, Unfinished},
};
use crate::{
    message::{BodyEnd, Broken, Part, Problem, Request},
    piece::{End, StreamPiece},
};

impl<M: Copy> Parser<M> {
    pub(super) fn handle_request_piece(&mut self, piece: StreamPiece<'_>, mark: M) {
        if self.requests.ended().is_some() {
            return;
        }
        match piece {
            StreamPiece::Turn => {
                self.requests.turn();
                self.turned_since_head = true;
            }
            StreamPiece::Bytes(bytes) => {
                let mut at = 0;
                while let Some(event) = self.requests.read(bytes, &mut at, mark) {
                    self.request_event(Some(event));
                }
            }
            StreamPiece::Gap { length } => {
                let event = self.requests.gap(length, mark);
                self.request_event(event);
            }
            StreamPiece::End(end) => self.requests_ended(end, mark),
        }
    }

    pub(super) fn request_event(&mut self, event: Option<Event<M, RequestHead>>) {
        match event {
            None => {}
            Some(Event::Head { head, begin, end, at_turn, found_again, before }) => {
                if let Some((body_end, place)) = before {
                    self.end_request(body_end, place);
                }
                self.batch_is_split = !at_turn && (self.batch_is_split || self.turned_since_head);
                self.turned_since_head = false;
                if at_turn {
                    self.batch = self.batch.wrapping_add(1);
                    self.conclude_lost_response(begin.mark);
                }
                self.request_head(head, begin, end, found_again);
            }
            Some(Event::BodyEnded(end, place)) => self.end_request(end, place),
            Some(Event::Misread(problem) | Event::BodyMisread(problem)) => self.note(problem),
        }
    }

    fn request_head(&mut self, head: RequestHead, begin: Place<M>, head_end: Place<M>, found_again: bool) {
        if self.outstanding.len() >= MAX_OUTSTANDING {
            self.note(Problem::TooManyOutstanding);
            self.requests.lose(Broken::BytesLost);
            return;
        }
        if head.length_is_invalid {
            self.note(Problem::InvalidLength);
        }
        let stream = self.next_stream;
        self.next_stream += 1;
        self.outstanding.push_back(Outstanding {
            stream,
            method: head.method,
            is_web_call: head.is_web_call(),
            batch: self.batch,
            after_loss: found_again,
        });
        self.tell(stream, begin, Part::RequestHead(Request::Http(head.request)));
        self.open_request = Some(stream);
        if head.method == Method::Connect {
            // What follows belongs to the tunnel, if there will be one; if not, the next request begins at a turn.
            self.end_request(BodyEnd { body_bytes: Some(0), bytes_lost: false }, head_end);
            self.requests.lose(Broken::NotUnderstood);
        } else if let Some(end) = self.requests.begin_body(head.framing, head_end) {
            self.end_request(end, head_end);
        }
    }

    /// A request has begun at a turn. If the place was lost among the responses, those to earlier requests have ended,
    /// or will never be found.
    ///
    /// Bias: a client that pipelines across turns, on a connection that lost bytes, has requests broken that were still
    /// to be answered. Waiting for them would answer each later request with the response to an earlier one.
    fn conclude_lost_response(&mut self, mark: M) {
        if let Some((end, place)) = self.responses.give_up_body() {
            // With one request outstanding, it is its response that ended before this request began. With several,
            // the ends of the others are in there too, and this one's place is not known.
            match self.outstanding.len() {
                1 => self.end_response(end, place),
                _ => self.break_oldest(Broken::BytesLost, mark),
            }
        }
        if let Some(because) = self.responses.lost_because() {
            self.break_all(because, mark);
            self.responses.expect_turn();
        }
    }

    fn requests_ended(&mut self, end: End, mark: M) {
        match self.requests.end(end) {
            Unfinished::Head => self.note(Problem::HeadCutShort),
            // Given up by its sender; the response may still come.
            Unfinished::Body(body) => self.end_request(body, Place { mark, offset: 0 }),
            Unfinished::OpenBody(body, place) => self.end_request(body, place),
            Unfinished::Nothing | Unfinished::Lost(_) => {}
        }
        if self.responses.ended().is_some() {
            self.break_all(self.reason_of_end(end), mark);
        }
    }
}
