// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The exchange, and what is known of the connection it took place on.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use agent_protocols::{Broken, Protocol, Request, Response, Rpc};

use crate::moment::Moment;

/// Unique while the daemon runs; growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// Which end the watched process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It received the request.
    Server,
    /// It sent the request.
    Client,
}

impl Role {
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// IPv4 addresses mapped into IPv6 are IPv4 here.
    Internet(SocketAddr),
    /// The socket's address in the kernel: it has no name worth telling, but both ends know each other by it.
    Unix(u64),
    /// What TLS carries, on a socket that is not known.
    Unknown,
}

impl Endpoint {
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Internet(address) => Some(address.ip()),
            Self::Unix(_) | Self::Unknown => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The kernel's number for it.
    pub id: u64,
    /// What the kernel is told to leave alone where nothing more of it is wanted.
    pub socket: u64,
    pub local: Endpoint,
    pub remote: Endpoint,
    pub network_namespace: u32,
    /// It is what TLS carries.
    pub is_tls: bool,
    /// What the handshake before it said, where that was seen.
    pub handshake: Option<Rc<Handshake>>,
    /// Bytes had passed before Onlooker saw it.
    pub joined_mid_stream: bool,
}

/// What a TLS handshake says in clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// As people write it: `1.3`.
    pub version: Option<&'static str>,
    /// The name that the client asked for.
    pub server_name: Option<Box<str>>,
}

/// What stage `pair` tells stage `trace`. `Began` comes before `Ended` of the same id; requests of which the end is never
/// seen end when their connection does, so that every `Began` has one `Ended`.
#[derive(Clone, Copy, Debug)]
pub enum ExchangeEvent<'exchange> {
    /// The head of a request was read: no more is known than that.
    Began(&'exchange Exchange),
    Ended(&'exchange Exchange),
}

#[derive(Clone, Debug)]
pub struct Exchange {
    pub id: ExchangeId,
    pub protocol: Protocol,
    pub role: Role,
    pub connection: Rc<ConnectionFacts>,
    pub request: Request,
    pub response: Option<Response>,
    pub outcome: Outcome,
    pub partial: Option<Partial>,
    pub request_body_bytes: Option<u64>,
    pub response_body_bytes: Option<u64>,
    /// Of a gRPC call.
    pub rpc: Option<Box<Rpc>>,
    /// The request's first byte.
    pub first: Moment,
    /// The response's first byte.
    pub response_first: Option<Moment>,
    /// The last byte of the later of request and response; without a response the connection's end.
    pub last: Moment,
}

impl Exchange {
    /// Of the connection's ends, the one that serves. A unix socket's number is told nowhere, and is 0 here.
    #[must_use]
    pub fn server(&self) -> Endpoint {
        self.connection.server(self.role)
    }

    /// 0 where ends have none.
    #[must_use]
    pub fn client_port(&self) -> u16 {
        let client = match self.role {
            Role::Server => self.connection.remote,
            Role::Client => self.connection.local,
        };
        if let Endpoint::Internet(address) = client { address.port() } else { 0 }
    }
}

impl ConnectionFacts {
    fn server(&self, role: Role) -> Endpoint {
        let server = match role {
            Role::Server => self.local,
            Role::Client => self.remote,
        };
        if let Endpoint::Unix(_) = server { Endpoint::Unix(0) } else { server }
    }

    /// What is told of both is the same for one that has this role: all but the client's port and the kernel's numbers.
    #[must_use]
    pub fn is_between_the_same(&self, other: &Self, role: Role) -> bool {
        self.server(role) == other.server(role)
            && self.remote.address() == other.remote.address()
            && self.is_tls == other.is_tls
            && self.handshake == other.handshake
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// There is no whole response; there may be its head.
    Broken(Broken),
}

/// What of an exchange is known to be missing; the value of `onlooker.partial`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Partial {
    JoinedMidStream,
    BytesLost,
}

impl Partial {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JoinedMidStream => "joined_mid_stream",
            Self::BytesLost => "bytes_lost",
        }
    }
}
