//! The TLS handshake. Verification is that of every other client; in addition it records the certificates, so that a
//! refused one can be explained (RFC 5280, RFC 6125).

use crate::observation::{Certificate, TlsFailure, clipped};
use jiff::Timestamp;
use portcullis_core::{names::in_certificate, report::chain};
use portcullis_outbound::OutboundError;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// The timeout of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The last second of the year 9999: later than any certificate is valid.
const END: u64 = 253_402_300_799;

/// Performs the handshake, and closes the connection.
pub(super) async fn handshake(
    address: SocketAddr,
    host: &str,
    roots: RootCertStore,
) -> Result<Result<Certificate, TlsFailure>, OutboundError> {
    let verifier = Arc::new(RecordingVerifier::new(roots)?);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
        .with_no_client_auth();
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        return Ok(Err(TlsFailure::Invalid(format!("{host:?} cannot be the name in a certificate"))));
    };
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(name.clone(), stream).await
    };
    Ok(match timeout(HANDSHAKE_TIMEOUT, connect).await {
        Ok(Ok(_)) => Ok(verifier.validity(&name)),
        Ok(Err(error)) => Err(verifier.explain(&error)),
        Err(_) => Err(TlsFailure::Refused("the handshake did not end in time".to_owned())),
    })
}

/// The verification of webpki, which remembers the certificates.
#[derive(Debug)]
struct RecordingVerifier {
    inner: Arc<WebPkiServerVerifier>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl RecordingVerifier {
    fn new(roots: RootCertStore) -> Result<Self, OutboundError> {
        let provider = Arc::new(ring::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { inner, chain: Mutex::default() })
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The validity of the certificate, by its verification at both ends of time.
    fn validity(&self, name: &ServerName<'_>) -> Certificate {
        let chain = self.chain();
        let verified_at = |seconds| {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            let (end_entity, intermediates) = chain.split_first()?;
            self.inner.verify_server_cert(end_entity, intermediates, name, &[], time).err()
        };
        let not_after = match verified_at(END) {
            Some(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => Some(not_after),
            _ => None,
        };
        let not_before = match verified_at(0) {
            Some(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                Some(not_before)
            }
            _ => None,
        };
        Certificate { not_before: not_before.and_then(timestamp), not_after: not_after.and_then(timestamp) }
    }

    fn explain(&self, error: &io::Error) -> TlsFailure {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return TlsFailure::Refused(clipped(&chain(error)));
        };
        match error {
            Error::InvalidMessage(_) => TlsFailure::NotSpoken,
            Error::InvalidCertificate(reason) => self.explain_certificate(reason),
            other => TlsFailure::Refused(clipped(&other.to_string())),
        }
    }

    fn explain_certificate(&self, reason: &CertificateError) -> TlsFailure {
        match reason {
            CertificateError::Expired => TlsFailure::Expired(None),
            CertificateError::ExpiredContext { not_after, .. } => TlsFailure::Expired(timestamp(*not_after)),
            CertificateError::NotValidYet => TlsFailure::NotYetValid(None),
            CertificateError::NotValidYetContext { not_before, .. } => TlsFailure::NotYetValid(timestamp(*not_before)),
            CertificateError::NotValidForName => TlsFailure::WrongName("other names".to_owned()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                TlsFailure::WrongName(clipped(&in_certificate(presented)))
            }
            // A bad signature: the issuer has the name of a trusted authority, but another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature if self.is_self_signed() => {
                TlsFailure::SelfSigned
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsFailure::UnknownAuthority(self.chain().len())
            }
            // As `openssl req -x509` makes them: the certificate of an authority, used for a server.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => TlsFailure::SelfSigned,
            other => TlsFailure::Invalid(clipped(&other.to_string())),
        }
    }

    /// Whether the certificate is its own issuer.
    fn is_self_signed(&self) -> bool {
        let chain = self.chain();
        let Some(own) = chain.first() else { return false };
        let mut roots = RootCertStore::empty();
        let Ok(certificate) = ParsedCertificate::try_from(own) else { return false };
        let algorithms = ring::default_provider().signature_verification_algorithms.all;
        roots.add(own.clone()).is_ok()
            && verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], UnixTime::now(), algorithms).is_ok()
    }
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let sent = std::iter::once(end_entity).chain(intermediates).map(|certificate| certificate.clone().into_owned());
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = sent.collect();
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn timestamp(time: UnixTime) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(time.as_secs()).ok()?).ok()
}
