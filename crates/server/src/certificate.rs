//! The servers' certificate, for TLS 1.2 and 1.3 (RFC 8446): read from two mounted files, and checked before use.

use portcullis_config::{CERTIFICATE_FILE, CERTIFICATE_KEY_FILE};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::sync::Arc;

/// The protocols for ALPN, the preferred one first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The contents of the two files, if they exist.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    pub chain: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
}

/// Why the files cannot be used. Never contains content of the files.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file is missing.
    #[error("{0} is missing; the Secret named in spec.tls must be of type kubernetes.io/tls and have it")]
    Missing(&'static str),
    /// The certificate file has no valid PEM certificates.
    #[error("{CERTIFICATE_FILE} must contain the certificate and its chain in PEM")]
    Chain,
    /// The key file has no valid PEM private key.
    #[error("{CERTIFICATE_KEY_FILE} must contain one private key in PEM, without a passphrase")]
    Key,
    /// rustls rejects the certificate and the key, for example because they do not match.
    #[error("{CERTIFICATE_FILE} and {CERTIFICATE_KEY_FILE} cannot be used")]
    Unusable(#[from] rustls::Error),
}

impl CertificateFiles {
    /// The TLS configuration with this certificate.
    pub(crate) fn server(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let chain = self.chain.as_deref().ok_or(CertificateError::Missing(CERTIFICATE_FILE))?;
        let key = self.key.as_deref().ok_or(CertificateError::Missing(CERTIFICATE_KEY_FILE))?;
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|_| CertificateError::Chain)?;
        if chain.is_empty() {
            return Err(CertificateError::Chain);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::Key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    #[test]
    fn what_cannot_be_used_is_said_without_repeating_it() {
        let made = || {
            let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            (cert.pem(), signing_key.serialize_pem())
        };
        let ((chain, key), (_, other)) = (made(), made());
        let files = |chain: Option<&str>, key: Option<&str>| CertificateFiles {
            chain: chain.map(|text| text.as_bytes().to_vec()),
            key: key.map(|text| text.as_bytes().to_vec()),
        };
        assert_eq!(files(Some(&chain), Some(&key)).server().unwrap().alpn_protocols, [&b"h2"[..], b"http/1.1"]);
        let cut = &key[..key.len() / 2];
        for (files, expected) in [
            (files(None, Some(&key)), "tls.crt is missing"),
            (files(Some(&chain), None), "tls.key is missing"),
            (files(Some(""), Some(&key)), "tls.crt must contain"),
            (files(Some(&key), Some(&key)), "tls.crt must contain"),
            (files(Some(&chain[..chain.len() / 2]), Some(&key)), "tls.crt must contain"),
            (files(Some(&chain), Some("hush")), "tls.key must contain"),
            (files(Some(&chain), Some(cut)), "tls.key must contain"),
            (files(Some(&chain), Some(&chain)), "tls.key must contain"),
            (files(Some(&chain), Some(&other)), "cannot be used"),
        ] {
            let error = files.server().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}, not {expected}");
            let told = format!("{error:?} {}", portcullis_core::report::chain(&error));
            assert!(!told.contains("hush") && !key.lines().skip(1).any(|line| told.contains(line)), "{told}");
        }
    }
}
