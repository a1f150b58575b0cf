// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One request to the collector: a batch's body in, an [`Outcome`] out. It neither waits to try again nor counts.
//!
//! Both protocols are one HTTP POST: http/protobuf over HTTP/1.1, and gRPC's unary call over HTTP/2 with five bytes before
//! the message and its status in the trailers. Redirects are not followed and proxies are not used.

use std::{error::Error, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_ENCODING, CONTENT_TYPE, TE, USER_AGENT},
    uri::Scheme,
};
use http_body_util::{BodyExt as _, Collected, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::{Duration, timeout};

use super::{
    answer::{self, Cause, Outcome},
    batch::Batch,
    body::Body,
    error::OtlpError,
    tls,
};
use crate::config::{OtlpConfig, OtlpProtocol};

/// Bytes of an answer that are read. Larger: memory that a hostile collector decides about; smaller: a long partial-success
/// text costs its count of rejected spans.
const MAX_ANSWER_BYTES: usize = 64 << 10;

const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[derive(Debug)]
pub struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    connector: HttpsConnector<HttpConnector>,
    protocol: OtlpProtocol,
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
    gzip: bool,
}

impl Transport {
    pub fn new(config: &OtlpConfig) -> Result<Self, OtlpError> {
        let uri = target(config)?;
        let connector = connector(config, uri.scheme() == Some(&Scheme::HTTPS))?;
        Ok(Self {
            client: client(&connector, config.protocol),
            connector,
            protocol: config.protocol,
            headers: headers(config)?,
            uri,
            timeout: config.timeout,
            gzip: config.gzip,
        })
    }

    /// Where requests go, for a person.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The request's body, to be used for every attempt.
    #[must_use]
    pub fn body(&self, batch: &Arc<Batch>) -> Body {
        let body = Body::of(batch, self.gzip);
        match self.protocol {
            OtlpProtocol::Grpc => body.in_grpc(self.gzip),
            OtlpProtocol::HttpProtobuf => body,
        }
    }

    pub async fn attempt(&mut self, body: Body) -> Outcome {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let protocol = self.protocol;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| broken(&error))?;
            Ok(match protocol {
                OtlpProtocol::Grpc => grpc_outcome(response).await,
                OtlpProtocol::HttpProtobuf => http_outcome(response).await,
            })
        };
        match timeout(self.timeout, exchange).await {
            Ok(outcome) => outcome.unwrap_or_else(|outcome| outcome),
            Err(_) => {
                // The connection may lead nowhere without saying so, and HTTP/2 would go on using it.
                self.client = client(&self.connector, self.protocol);
                let cause = Cause::new("timeout", &format!("no answer within {:?}", self.timeout));
                Outcome::Retry { cause, told: None }
            }
        }
    }
}

async fn http_outcome(response: Response<Incoming>) -> Outcome {
    let (head, body) = response.into_parts();
    // Its status decides, so that an answer which is too long or cut off is an answer all the same.
    let body = collect(body).await.ok().map(Collected::to_bytes);
    answer::from_http(head.status, &head.headers, body.as_deref(), SystemTime::now())
}

async fn grpc_outcome(response: Response<Incoming>) -> Outcome {
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK || head.headers.contains_key("grpc-status") {
        return answer::from_grpc(head.status, &head.headers, None);
    }
    match collect(body).await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned().unwrap_or_default();
            answer::from_grpc(head.status, &trailers, Some(&collected.to_bytes()))
        }
        // The collector went on past any answer OTLP knows: whether it took the batch will not be known, and sending it
        // again would end the same way.
        Err(error) if error.is::<LengthLimitError>() => {
            Outcome::Refused(Cause::new("unreadable_answer", "an answer of more than 64 KiB"))
        }
        Err(error) => broken(error.as_ref()),
    }
}

async fn collect(body: Incoming) -> Result<Collected<Bytes>, Box<dyn Error + Send + Sync>> {
    Limited::new(body, MAX_ANSWER_BYTES).collect().await
}

/// No answer: refused, reset, not trusted, or not HTTP. All of it can pass.
fn broken(error: &(dyn Error + 'static)) -> Outcome {
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        detail.push_str(": ");
        detail.push_str(&error.to_string());
        source = error.source();
    }
    Outcome::Retry { cause: Cause::new("connection", &detail), told: None }
}

fn target(config: &OtlpConfig) -> Result<Uri, OtlpError> {
    let endpoint = &config.traces_endpoint;
    let uri: Uri = endpoint.parse().map_err(|source| OtlpError::Endpoint { endpoint: endpoint.clone(), source })?;
    let authority = uri.authority().filter(|_| [Some("http"), Some("https")].contains(&uri.scheme_str()));
    let authority = authority.ok_or_else(|| OtlpError::Scheme { endpoint: endpoint.clone() })?;
    if authority.as_str().contains('@') {
        return Err(OtlpError::Credentials);
    }
    if config.protocol == OtlpProtocol::HttpProtobuf {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(GRPC_PATH));
    Ok(Uri::from_parts(parts).expect("scheme, authority and path are there"))
}

/// Those of the user first, so that what the protocol needs cannot be overridden.
fn headers(config: &OtlpConfig) -> Result<HeaderMap, OtlpError> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("onlooker/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in &config.headers {
        let invalid = || OtlpError::Header { name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
        // Kept out of Debug output and of HTTP/2's compression table.
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    match config.protocol {
        OtlpProtocol::Grpc => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
            // At most eight digits (gRPC over HTTP/2, "Timeout").
            let milliseconds = config.timeout.as_millis().min(99_999_999) as u32;
            let timeout = HeaderValue::from_str(&format!("{milliseconds}m")).expect("digits and a letter");
            headers.insert("grpc-timeout", timeout);
            if config.gzip {
                headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
            }
        }
        OtlpProtocol::HttpProtobuf => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            if config.gzip {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
    }
    Ok(headers)
}

fn connector(config: &OtlpConfig, secure: bool) -> Result<HttpsConnector<HttpConnector>, OtlpError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Certificates are read only where they are used: a plain endpoint must not fail for want of authorities.
    let tls = if secure { tls::client_config(config)? } else { tls::unused_config()? };
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Ok(match config.protocol {
        OtlpProtocol::Grpc => builder.enable_http2().wrap_connector(tcp),
        OtlpProtocol::HttpProtobuf => builder.enable_http1().wrap_connector(tcp),
    })
}

fn client(
    connector: &HttpsConnector<HttpConnector>,
    protocol: OtlpProtocol,
) -> Client<HttpsConnector<HttpConnector>, Body> {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(1)
        .http2_only(protocol == OtlpProtocol::Grpc)
        .build(connector.clone())
}
