// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The OTLP options together: where traces go and how, as the OpenTelemetry exporter specification says.
//!
//! A setting for traces alone is stronger than the general one, unless the general one is a flag and it is not: who types
//! `--endpoint` means it.

use std::{path::PathBuf, time::Duration};

use http::{Uri, uri::PathAndQuery};

use super::{
    OtlpConfig, OtlpProtocol,
    options::Key,
    pairs,
    problem::{Problem, Warning},
    settings::Settings,
    values::{self, Refusal},
};

/// Nothing where no endpoint was given. Problems are noted in the settings.
pub(super) fn read(settings: &mut Settings) -> Option<OtlpConfig> {
    if settings.get(Key::MetricsEndpoint).is_some() {
        let origin = settings.origin(Key::MetricsEndpoint);
        settings.warnings.push(Warning::MetricsNotSent { origin });
    }
    // All of them are read even without an endpoint: a bad value is refused wherever it stands.
    let protocol: Option<OtlpProtocol> = either(settings, Key::TracesProtocol, Key::Protocol, values::protocol);
    let insecure = either(settings, Key::TracesInsecure, Key::Insecure, values::switch).unwrap_or_default();
    let headers = either(settings, Key::TracesHeaders, Key::Headers, pairs::headers).unwrap_or_default();
    let timeout: Option<Duration> = either(settings, Key::TracesTimeout, Key::Timeout, values::milliseconds);
    let gzip: Option<bool> = either(settings, Key::TracesCompression, Key::Compression, values::compression);
    let certificate: Option<PathBuf> = either(settings, Key::TracesCertificate, Key::Certificate, values::path);
    let (client_certificate, client_key) = identity(settings);

    let key = stronger(settings, Key::TracesEndpoint, Key::Endpoint);
    let target = settings.value(key, |text| Target::read(text, protocol, insecure, key == Key::Endpoint));
    // The one that is not used is checked too.
    if key == Key::TracesEndpoint {
        settings.value(Key::Endpoint, |text| Target::read(text, protocol, insecure, true));
    }
    let target = target?;
    if target.tls_assumed {
        let origin = settings.origin(key);
        settings.warnings.push(Warning::TlsAssumed { origin });
    }
    Some(OtlpConfig {
        traces_endpoint: target.url,
        protocol: target.protocol,
        headers,
        timeout: timeout?,
        gzip: gzip?,
        certificate,
        client_certificate,
        client_key,
    })
}

/// The key to use of the two.
fn stronger(settings: &Settings, traces: Key, general: Key) -> Key {
    match (settings.get(traces), settings.get(general)) {
        (Some(traces_given), Some(given)) if given.origin.strength() > traces_given.origin.strength() => general,
        (Some(_), _) => traces,
        (None, _) => general,
    }
}

fn either<T>(settings: &mut Settings, traces: Key, general: Key, parse: fn(&str) -> Result<T, Refusal>) -> Option<T> {
    let key = stronger(settings, traces, general);
    let other = if key == traces { general } else { traces };
    settings.value(other, parse);
    settings.value(key, parse)
}

fn identity(settings: &mut Settings) -> (Option<PathBuf>, Option<PathBuf>) {
    let certificate_key = stronger(settings, Key::TracesClientCertificate, Key::ClientCertificate);
    let key_key = stronger(settings, Key::TracesClientKeyFile, Key::ClientKeyFile);
    let certificate = settings.value(certificate_key, values::path);
    let key = settings.value(key_key, values::path);
    let half = match (&certificate, &key) {
        (Some(_), None) => Some((certificate_key, "a client certificate", "its key (--client-key)")),
        (None, Some(_)) => Some((key_key, "a client key", "its certificate (--client-certificate)")),
        _ => None,
    };
    if let Some((given_key, given, missing)) = half {
        let origin = settings.origin(given_key);
        settings.problems.push(Problem::HalfAnIdentity { origin, given, missing });
    }
    (certificate, key)
}

#[derive(Debug, PartialEq, Eq)]
struct Target {
    url: String,
    protocol: OtlpProtocol,
    tls_assumed: bool,
}

const EXAMPLE: &str = "http://localhost:4318, or http://localhost:4317 for grpc";

impl Target {
    fn read(text: &str, protocol: Option<OtlpProtocol>, insecure: bool, is_base: bool) -> Result<Self, Refusal> {
        let (has_scheme, whole) = match text.contains("://") {
            true => (true, text.to_owned()),
            // Only grpc endpoints may be written so; which one it is may still follow from the port.
            false => (false, format!("{}://{text}", if insecure { "http" } else { "https" })),
        };
        let refusal = Refusal::NotAUrl { example: EXAMPLE };
        let uri: Uri = whole.parse().map_err(|_| refusal.clone())?;
        let host = uri.host().unwrap_or_default();
        // `Uri` accepts a port that is no number, and a user with no host.
        let port_text =
            uri.authority().and_then(|authority| authority.as_str().rsplit_once(host)).map(|(_, port)| port);
        let is_port_sound =
            port_text.is_some_and(|port| port.is_empty() || uri.port_u16().is_some_and(|port| port > 0));
        if host.is_empty() || !is_port_sound {
            return Err(refusal);
        }
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(Refusal::NotAScheme);
        }
        let protocol = protocol.unwrap_or(match uri.port_u16() {
            Some(4317) => OtlpProtocol::Grpc,
            _ => OtlpProtocol::HttpProtobuf,
        });
        if protocol == OtlpProtocol::HttpProtobuf && !has_scheme {
            return Err(refusal);
        }
        let url = match protocol {
            OtlpProtocol::HttpProtobuf if is_base => with_signal_path(uri)?,
            _ => whole,
        };
        Ok(Self { url, protocol, tls_assumed: !has_scheme && !insecure })
    }
}

/// The base with `v1/traces` behind its path, and its query kept.
fn with_signal_path(base: Uri) -> Result<String, Refusal> {
    let mut parts = base.into_parts();
    let (path, query) =
        parts.path_and_query.as_ref().map_or(("", None), |whole| (whole.path().trim_end_matches('/'), whole.query()));
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let path: Result<PathAndQuery, _> = format!("{path}/v1/traces{query}").parse();
    let refusal = Refusal::NotAUrl { example: EXAMPLE };
    parts.path_and_query = Some(path.map_err(|_| refusal.clone())?);
    Uri::from_parts(parts).map(|uri| uri.to_string()).map_err(|_| refusal)
}
