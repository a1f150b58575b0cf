// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two stages together, on a simulated kernel: records in, exchanges and the ledger out.

mod behaviour;
mod bounds;
mod following;
mod http2;
mod kernel;
mod losses;
mod places;

use agent_protocols::{Direction, Request, Response, WholeMessage};

use self::kernel::{Kernel, Record};
use super::*;
use crate::{
    exchanges::{Exchange, ExchangeEvent, Exchanges, Outcome},
    ledger::Family,
};

/// Both stages, and all that came out of them.
struct Onlooker {
    ledger: Ledger,
    connections: Connections,
    exchanges: Exchanges,
    began: usize,
    ended: Vec<Exchange>,
    uninteresting: Vec<u64>,
    framed: Vec<u64>,
}

/// The second stage, listening to the first.
struct Pairing<'a> {
    exchanges: &'a mut Exchanges,
    began: &'a mut usize,
    ended: &'a mut Vec<Exchange>,
}

impl Pairing<'_> {
    fn note(began: &mut usize, ended: &mut Vec<Exchange>, event: ExchangeEvent<'_>) {
        match event {
            ExchangeEvent::Began(_) => *began += 1,
            ExchangeEvent::Ended(exchange) => ended.push(exchange.clone()),
        }
    }
}

impl Listener for Pairing<'_> {
    fn handle_heard(&mut self, heard: Heard) {
        let Self { exchanges, began, ended } = self;
        exchanges.handle_heard(heard, &mut |event| Self::note(began, ended, event));
    }

    fn handle_whole(&mut self, on: Side, message: WholeMessage, first: Moment, bytes: u32) {
        let Self { exchanges, began, ended } = self;
        exchanges.handle_whole(on, message, first, bytes, &mut |event| Self::note(began, ended, event));
    }
}

impl Onlooker {
    fn new() -> Self {
        Self::limited(Limits::default())
    }

    fn limited(limits: Limits) -> Self {
        let ledger = Ledger::new();
        let connections = Connections::new(&ledger, limits);
        let exchanges = Exchanges::new(&ledger);
        Self {
            ledger,
            connections,
            exchanges,
            began: 0,
            ended: Vec::new(),
            uninteresting: Vec::new(),
            framed: Vec::new(),
        }
    }

    fn watch(&mut self, records: &[Record]) {
        for record in records {
            let Self { connections, exchanges, began, ended, .. } = self;
            connections.handle_event(&record.event(), &mut Pairing { exchanges, began, ended });
            self.follow_advice();
        }
    }

    fn time(&mut self, now_ns: u64) {
        let Self { connections, exchanges, began, ended, .. } = self;
        connections.handle_time(KernelTime(now_ns), &mut Pairing { exchanges, began, ended });
        self.follow_advice();
    }

    fn follow_advice(&mut self) {
        while let Some(Advice { connection, copying, .. }) = self.connections.poll_advice() {
            match copying {
                Copying::Nothing => self.uninteresting.push(connection),
                Copying::Framed => self.framed.push(connection),
            }
        }
    }

    fn lost(&self) -> u64 {
        self.count(Family::ExchangesIncomplete, "reason", "records_lost")
    }

    fn count(&self, family: Family, label: &str, value: &str) -> u64 {
        self.ledger
            .snapshot()
            .into_iter()
            .filter(|(of, labels, _)| *of == family && labels.iter().any(|(name, is)| *name == label && *is == value))
            .map(|(.., total)| total)
            .sum()
    }

    /// The exchanges that ended: the request's target and what became of it.
    fn outcomes(&self) -> Vec<String> {
        self.ended
            .iter()
            .map(|exchange| {
                let Request::Http(request) = &exchange.request;
                let status = match &exchange.response {
                    Some(Response::Http(response)) => response.status,
                    None => 0,
                };
                let target = String::from_utf8_lossy(request.target()).into_owned();
                match exchange.outcome {
                    Outcome::Answered => format!("{target} {status}"),
                    Outcome::Broken(broken) => format!("{target} {}", broken.name()),
                }
            })
            .collect()
    }
}

fn request(number: usize, body: usize) -> Vec<u8> {
    let mut bytes = format!("POST /{number} HTTP/1.1\r\nContent-Length: {body}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + body, b'.');
    bytes
}

/// The status tells the request that it answers.
fn response(number: usize, body: usize) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} OK\r\nContent-Length: {body}\r\n\r\n", 200 + number).into_bytes();
    bytes.resize(bytes.len() + body, b',');
    bytes
}

fn exchange(kernel: &mut Kernel, requests: Direction, number: usize) {
    kernel.transfer(requests, &request(number, 20));
    kernel.transfer(requests.opposite(), &response(number, 30));
}
