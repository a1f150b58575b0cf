// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A client and a server of the `h2` crate, and what passes between them.
//!
//! In: exchanges. Out: the bytes of both directions, in pieces, in the order in which they passed.

use std::{cell::RefCell, future::poll_fn, rc::Rc};

use agent_protocols::Direction;
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    runtime::Builder,
    task::{LocalSet, spawn_local},
};

pub const REQUESTS: Direction = Direction::Received;
pub const PREFACE_BYTES: usize = 24;

#[derive(Clone, Debug)]
pub struct Exchange {
    pub method: &'static str,
    /// Goes into the path and into a header.
    pub field: u32,
    /// Sizes of the pieces of the bodies.
    pub request: Vec<usize>,
    pub status: u16,
    pub response: Vec<usize>,
    pub ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Answered,
    Trailers,
    /// After the response's body.
    ResetByServer,
}

/// A piece of a direction: bytes, or so many that are not known.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub direction: Direction,
    pub bytes: Vec<u8>,
    pub gap: usize,
}

impl Recorded {
    pub fn bytes(direction: Direction, bytes: &[u8]) -> Self {
        Self { direction, bytes: bytes.to_vec(), gap: 0 }
    }

    pub fn gap(direction: Direction, gap: usize) -> Self {
        Self { direction, bytes: Vec::new(), gap }
    }
}

/// Room of a pipe. Larger bodies wait for each other, as on a network.
const PIPE_BYTES: usize = 32 * 1024;

type Log = Rc<RefCell<Vec<Recorded>>>;

/// All exchanges at once, on one connection.
pub fn converse(exchanges: &[Exchange]) -> Vec<Recorded> {
    let log = Log::default();
    let runtime = Builder::new_current_thread().build().expect("a runtime without drivers");
    LocalSet::new().block_on(&runtime, async {
        let (client, client_end) = duplex(PIPE_BYTES);
        let (server, server_end) = duplex(PIPE_BYTES);
        spawn_local(pass_on(client_end, server_end, Rc::clone(&log)));
        let served = spawn_local(serve(server, exchanges.to_vec()));
        ask(client, exchanges).await;
        served.await.expect("the server does not panic");
    });
    log.take()
}

async fn pass_on(client: DuplexStream, server: DuplexStream, log: Log) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    spawn_local(copy(from_client, to_server, REQUESTS, Rc::clone(&log)));
    spawn_local(copy(from_server, to_client, REQUESTS.opposite(), log));
}

async fn copy(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, direction: Direction, log: Log) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        // Told before it is passed on, so that no answer is told before its question.
        log.borrow_mut().push(Recorded::bytes(direction, &bytes[..length]));
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
    // The other end may be gone already; then there is nobody to tell.
    let _ = to.shutdown().await;
}

async fn ask(pipe: DuplexStream, exchanges: &[Exchange]) {
    let (mut client, connection) = h2::client::handshake(pipe).await.expect("a handshake");
    let connection = spawn_local(connection);
    let mut asked = Vec::new();
    for (number, exchange) in exchanges.iter().enumerate() {
        client = client.ready().await.expect("a connection that goes on");
        let request = Request::builder()
            .method(exchange.method)
            .uri(format!("http://peer/{number}?f={}", exchange.field))
            .header("traceparent", exchange.field)
            .header("x-number", number)
            .body(())
            .expect("a request");
        let (response, body) = client.send_request(request, exchange.request.is_empty()).expect("a stream");
        let sizes = exchange.request.clone();
        asked.push(spawn_local(async move {
            if !sizes.is_empty() {
                send(body, &sizes, true).await;
            }
            if let Ok(response) = response.await {
                drain(response.into_body()).await;
            }
        }));
    }
    for exchange in asked {
        exchange.await.expect("an exchange that ends");
    }
    drop(client);
    connection.await.expect("the connection does not panic").expect("a connection that ends in order");
}

async fn serve(pipe: DuplexStream, exchanges: Vec<Exchange>) {
    let mut connection = h2::server::handshake(pipe).await.expect("a handshake");
    while let Some(Ok((request, respond))) = connection.accept().await {
        let number = request.uri().path()[1..].parse::<usize>().expect("a number for a path");
        spawn_local(answer(request.into_body(), respond, exchanges[number].clone()));
    }
}

async fn answer(request: RecvStream, mut respond: SendResponse<Bytes>, exchange: Exchange) {
    drain(request).await;
    let response =
        Response::builder().status(exchange.status).header("x-answer", exchange.field).body(()).expect("a response");
    let ends = exchange.response.is_empty() && exchange.ending == Ending::Answered;
    let body = respond.send_response(response, ends).expect("a stream that is open");
    if ends {
        return;
    }
    let mut body = send(body, &exchange.response, exchange.ending == Ending::Answered).await;
    match exchange.ending {
        Ending::Answered => {}
        Ending::Trailers => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-trailer", exchange.field.into());
            body.send_trailers(trailers).expect("a stream that is open");
        }
        Ending::ResetByServer => body.send_reset(Reason::INTERNAL_ERROR),
    }
}

/// Sends a body in pieces of these sizes, as the window allows.
async fn send(mut body: SendStream<Bytes>, sizes: &[usize], ends: bool) -> SendStream<Bytes> {
    for (index, size) in sizes.iter().enumerate() {
        let is_last = ends && index + 1 == sizes.len();
        let mut left = *size;
        loop {
            body.reserve_capacity(left);
            let room = match left {
                0 => 0,
                // A stream that was reset has no more room, and wants nothing more.
                _ => match poll_fn(|context| body.poll_capacity(context)).await {
                    Some(Ok(room)) => room.min(left),
                    _ => return body,
                },
            };
            left -= room;
            body.send_data(Bytes::from(vec![b'.'; room]), is_last && left == 0).expect("a stream that is open");
            if left == 0 {
                break;
            }
        }
    }
    body
}

async fn drain(mut body: RecvStream) {
    while let Some(Ok(bytes)) = body.data().await {
        // The window opens again, or has been closed with the stream.
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    let _ = body.trailers().await;
}
