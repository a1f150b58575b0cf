// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TLS to the collector, both ends with certificates of an authority of their own.

use anyhow::Result;
use onlooker_tests::{Load, PATIENCE, collector::Tls};

use crate::{
    Protocol, Stage,
    authority::{Authority, Identity},
    text,
};

const REQUESTS: u64 = 200;

/// What Onlooker trusts and shows.
enum Client {
    Right,
    /// It trusts an authority that has not signed the collector's certificate.
    TrustsAnother,
    /// It shows a certificate that the collector's authority has not signed.
    ShowsAnother,
}

fn stage(protocol: Protocol, client: &Client) -> Result<Stage> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path(), "authority")?;
    let another = Authority::new(folder.path(), "another")?;
    let server = authority.sign("collector")?;
    let (trusted, shown): (&Authority, Identity) = match client {
        Client::Right => (&authority, authority.sign("onlooker")?),
        Client::TrustsAnother => (&another, authority.sign("onlooker")?),
        Client::ShowsAnother => (&authority, another.sign("onlooker")?),
    };
    let (trusted, certificate, key) = (trusted.certificate.clone(), shown.certificate, shown.key);
    let tls = Tls { certificate: &server.certificate, key: &server.key, client_authority: &authority.certificate };
    let environment = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", text(&trusted)),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", text(&certificate)),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", text(&key)),
    ];
    Stage::set_in(folder, protocol, Some(tls), &environment)
}

fn check_delivered(protocol: Protocol) -> Result<()> {
    let mut stage = stage(protocol, &Client::Right)?;
    Load::new(stage.server.address(), 4, REQUESTS, true).run()?;
    stage.collector.wait_count(REQUESTS as usize, PATIENCE)?;
    let finished = stage.onlooker.stop()?;
    stage.collector.stop()?;
    assert_eq!(stage.collector.received()?.len() as u64, REQUESTS);
    assert_eq!(finished.ledger.exported("otlp"), REQUESTS, "{:#?}", finished.ledger);
    Ok(())
}

/// One of `reasons` is what the log must name: its own finding, or what the collector did.
fn check_refused(protocol: Protocol, client: &Client, reasons: &[&str]) -> Result<()> {
    let mut stage = stage(protocol, client)?;
    Load::new(stage.server.address(), 4, REQUESTS, true).run()?;
    let finished = stage.onlooker.stop()?;
    stage.collector.stop()?;
    assert_eq!(stage.collector.received()?, []);
    assert_eq!(finished.ledger.exported("otlp"), 0);
    assert_eq!(finished.ledger.dropped("otlp"), REQUESTS, "what did not leave is counted\n{:#?}", finished.ledger);
    let is_named = reasons.iter().any(|reason| finished.stderr.contains(reason));
    assert!(is_named, "one of {reasons:?} is named: {}", finished.stderr);
    Ok(())
}

#[test]
fn grpc_with_certificates_on_both_ends() -> Result<()> {
    check_delivered(Protocol::Grpc)
}

#[test]
fn http_with_certificates_on_both_ends() -> Result<()> {
    check_delivered(Protocol::Http)
}

#[test]
fn grpc_to_a_stranger_is_refused_and_counted() -> Result<()> {
    check_refused(Protocol::Grpc, &Client::TrustsAnother, &["certificate"])
}

#[test]
fn http_to_a_stranger_is_refused_and_counted() -> Result<()> {
    check_refused(Protocol::Http, &Client::TrustsAnother, &["certificate"])
}

#[test]
fn http_as_a_stranger_is_refused_and_counted() -> Result<()> {
    // In TLS 1.3 the server looks at the client's certificate when the client is done and has begun its request: it is
    // the alert that is noticed first, or that the connection has ended under the request.
    check_refused(Protocol::Http, &Client::ShowsAnother, &["UnknownCA", "Broken pipe", "Connection reset"])
}
