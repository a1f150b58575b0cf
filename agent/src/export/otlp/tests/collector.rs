// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A collector that answers as it was told and hands over what it received.

use std::{
    collections::VecDeque,
    io::Read as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use prost::Message as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tonic::codec::CompressionEncoding;

use crate::config::OtlpProtocol;

/// What the collector does with one request.
pub enum Reply {
    Take,
    TakeBut {
        rejected: i64,
        message: &'static str,
    },
    Grpc(tonic::Status),
    Http(Response<Full<Bytes>>),
    /// Never answers.
    Hang,
}

pub struct Received {
    pub version: Version,
    pub path: String,
    pub headers: HeaderMap,
    pub request: ExportTraceServiceRequest,
}

impl Received {
    pub fn spans(&self) -> usize {
        let scopes = self.request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.map(|scope| scope.spans.len()).sum()
    }
}

pub struct Collector {
    pub address: SocketAddr,
    received: mpsc::UnboundedReceiver<Received>,
    server: JoinHandle<()>,
}

/// Shared by all connections.
#[derive(Clone)]
struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    received: mpsc::UnboundedSender<Received>,
}

impl Collector {
    /// Takes everything once `replies` are used up.
    pub async fn start(protocol: OtlpProtocol, replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self::serve(listener, protocol, replies, None)
    }

    pub fn serve(
        listener: TcpListener,
        protocol: OtlpProtocol,
        replies: impl IntoIterator<Item = Reply>,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let (sender, received) = mpsc::unbounded_channel();
        let script = Script { replies: Arc::new(Mutex::new(replies.into_iter().collect())), received: sender };
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            // Connections end with the server.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Bytes held back until an acknowledgement look like idleness, and a paused clock would run.
                stream.set_nodelay(true).unwrap();
                let (script, tls) = (script.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve_connection(stream, protocol, script).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve_connection(stream, protocol, script).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, received, server }
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/v1/traces", self.address)
    }

    pub async fn next(&mut self) -> Received {
        self.received.recv().await.expect("the collector runs")
    }

    /// Requests that nobody has asked for yet.
    pub fn waiting(&self) -> usize {
        self.received.len()
    }

    pub async fn stop(self) -> SocketAddr {
        self.server.abort();
        let _ = self.server.await;
        self.address
    }
}

async fn serve_connection<S>(stream: S, protocol: OtlpProtocol, script: Script)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    let stream = TokioIo::new(stream);
    // A client that goes away in the middle is part of some tests.
    let _ = match protocol {
        OtlpProtocol::HttpProtobuf => {
            let service = service_fn(move |request| http(script.clone(), request));
            builder.serve_connection(stream, service).await
        }
        OtlpProtocol::Grpc => {
            let service = service_fn(move |request: Request<Incoming>| {
                let call = Call { script: script.clone(), head: head(&request) };
                let server = TraceServiceServer::new(call).accept_compressed(CompressionEncoding::Gzip);
                hyper::service::Service::call(&TowerToHyperService::new(server), request)
            });
            builder.serve_connection(stream, service).await
        }
    };
}

type Head = (Version, String, HeaderMap);

fn head(request: &Request<Incoming>) -> Head {
    (request.version(), request.uri().path().to_owned(), request.headers().clone())
}

impl Script {
    fn handle(&self, (version, path, headers): Head, request: ExportTraceServiceRequest) -> Reply {
        // A test may have seen enough.
        let _ = self.received.send(Received { version, path, headers, request });
        self.replies.lock().unwrap().pop_front().unwrap_or(Reply::Take)
    }
}

fn response(rejected: i64, message: &str) -> ExportTraceServiceResponse {
    let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: message.to_owned() };
    ExportTraceServiceResponse { partial_success: Some(partial) }
}

async fn http(script: Script, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let head = head(&request);
    let mut body = request.into_body().collect().await.unwrap().to_bytes().to_vec();
    if head.2.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    let answer = match script.handle(head, ExportTraceServiceRequest::decode(body.as_slice()).unwrap()) {
        Reply::Take => ExportTraceServiceResponse::default(),
        Reply::TakeBut { rejected, message } => response(rejected, message),
        Reply::Http(response) => return Ok(response),
        Reply::Hang => std::future::pending().await,
        Reply::Grpc(_) => unreachable!("this test speaks HTTP"),
    };
    let answer = Response::builder()
        .status(StatusCode::OK)
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(answer.encode_to_vec().into()));
    Ok(answer.unwrap())
}

/// One gRPC call.
struct Call {
    script: Script,
    head: Head,
}

#[tonic::async_trait]
impl TraceService for Call {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        match self.script.handle(self.head.clone(), request.into_inner()) {
            Reply::Take => Ok(tonic::Response::new(ExportTraceServiceResponse::default())),
            Reply::TakeBut { rejected, message } => Ok(tonic::Response::new(response(rejected, message))),
            Reply::Grpc(status) => Err(status),
            Reply::Hang => std::future::pending().await,
            Reply::Http(_) => unreachable!("this test speaks gRPC"),
        }
    }
}
