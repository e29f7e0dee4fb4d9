//! The certificate in a Secret: its host and its validity (RFC 5280, RFC 6125). Its authority is examined from outside, by
//! the handshake.

use jiff::Timestamp;
use portcullis_core::names::in_certificate;
use rustls::{
    CertificateError, Error, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use std::time::Duration;

/// What is wrong with a certificate. The texts are for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CertificateProblem {
    /// It cannot be read.
    Unreadable(String),
    /// It has expired, or is not valid yet.
    NotNow(String),
    /// It is for these names.
    OtherHost(String),
}

/// Examines the first certificate of a PEM text.
pub(crate) fn examine(pem: &str, host: &str, now: Timestamp) -> Result<(), CertificateProblem> {
    let unreadable = |why: String| CertificateProblem::Unreadable(why);
    let first = CertificateDer::pem_slice_iter(pem.as_bytes()).next();
    let first = first.ok_or_else(|| unreadable("tls.crt has no certificate in PEM".to_owned()))?;
    let first = first.map_err(|_| unreadable("tls.crt is not valid PEM".to_owned()))?;
    let certificate = ParsedCertificate::try_from(&first).map_err(|error| unreadable(error.to_string()))?;
    validity(&certificate, now)?;
    let Ok(name) = ServerName::try_from(host.to_owned()) else { return Ok(()) };
    match verify_server_name(&certificate, &name) {
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => {
            Err(CertificateProblem::OtherHost(in_certificate(&presented)))
        }
        Err(_) => Err(CertificateProblem::OtherHost("other names".to_owned())),
        Ok(()) => Ok(()),
    }
}

/// No authority is trusted here, so the verification always fails, but the validity is checked first.
fn validity(certificate: &ParsedCertificate<'_>, now: Timestamp) -> Result<(), CertificateProblem> {
    let seconds = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let verified = verify_server_cert_signed_by_trust_anchor(
        certificate,
        &RootCertStore::empty(),
        &[],
        UnixTime::since_unix_epoch(seconds),
        algorithms,
    );
    let shown = |time: UnixTime| i64::try_from(time.as_secs()).ok().and_then(|time| Timestamp::from_second(time).ok());
    let since = |what: &str, time: UnixTime| match shown(time) {
        Some(time) => CertificateProblem::NotNow(format!("{what} {time}")),
        None => CertificateProblem::NotNow(what.to_owned()),
    };
    match verified {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Err(since("expired", not_after))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            Err(since("is not valid before", not_before))
        }
        Err(Error::InvalidCertificate(CertificateError::Expired)) => {
            Err(CertificateProblem::NotNow("expired".to_owned()))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYet)) => {
            Err(CertificateProblem::NotNow("is not valid yet".to_owned()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
