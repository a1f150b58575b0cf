// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shop of the gRPC tests, with tonic: `serve`, also for gRPC-Web, or `call PORT`. What each method does is told in
//! ../README.md.

use std::{convert::Infallible, env, pin::Pin, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, stdin},
    net::TcpListener,
    task::JoinSet,
};
use tokio_stream::{Stream, StreamExt as _, iter, pending, wrappers::TcpListenerStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Server},
};

const ASK: &[u8] = b"ask";
const REPLY: &[u8] = b"reply";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match env::args().nth(2) {
        None => serve().await,
        Some(port) => call(port.parse()?).await,
    }
}

/// Messages are bytes, so that nothing has to be generated.
#[derive(Clone, Copy, Debug, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;

async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let shop = tower::service_fn(|request: http::Request<Body>| async move {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let service = tower::service_fn(move |requests| answer(method.clone(), requests));
        Ok::<_, Infallible>(tonic::server::Grpc::new(Plain).streaming(service, request).await)
    });
    // gRPC-Web over HTTP/1 on the same port.
    let server = Server::builder().accept_http1(true).layer(tonic_web::GrpcWebLayer::new());
    let serving = server.serve_with_incoming(shop, TcpListenerStream::new(listener));
    tokio::select! {
        ended = serving => Ok(ended?),
        read = async { stdin().read_to_end(&mut Vec::new()).await } => Ok(read.map(drop)?),
    }
}

async fn answer(method: String, request: Request<Streaming<Vec<u8>>>) -> Result<Response<Replies>, Status> {
    let mut requests = request.into_inner();
    let replies = |count| iter((0..count).map(|_| Ok(REPLY.to_vec())));
    let stream: Replies = match method.as_str() {
        "Talk" => Box::pin(requests.map(|request| request.map(|_| REPLY.to_vec()))),
        "Fail" => return Err(Status::not_found("no such order")),
        _ => {
            while requests.message().await?.is_some() {}
            match method.as_str() {
                "Unary" | "Collect" => Box::pin(replies(1)),
                "Offer" => Box::pin(replies(4)),
                "Break" => Box::pin(replies(2).chain(iter([Err(Status::internal("out of stock"))]))),
                "Wait" => std::future::pending().await,
                "Watch" => Box::pin(replies(1).chain(pending())),
                _ => return Err(Status::unimplemented(method)),
            }
        }
    };
    Ok(Response::new(stream))
}

async fn call(port: u16) -> Result<()> {
    let channel = Channel::from_shared(format!("http://127.0.0.1:{port}"))?.connect_lazy();
    let mut lines = BufReader::new(stdin()).lines();
    while lines.next_line().await?.is_some() {
        call_all(&channel).await?;
        println!("done");
    }
    Ok(())
}

/// So many requests; how many replies came, and with which code they ended.
async fn exchange(channel: Channel, method: &'static str, requests: usize) -> Result<(usize, Code)> {
    let mut client = ready(channel).await?;
    let requests = iter((0..requests).map(|_| ASK.to_vec()));
    let mut replies = match client.streaming(Request::new(requests), path(method), Plain).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Ok((0, status.code())),
    };
    let mut count = 0;
    loop {
        match replies.message().await {
            Ok(Some(_)) => count += 1,
            Ok(None) => return Ok((count, Code::Ok)),
            Err(status) => return Ok((count, status.code())),
        }
    }
}

async fn ready(channel: Channel) -> Result<Grpc<Channel>> {
    let mut client = Grpc::new(channel);
    client.ready().await.context("the shop is closed")?;
    Ok(client)
}

fn path(method: &str) -> PathAndQuery {
    format!("/shop.v1.Shop/{method}").parse().expect("methods are plain words")
}

async fn call_all(channel: &Channel) -> Result<()> {
    let ask = |method, requests| exchange(channel.clone(), method, requests);
    ensure!(ask("Unary", 1).await? == (1, Code::Ok));
    ensure!(ask("Unary", 1).await? == (1, Code::Ok));
    let mut pending: JoinSet<_> = (0..20).map(|_| ask("Unary", 1)).collect();
    while let Some(answer) = pending.join_next().await {
        ensure!(answer?? == (1, Code::Ok));
    }
    ensure!(ask("Collect", 3).await? == (1, Code::Ok));
    ensure!(ask("Offer", 1).await? == (4, Code::Ok));
    ensure!(ask("Talk", 3).await? == (3, Code::Ok));
    ensure!(ask("Fail", 1).await? == (0, Code::NotFound));
    ensure!(ask("Break", 1).await? == (2, Code::Internal));

    let mut limited = Request::new(ASK.to_vec());
    limited.set_timeout(Duration::from_millis(200));
    let waited: Result<Response<Vec<u8>>, Status> =
        ready(channel.clone()).await?.unary(limited, path("Wait"), Plain).await;
    ensure!(waited.is_err());

    let watch =
        ready(channel.clone()).await?.server_streaming(Request::new(ASK.to_vec()), path("Watch"), Plain).await?;
    let mut watch: Streaming<Vec<u8>> = watch.into_inner();
    ensure!(watch.message().await?.is_some());
    // Dropped, it is cancelled.
    Ok(())
}
