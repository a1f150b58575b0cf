// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Describes exchanges by their protocols, and as the last like it where nothing differs.

use agent_protocols::{Request, Response};

use super::{grpc, http, open::Described, repeats::Repeats, standing::StandingCache};
use crate::exchanges::Exchange;

#[derive(Debug, Default)]
pub struct Describer {
    standing: StandingCache,
    repeats: Repeats,
}

impl Describer {
    pub fn describe(&mut self, exchange: &Exchange) -> Described {
        let Self { standing, repeats } = self;
        let description = repeats.describe(exchange, || {
            let Request::Http(request) = &exchange.request;
            let response = exchange.response.as_ref().map(|Response::Http(response)| response);
            let call = grpc::describe(exchange, request, response, standing);
            call.unwrap_or_else(|| http::describe(exchange, request, response, standing))
        });
        let (role, tgid) = (exchange.role, exchange.first.thread.tgid);
        Described { description, role, tgid, first: exchange.first.time, last: exchange.last.time }
    }
}
