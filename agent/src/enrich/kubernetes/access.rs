// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the API server is reached: where it is, whom to trust, and who one is.
//!
//! In: the service account that Kubernetes gives a pod, or a kubeconfig. Out: [`Access`], with what was read turned into a
//! TLS configuration. Files are read anew for each connection: the kubelet changes tokens every hour.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use log::warn;
use rustls::{
    ClientConfig, RootCertStore,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::kubeconfig;
use crate::config::{KubernetesConfig, KubernetesMode, Problem};

/// Where the kubelet puts what a pod may show.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What a file holds, or the file, to be read when it is needed.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Given(Vec<u8>),
    File(PathBuf),
}

/// Why the API server cannot be asked, whatever it would answer.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("this is no pod that has a service account, and no kubeconfig is named")]
    NotInACluster,
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{0}")]
    NotYaml(Box<Problem>),
    #[error("{}: there is no {what}", path.display())]
    Incomplete { path: PathBuf, what: &'static str },
    #[error("{}: {what} is not base64", path.display())]
    NotBase64 { path: PathBuf, what: &'static str },
    #[error(
        "{}: the user is known by {method}, which Onlooker does not do: give it a token or a client certificate", path.display()
    )]
    Method { path: PathBuf, method: &'static str },
    #[error("the address of the API server, `{address}`, is no https URL")]
    Address { address: String },
    #[error("the certificate of {what} cannot be read: {source}")]
    Pem { what: &'static str, source: rustls::pki_types::pem::Error },
    #[error("the certificate of {what} is of no use: {source}")]
    Tls { what: &'static str, source: rustls::Error },
    #[error("the token cannot stand in a header")]
    Token,
}

/// The way in.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// `https://host:port`, with a path where the API server stands behind one.
    pub server: String,
    pub authority: Option<Secret>,
    /// The server is believed whatever it shows: `insecure-skip-tls-verify`.
    pub trusts_all: bool,
    pub token: Option<Secret>,
    pub client: Option<(Secret, Secret)>,
    /// Onlooker's own namespace, where it runs as a pod.
    pub namespace: Option<String>,
}

impl Secret {
    pub fn read(&self) -> Result<Vec<u8>, AccessError> {
        match self {
            Self::Given(bytes) => Ok(bytes.clone()),
            Self::File(path) => fs::read(path).map_err(|source| AccessError::Read { path: path.clone(), source }),
        }
    }
}

impl Access {
    /// Nothing where the cluster is not to be asked, and where it cannot be and nobody insists: a developer's kubeconfig
    /// must not keep anybody from looking at a program on his own machine.
    ///
    /// # Errors
    /// Where somebody insists.
    pub fn find(config: &KubernetesConfig) -> Result<Option<Self>, AccessError> {
        if config.mode == KubernetesMode::Off {
            return Ok(None);
        }
        if let Some(path) = &config.kubeconfig {
            return match kubeconfig::read(path) {
                Err(error) if config.mode == KubernetesMode::Auto => {
                    warn!("Kubernetes is not asked: {error}");
                    Ok(None)
                }
                read => read.map(Some),
            };
        }
        match Self::of_service_account(Path::new(SERVICE_ACCOUNT), |name| env::var(name).ok()) {
            Some(access) => Ok(Some(access)),
            None if config.mode == KubernetesMode::On => Err(AccessError::NotInACluster),
            None => Ok(None),
        }
    }

    fn of_service_account(folder: &Path, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (host, port) = (set("KUBERNETES_SERVICE_HOST")?, set("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let token = folder.join("token");
        token.exists().then(|| Self {
            server: format!("https://{host}:{port}"),
            authority: Some(Secret::File(folder.join("ca.crt"))),
            trusts_all: false,
            token: Some(Secret::File(token)),
            client: None,
            namespace: fs::read_to_string(folder.join("namespace")).ok().map(|text| text.trim().to_owned()),
        })
    }

    /// # Errors
    /// Where a file cannot be read, or does not hold what it should.
    pub fn tls(&self) -> Result<ClientConfig, AccessError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| AccessError::Tls { what: "TLS itself", source })?;
        let builder = if self.trusts_all {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustsAll(provider)))
        } else {
            builder.with_root_certificates(self.authorities()?)
        };
        let Some((certificate, key)) = &self.client else { return Ok(builder.with_no_client_auth()) };
        let pem = |source| AccessError::Pem { what: "the user", source };
        let key = PrivateKeyDer::from_pem_slice(&key.read()?).map_err(pem)?;
        builder
            .with_client_auth_cert(certificates("the user", &certificate.read()?)?, key)
            .map_err(|source| AccessError::Tls { what: "the user", source })
    }

    fn authorities(&self) -> Result<RootCertStore, AccessError> {
        let mut roots = RootCertStore::empty();
        let Some(authority) = &self.authority else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        };
        for certificate in certificates("the cluster's authority", &authority.read()?)? {
            roots.add(certificate).map_err(|source| AccessError::Tls { what: "the cluster's authority", source })?;
        }
        Ok(roots)
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, AccessError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|source| AccessError::Pem { what, source })
}

/// For clusters whose owner has switched the check off: what the server shows is taken, its signatures are checked.
#[derive(Debug)]
struct TrustsAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "KUBERNETES_SERVICE_HOST" => Some("fd00::1".to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_pod_has_a_service_account() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Access::of_service_account(folder.path(), environment).is_none(), "no token is mounted");
        fs::write(folder.path().join("token"), "t").expect("written");
        fs::write(folder.path().join("namespace"), "onlooker\n").expect("written");
        assert!(Access::of_service_account(folder.path(), |_| None).is_none(), "no cluster around it");
        let access = Access::of_service_account(folder.path(), environment).expect("a pod");
        assert_eq!(access.server, "https://[fd00::1]:443");
        assert_eq!(access.namespace.as_deref(), Some("onlooker"));
        assert!(matches!(access.tls(), Err(AccessError::Read { path, .. }) if path.ends_with("ca.crt")));
    }

    #[test]
    fn outside_a_cluster_there_is_nothing_to_do() {
        assert!(Access::find(&KubernetesConfig::default()).is_ok_and(|access| access.is_none()));
        let with = |mode, kubeconfig: Option<&str>| {
            let kubeconfig = kubeconfig.map(Into::into);
            Access::find(&KubernetesConfig { mode, kubeconfig, ..KubernetesConfig::default() })
        };
        let nowhere = Some("/nowhere/config");
        assert!(with(KubernetesMode::Auto, nowhere).is_ok_and(|access| access.is_none()));
        assert!(matches!(with(KubernetesMode::On, nowhere), Err(AccessError::Read { .. })));
    }
}
