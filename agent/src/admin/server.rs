// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The HTTP side: connections in, one small answer each out, then closed. Request bodies are never read.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::{Gauge, Health, Readiness};
use crate::ledger::Ledger;

/// Connections served at once; more wait in the kernel's backlog. Larger: memory and file descriptors for whoever opens
/// many. Smaller: probes wait behind slow scrapes.
const CONNECTION_LIMIT: usize = 64;
/// Time for a request's head, and for all of a connection. Larger: idle connections keep others out. Smaller: scrapes over
/// slow links are cut.
const HEAD_TIME: Duration = Duration::from_secs(5);
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// Bytes of a request's head; hyper's least. Larger: memory for whoever sends long heads.
const HEAD_BYTES: usize = 8192;
/// Pause where a connection cannot be accepted, for lack of file descriptors: nothing tells when there is one again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("the admin address {address} is in use: give another with --admin ADDRESS, or none with --admin off")]
    InUse { address: SocketAddr },
    #[error(
        "the admin address {address} cannot be used ({error}): give another with --admin ADDRESS, or none with --admin off"
    )]
    Unusable { address: SocketAddr, error: io::Error },
}

/// Bound, so that a bad address is known at start; serves while [`Server::run`] is awaited.
pub struct Server {
    listener: TcpListener,
    sources: Arc<Sources>,
}

struct Sources {
    health: Arc<Health>,
    ledger: Arc<Ledger>,
    gauges: Vec<Gauge>,
}

impl Server {
    /// # Errors
    /// When the address is in use, or not one of this machine.
    pub async fn bind(
        address: SocketAddr,
        health: Arc<Health>,
        ledger: Arc<Ledger>,
        gauges: Vec<Gauge>,
    ) -> Result<Self, AdminError> {
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse { address },
            _ => AdminError::Unusable { address, error },
        })?;
        Ok(Self { listener, sources: Arc::new(Sources { health, ledger, gauges }) })
    }

    /// The address in use; its port where 0 was asked for.
    ///
    /// # Errors
    /// When the kernel does not tell it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is done; open connections are cut then.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            () = self.serve() => {}
        }
    }

    async fn serve(self) {
        let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        // Dropped with this future, and the connections with it.
        let mut connections = JoinSet::new();
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            while connections.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let sources = Arc::clone(&self.sources);
                    connections.spawn(async move {
                        // How a probe's connection ends is nobody's concern.
                        let _ = tokio::time::timeout(CONNECTION_TIME, converse(stream, sources)).await;
                        drop(place);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

async fn converse(stream: TcpStream, sources: Arc<Sources>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &sources);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(method: &Method, path: &str, sources: &Sources) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/livez" | "/readyz" | "/metrics" if method != Method::GET && method != Method::HEAD => {
            let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
            response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        "/livez" => liveness(&sources.health),
        "/readyz" => readiness(&sources.health),
        "/metrics" => (StatusCode::OK, metrics(sources)),
        _ => (StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n".to_owned()),
    };
    text_response(status, text)
}

fn liveness(health: &Health) -> (StatusCode, String) {
    match health.is_alive() {
        true => (StatusCode::OK, "alive\n".to_owned()),
        false => {
            let seconds = health.silence().as_secs();
            (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: the pipeline has been silent for {seconds} s\n"))
        }
    }
}

fn readiness(health: &Health) -> (StatusCode, String) {
    let readiness = health.readiness();
    let status = if readiness == Readiness::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{}\n", readiness.text()))
}

fn metrics(sources: &Sources) -> String {
    let mut text = sources.ledger.prometheus();
    for gauge in &sources.gauges {
        gauge.write(&mut text);
    }
    text
}

fn text_response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        // The version that Prometheus' text format asks for; harmless for the others.
        .header(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .body(Full::new(Bytes::from(text)))
        .expect("all its parts are constants")
}

#[cfg(test)]
mod tests;
