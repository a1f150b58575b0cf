// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Exchanges that say the same as one before: health checks, and whatever else is asked again and again.
//!
//! In: exchanges, and how they were described. Out: the description of one that was described before, between the same
//! ends and on whichever connection; its own attributes with the standing ones in one list, so that an exporter encodes
//! them once.
//! Does not: grow. Each place is shared by all whose numbers agree, and the last one has it.

use std::{net::IpAddr, rc::Rc};

use agent_protocols::{
    Request, Response, Rpc,
    http::{Header, HttpRequest},
};

use super::description::Description;
use crate::exchanges::{ConnectionFacts, Endpoint, Exchange, Outcome, Role};

/// Places. Larger: memory, 1 KB each in use. Smaller: machines on which more is asked describe the same exchange again
/// and again.
const PLACES: usize = 1024;

/// The last ones.
#[derive(Debug, Default)]
pub struct Repeats {
    places: Vec<Option<Box<Repeat>>>,
}

#[derive(Debug)]
struct Repeat {
    request: HttpRequest,
    role: Role,
    /// The one that it was seen on.
    connection: Rc<ConnectionFacts>,
    answer: Answer,
    /// Apart, so that requests that are no calls do not carry its size.
    rpc: Option<Box<Rpc>>,
    /// There from the second time on: most exchanges never come again.
    description: Option<Description>,
}

/// What a description depends on beside the request and the ends, of an exchange of which nothing is missing.
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
        let place = &mut self.places[place_of(request, exchange)];
        match place {
            Some(known) if known.is(request, exchange, answer) => {
                known.description.get_or_insert_with(|| describe().in_one()).again(exchange.client_port())
            }
            _ => {
                *place = Some(Box::new(Repeat {
                    request: request.clone(),
                    role: exchange.role,
                    connection: Rc::clone(&exchange.connection),
                    answer,
                    rpc: exchange.rpc.clone(),
                    description: None,
                }));
                describe()
            }
        }
    }
}

impl Repeat {
    fn is(&self, request: &HttpRequest, exchange: &Exchange, answer: Answer) -> bool {
        let is_said_between_the_same = Rc::ptr_eq(&self.connection, &exchange.connection)
            || (self.role == exchange.role && self.connection.is_between_the_same(&exchange.connection, self.role));
        let is_same = is_said_between_the_same && self.request.is_same(request);
        is_same && self.answer == answer && self.rpc == exchange.rpc
    }
}

/// Of the ends, those that make different places.
fn place_of(request: &HttpRequest, exchange: &Exchange) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let end = match exchange.server() {
        Endpoint::Internet(address) => {
            let number = match address.ip() {
                IpAddr::V4(ip) => u64::from(ip.to_bits()),
                IpAddr::V6(ip) => ip.to_bits() as u64,
            };
            number << 16 | u64::from(address.port())
        }
        Endpoint::Unix(_) | Endpoint::Unknown => 0,
    };
    let number = (request.number() ^ end << 1 ^ exchange.role as u64).wrapping_mul(SPREAD);
    (number >> 32) as usize % PLACES
}
