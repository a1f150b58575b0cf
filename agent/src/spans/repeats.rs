// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Exchanges that say the same as one before: health checks, and whatever else is asked again and again on a connection.
//!
//! In: exchanges, and how they were described. Out: the description of one that was described before, its own attributes
//! with the standing ones in one list, so that an exporter encodes them once.
//! Does not: compare what was said. The parser gives requests that are byte for byte the same as the one before as one
//! value, and that is all that is asked here.

use std::rc::Rc;

use agent_protocols::{
    Request, Response, Rpc,
    http::{Header, HttpRequest},
};

use super::description::Description;
use crate::exchanges::{ConnectionFacts, Exchange, Outcome};

/// Places; each is shared by all requests whose numbers agree. Larger: memory, 1 KB each in use. Smaller: machines with
/// more busy connections describe the same exchange again and again.
const PLACES: usize = 1024;

/// The last ones.
#[derive(Debug, Default)]
pub struct Repeats {
    places: Vec<Option<Box<Repeat>>>,
}

#[derive(Debug)]
struct Repeat {
    /// Held, so that no other one comes to lie where it lies.
    request: HttpRequest,
    connection: Rc<ConnectionFacts>,
    answer: Answer,
    /// Apart, so that requests that are no calls do not carry its size.
    rpc: Option<Box<Rpc>>,
    /// There from the second time on: most exchanges never come again.
    description: Option<Description>,
}

/// What a description depends on beside the request and the connection, of an exchange of which nothing is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    is_ambiguous: bool,
    request_body_bytes: Option<u64>,
    response_body_bytes: Option<u64>,
}

impl Answer {
    fn of(exchange: &Exchange) -> Option<Self> {
        let Response::Http(response) = exchange.response.as_ref()?;
        let is_whole = exchange.outcome == Outcome::Answered && exchange.partial.is_none();
        // Over HTTP/1, how a call ended may stand in the head.
        let has_rpc_status = response.header(Header::GrpcStatus).is_some();
        (is_whole && !has_rpc_status).then_some(Self {
            status: response.status,
            is_ambiguous: response.ambiguous_length,
            request_body_bytes: exchange.request_body_bytes,
            response_body_bytes: exchange.response_body_bytes,
        })
    }
}

impl Repeats {
    pub fn describe(&mut self, exchange: &Exchange, describe: impl FnOnce() -> Description) -> Description {
        let Request::Http(request) = &exchange.request;
        let Some(answer) = Answer::of(exchange).filter(|_| request.may_come_again()) else { return describe() };
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let place = &mut self.places[request.number() % PLACES];
        match place {
            Some(known) if known.is(request, exchange, answer) => {
                known.description.get_or_insert_with(|| describe().in_one()).again()
            }
            _ => {
                let (request, connection) = (request.clone(), Rc::clone(&exchange.connection));
                let rpc = exchange.rpc.clone();
                *place = Some(Box::new(Repeat { request, connection, answer, rpc, description: None }));
                describe()
            }
        }
    }
}

impl Repeat {
    fn is(&self, request: &HttpRequest, exchange: &Exchange, answer: Answer) -> bool {
        let is_same = self.request.is_same(request) && Rc::ptr_eq(&self.connection, &exchange.connection);
        is_same && self.answer == answer && self.rpc == exchange.rpc
    }
}
