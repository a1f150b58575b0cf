// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TLS with authorities and certificates of one's own, and configurations that cannot work.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{collector::Collector, *};
use crate::export::otlp::OtlpError;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("onlooker-otlp-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An authority with a server that asks for certificates it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate, key)
    }

    fn acceptor(&self, alpn: &[u8]) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = self.sign("127.0.0.1");
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A collector that speaks TLS, and a configuration that it accepts.
async fn secured(protocol: OtlpProtocol, folder: &Folder) -> (Collector, OtlpConfig) {
    let authority = Authority::new();
    let alpn: &[u8] = if protocol == OtlpProtocol::Grpc { b"h2" } else { b"http/1.1" };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let collector = Collector::serve(listener, protocol, [], Some(authority.acceptor(alpn)));
    let (certificate, key) = authority.sign("onlooker");
    let config = OtlpConfig {
        certificate: Some(folder.write("ca.pem", &authority.issuer.pem())),
        client_certificate: Some(folder.write("client.pem", &certificate.pem())),
        client_key: Some(folder.write("client.key", &key.serialize_pem())),
        ..otlp(protocol, collector.url("https"))
    };
    (collector, config)
}

#[tokio::test(start_paused = true)]
async fn both_ends_show_certificates_of_an_authority_of_their_own() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf] {
        let folder = Folder::new();
        let (mut collector, config) = secured(protocol, &folder).await;
        let rig = Rig::start(&config, &ONE_BY_ONE);
        rig.offer([1, 2]);
        collector.next().await;
        collector.next().await;
        assert_eq!(rig.shut_down(Duration::from_secs(60)).await, fate(2, &[]));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_a_collector_that_is_not_trusted_or_does_not_trust() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf] {
        let folder = Folder::new();
        let (mut collector, config) = secured(protocol, &folder).await;
        let stranger = folder.write("stranger.pem", &Authority::new().issuer.pem());
        let strangers = OtlpConfig { certificate: Some(stranger), ..config.clone() };
        let nameless = OtlpConfig { client_certificate: None, client_key: None, ..config.clone() };
        for config in [strangers, nameless] {
            let rig = Rig::start(&config, &BatchConfig { export_timeout: Duration::ZERO, ..ONE_BY_ONE });
            rig.offer([1]);
            assert_eq!(rig.shut_down(Duration::from_secs(60)).await, fate(0, &[("gave_up", 1)]));
        }
        // The first thing that arrives is what the trusted one sends now.
        let rig = Rig::start(&config, &ONE_BY_ONE);
        rig.offer([77]);
        let span = &collector.next().await.request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(span.span_id, 77_u64.to_be_bytes());
        assert_eq!(rig.shut_down(Duration::from_secs(60)).await, fate(1, &[]));
    }
}

fn error(config: &OtlpConfig) -> OtlpError {
    match exporter(config, &IN_ONE, &Arc::new(Ledger::new())) {
        Ok(_) => panic!("{config:?} cannot work"),
        Err(error) => error,
    }
}

fn endpoint(endpoint: &str) -> OtlpError {
    error(&otlp(OtlpProtocol::Grpc, endpoint.to_owned()))
}

#[test]
fn addresses_that_cannot_work_are_refused_at_start() {
    assert!(matches!(endpoint("http://a b"), OtlpError::Endpoint { .. }));
    assert!(matches!(endpoint("collector:4317"), OtlpError::Scheme { .. }));
    assert!(matches!(endpoint("/v1/traces"), OtlpError::Scheme { .. }));
    assert!(matches!(endpoint("ftp://collector/"), OtlpError::Scheme { .. }));
    let credentials = endpoint("http://user:secret@collector/");
    assert!(matches!(credentials, OtlpError::Credentials));
    assert!(!credentials.to_string().contains("secret"));
}

#[test]
fn headers_that_http_does_not_allow_are_refused_without_showing_their_value() {
    for (name, value) in [("a b", "x-secret"), ("x-key", "x-secret\r\nx: y"), ("", "x-secret")] {
        let mut config = otlp(OtlpProtocol::Grpc, "http://collector:4317".to_owned());
        config.headers = vec![(name.to_owned(), value.to_owned())];
        let error = error(&config);
        assert!(matches!(error, OtlpError::Header { .. }));
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn certificate_files_are_checked_at_start_and_only_where_they_are_used() {
    let folder = Folder::new();
    let authority = Authority::new();
    let (certificate, key) = authority.sign("onlooker");
    let good = OtlpConfig {
        certificate: Some(folder.write("ca.pem", &authority.issuer.pem())),
        client_certificate: Some(folder.write("client.pem", &certificate.pem())),
        client_key: Some(folder.write("client.key", &key.serialize_pem())),
        ..otlp(OtlpProtocol::Grpc, "https://collector:4317".to_owned())
    };
    assert!(exporter(&good, &IN_ONE, &Arc::new(Ledger::new())).is_ok());

    let absent = Some(PathBuf::from("/nowhere/ca.pem"));
    let is_read = |error, at: &Path| matches!(error, OtlpError::Read { path, .. } if path == at);
    assert!(is_read(error(&OtlpConfig { certificate: absent.clone(), ..good.clone() }), Path::new("/nowhere/ca.pem")));
    let empty = Some(folder.write("empty.pem", "not PEM"));
    assert!(matches!(
        error(&OtlpConfig { certificate: empty.clone(), ..good.clone() }),
        OtlpError::NoCertificate { .. }
    ));
    assert!(matches!(error(&OtlpConfig { client_key: empty, ..good.clone() }), OtlpError::Pem { .. }));
    let broken = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    let broken = Some(folder.write("broken.pem", broken));
    assert!(matches!(error(&OtlpConfig { certificate: broken, ..good.clone() }), OtlpError::Pem { .. }));
    assert!(matches!(error(&OtlpConfig { client_key: None, ..good.clone() }), OtlpError::HalfIdentity));
    let other_key = Some(folder.write("other.key", &KeyPair::generate().unwrap().serialize_pem()));
    assert!(matches!(error(&OtlpConfig { client_key: other_key, ..good.clone() }), OtlpError::Tls(_)));

    let plain = OtlpConfig { traces_endpoint: "http://collector:4317".to_owned(), certificate: absent, ..good };
    assert!(exporter(&plain, &IN_ONE, &Arc::new(Ledger::new())).is_ok());
}
