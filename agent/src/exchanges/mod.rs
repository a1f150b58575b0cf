// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pair: messages in, exchanges out. An exchange is a request with its response, or with the reason why there is none.

mod exchange;
mod pairing;
mod table;

pub use exchange::{ConnectionFacts, Endpoint, Exchange, ExchangeEvent, ExchangeId, Handshake, Outcome, Partial, Role};
pub use pairing::Exchanges;
