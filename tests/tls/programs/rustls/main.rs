// SPDX-License-Identifier: Apache-2.0 OR MIT
//! hyper and rustls on both ends: tasks, each with a connection of its own, over HTTP/1.1, or all streams of one connection
//! over HTTP/2. Told what to do as all programs here are: `program.rs`.
//!
//! In: `1` or `2`, how many tasks, and how many requests each makes in turn. Several threads take turns with the tasks.

use std::{env, io, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    client::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

/// A body of some length, so that a response takes records of its own.
const PADDING: usize = 300;

#[derive(Clone)]
struct Peer {
    connector: TlsConnector,
    port: u16,
    is_http2: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let mut number = || -> Result<usize> { Ok(arguments.next().context("an argument is missing")?.parse()?) };
    let (version, tasks, requests) = (number()?, number()?, number()?);
    let (acceptor, connector) = configure(version == 2)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let peer = Peer { connector, port: listener.local_addr()?.port(), is_http2: version == 2 };
    println!("ready {}", peer.port);
    tokio::spawn(serve(listener, acceptor));

    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let mut round = 0;
    while orders.next_line().await?.is_some() {
        for path in peer.clone().work(round, tasks, requests).await? {
            println!("{path}");
        }
        println!();
        round += 1;
    }
    Ok(())
}

fn configure(is_http2: bool) -> Result<(TlsAcceptor, TlsConnector)> {
    let (certificate, key) = (env::var("CERTIFICATE")?, env::var("KEY")?);
    let certificate = CertificateDer::from_pem_file(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let mut server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    if is_http2 {
        server.alpn_protocols = vec![b"h2".to_vec()];
        client.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok((TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client))))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            // A client that goes away is no concern of the next one.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = format!("{} {}", request.uri().path(), "x".repeat(PADDING));
    Ok(Response::new(Full::new(body.into())))
}

impl Peer {
    async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        Ok(self.connector.connect(ServerName::try_from("localhost")?, stream).await?)
    }

    /// The paths that were asked for.
    async fn work(self, round: usize, tasks: usize, requests: usize) -> Result<Vec<String>> {
        let mut under_way = JoinSet::new();
        if self.is_http2 {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(self.connect().await?)).await?;
            tokio::spawn(connection);
            for task in 0..tasks {
                let (peer, mut sender) = (self.clone(), sender.clone());
                under_way.spawn(async move {
                    let mut paths = Vec::new();
                    for index in 0..requests {
                        let path = peer.path(round, task, index);
                        let answer = sender.send_request(peer.request(&path)?);
                        check(&path, answer.await?).await?;
                        paths.push(path);
                    }
                    anyhow::Ok(paths)
                });
            }
        } else {
            for task in 0..tasks {
                let peer = self.clone();
                under_way.spawn(async move {
                    let (mut sender, connection) = http1::handshake(TokioIo::new(peer.connect().await?)).await?;
                    tokio::spawn(connection);
                    let mut paths = Vec::new();
                    for index in 0..requests {
                        let path = peer.path(round, task, index);
                        sender.ready().await?;
                        let answer = sender.send_request(peer.request(&path)?);
                        check(&path, answer.await?).await?;
                        paths.push(path);
                    }
                    anyhow::Ok(paths)
                });
            }
        }
        let mut paths = Vec::new();
        while let Some(done) = under_way.join_next().await {
            paths.extend(done??);
        }
        Ok(paths)
    }

    fn path(&self, round: usize, task: usize, index: usize) -> String {
        format!("/rustls{}/{round}/{task}/{index}", if self.is_http2 { 2 } else { 1 })
    }

    fn request(&self, path: &str) -> Result<Request<Full<Bytes>>> {
        let authority = format!("localhost:{}", self.port);
        // HTTP/2 needs the whole of it, and HTTP/1.1 the path alone.
        let target = if self.is_http2 { format!("https://{authority}{path}") } else { path.to_owned() };
        Ok(Request::get(target).header("host", authority).body(Full::default())?)
    }
}

async fn check<B: Body<Error = hyper::Error>>(path: &str, answer: Response<B>) -> Result<()> {
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    ensure!(head.status == 200 && body.starts_with(path.as_bytes()), "{path} was answered with {body:?}");
    Ok(())
}
