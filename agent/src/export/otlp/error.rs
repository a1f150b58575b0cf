// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why an OTLP exporter cannot be made; all of it is known at start. Values that may be secrets are not repeated.

use std::{io, path::PathBuf};

use rustls::pki_types::pem;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum OtlpError {
    #[error("OTLP endpoint `{endpoint}` is not a URL: {source}")]
    Endpoint { endpoint: String, source: http::uri::InvalidUri },
    #[error("OTLP endpoint `{endpoint}` must begin with http:// or https:// and name a host")]
    Scheme { endpoint: String },
    #[error("the OTLP endpoint carries a user or a password: give them as a header (OTEL_EXPORTER_OTLP_HEADERS)")]
    Credentials,
    #[error("OTLP header `{name}` has a name or a value that HTTP does not allow")]
    Header { name: String },
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` is not PEM with what is needed: {source}", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("`{}` holds no certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("a client certificate needs its key and a key its certificate: only one of the two is given")]
    HalfIdentity,
    #[error(
        "this system has no certificate authorities to trust: name a PEM file of them (OTEL_EXPORTER_OTLP_CERTIFICATE)"
    )]
    NoAuthorities,
    #[error("TLS refuses the certificates given: {0}")]
    Tls(#[from] rustls::Error),
}
