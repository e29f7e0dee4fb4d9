//! The TLS client configuration: rustls with ring, the public certificate authorities, and optional additional ones.

use crate::OutboundError;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::sync::Arc;

/// Trusts the public certificate authorities and those of `ca_bundle` (PEM).
pub(super) fn config(ca_bundle: Option<&str>) -> Result<ClientConfig, OutboundError> {
    with_roots(roots(ca_bundle)?)
}

/// The public authorities, and those of `ca_bundle` (PEM).
pub fn roots(ca_bundle: Option<&str>) -> Result<RootCertStore, OutboundError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_bundle {
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| OutboundError::Certificates(error.into()))?;
            roots.add(certificate).map_err(|error| OutboundError::Certificates(error.into()))?;
            found += 1;
        }
        if found == 0 {
            return Err(OutboundError::Certificates("no certificate in it".into()));
        }
    }
    Ok(roots)
}

/// Trusts only `roots`.
pub fn with_roots(roots: RootCertStore) -> Result<ClientConfig, OutboundError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}
