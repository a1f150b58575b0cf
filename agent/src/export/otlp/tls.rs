// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Certificate files in, a TLS configuration out. It opens no connection.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::error::OtlpError;
use crate::config::OtlpConfig;

/// What TLS connections of this exporter trust and show. ALPN is left to the connector.
pub fn client_config(config: &OtlpConfig) -> Result<ClientConfig, OtlpError> {
    let roots = match &config.certificate {
        Some(path) => authorities(path)?,
        None => system_authorities()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match (&config.client_certificate, &config.client_key) {
        (Some(certificate), Some(key)) => {
            Ok(builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?)?)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(OtlpError::HalfIdentity),
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, OtlpError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// Certificates of the system that cannot be read or parsed are left out, as TLS libraries do: distributions carry some.
fn system_authorities() -> Result<RootCertStore, OtlpError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(OtlpError::NoAuthorities) } else { Ok(roots) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OtlpError> {
    let certificates = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| OtlpError::Pem { path: path.to_owned(), source })?;
    if certificates.is_empty() {
        return Err(OtlpError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, OtlpError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|source| OtlpError::Pem { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, OtlpError> {
    fs::read(path).map_err(|source| OtlpError::Read { path: path.to_owned(), source })
}

/// For plain endpoints, whose connector asks for a configuration and never uses it: trusts nobody.
pub fn unused_config() -> Result<ClientConfig, OtlpError> {
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}
