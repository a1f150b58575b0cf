// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One GET to the API server: a path in, an answer's body or the reason why there is none out.
//!
//! Does not: try again, follow redirects or use proxies.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::access::{Access, AccessError};

/// Time to connect and to be answered. Larger: an API server that hangs is noticed late. Smaller: a busy one is given up.
const ANSWER_TIME: Duration = Duration::from_secs(30);
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// A peer that is gone without a word is noticed after as long as all of these together.
const ALIVE_AFTER: Duration = Duration::from_secs(30);
const ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const ALIVE_PROBES: u32 = 3;

/// Bytes of an answer that is read whole: a page of pods. Larger: memory that the API server decides about. Smaller: pages
/// of large pods are refused.
const ANSWER_BYTES: usize = 32 << 20;

/// Bytes of a refusal that are read.
const REFUSAL_BYTES: usize = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("cannot be reached: {}", innermost(source))]
    Connection { source: legacy::Error },
    #[error("has not answered within {} s", ANSWER_TIME.as_secs())]
    Silent,
    #[error("ended its answer in the middle: {}", innermost(source.as_ref()))]
    Body { source: Box<dyn Error + Send + Sync> },
    #[error("ended the watch at once")]
    Ended,
    #[error("gave more than {ANSWER_BYTES} bytes at once")]
    TooLong,
    #[error("answered {status}: {message}")]
    Refused { status: StatusCode, message: String },
    #[error("answered what is not understood: {0}")]
    NotJson(#[from] serde_json::Error),
}

impl ClusterError {
    /// What was asked for with is too old: the list has to be taken again.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::GONE, .. })
    }

    /// Onlooker may not look, or is not known.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED, .. })
    }
}

/// The deepest cause says most: what is above it says that there was a cause.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

/// A connection and what it shows. Made anew after failures, so that new certificates and tokens are seen.
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    access: Access,
}

/// The API's way to say no (`meta/v1` Status).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    pub message: String,
    pub code: u16,
}

impl Client {
    pub fn new(access: &Access) -> Result<Self, AccessError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIME));
        tcp.set_keepalive(Some(ALIVE_AFTER));
        tcp.set_keepalive_interval(Some(ALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(ALIVE_PROBES));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(access.tls()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Ok(Self { http, access: access.clone() })
    }

    /// The body of an answer that says yes, to be read as it comes.
    pub async fn open(&self, path: &str) -> Result<Incoming, ClusterError> {
        let request = self.request(path)?;
        let answer = timeout(ANSWER_TIME, self.http.request(request)).await.map_err(|_| ClusterError::Silent)?;
        let (head, body) = answer.map_err(|source| ClusterError::Connection { source })?.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let text = timeout(ANSWER_TIME, Limited::new(body, REFUSAL_BYTES).collect()).await;
        let text = text.ok().and_then(Result::ok).map(|whole| whole.to_bytes()).unwrap_or_default();
        let message = serde_json::from_slice::<Status>(&text).map(|status| status.message).unwrap_or_default();
        Err(ClusterError::Refused { status: head.status, message })
    }

    /// The whole of an answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClusterError> {
        let body = Limited::new(self.open(path).await?, ANSWER_BYTES).collect();
        let body = timeout(ANSWER_TIME, body).await.map_err(|_| ClusterError::Silent)?;
        let body = body.map_err(|source| match source.is::<LengthLimitError>() {
            true => ClusterError::TooLong,
            false => ClusterError::Body { source },
        })?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, AccessError> {
        let not_a_url = || AccessError::Address { address: self.access.server.clone() };
        let uri: Uri = format!("{}{path}", self.access.server).parse().map_err(|_| not_a_url())?;
        if uri.scheme_str() != Some("https") {
            return Err(not_a_url());
        }
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let agent = concat!("onlooker/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        if let Some(token) = &self.access.token {
            let token = [b"Bearer ", token.read()?.trim_ascii()].concat();
            let mut value = HeaderValue::from_bytes(&token).map_err(|_| AccessError::Token)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}
