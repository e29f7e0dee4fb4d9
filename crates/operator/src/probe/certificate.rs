//! What the operator asks of a server's certificate (RFC 5280, RFC 6125): that it is for the endpoint's host, for servers
//! and for now, and that the server has its key. Not who issued it: whom clients trust, the operator does not know.

use portcullis_core::{clock::Clock, names::in_certificate};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    time_provider::TimeProvider,
};
use std::{fmt, io, sync::Arc, time::Duration};

/// What is wrong with a certificate, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// Its time is over.
    #[error("it has expired; renew the Secret that spec.tls names")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet; check the clocks of its issuer and of the operator's node")]
    NotYet,
    /// It is for another host.
    #[error("it is for {presented}, and not for {expected}, the host of spec.url; issue one for that name")]
    Name {
        /// The endpoint's host.
        expected: String,
        /// What it is for.
        presented: String,
    },
    /// It is not for servers.
    #[error("it is not for servers (extended key usage); issue one for server authentication")]
    Purpose,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl CertificateProblem {
    /// That of a connection that failed, if it was the certificate.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        let Error::InvalidCertificate(why) = error.get_ref()?.downcast_ref::<Error>()? else { return None };
        Some(match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYet,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Self::Purpose,
            CertificateError::NotValidForNameContext { expected, presented } => {
                Self::Name { expected: expected.to_str().into_owned(), presented: in_certificate(presented) }
            }
            other => Self::Other(other.to_string()),
        })
    }
}

/// Trusts every authority, by the time of this clock.
pub(super) fn config(clock: &Arc<dyn Clock>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = AnyAuthority { algorithms: provider.signature_verification_algorithms };
    Ok(ClientConfig::builder_with_details(provider, Arc::new(Now(Arc::clone(clock))))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

struct Now(Arc<dyn Clock>);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

#[derive(Debug)]
struct AnyAuthority {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        // What is looked at before any issuer is looked for is what concerns every client.
        let no_roots = RootCertStore::empty();
        let checked = verify_server_cert_signed_by_trust_anchor(&certificate, &no_roots, &[], now, self.algorithms.all);
        match checked {
            Err(Error::InvalidCertificate(why)) if is_public_problem(&why) => Err(Error::InvalidCertificate(why)),
            _ => {
                verify_server_name(&certificate, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_public_problem(why: &CertificateError) -> bool {
    matches!(
        why,
        CertificateError::BadEncoding
            | CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::InvalidPurpose
            | CertificateError::InvalidPurposeContext { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::super::{PodResponse, Probe, ProbeError};
    use super::*;
    use bytes::Bytes;
    use futures::future::BoxFuture;
    use http::Request;
    use http_body_util::Full;
    use jiff::Timestamp;
    use portcullis_core::clock::SystemClock;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
    use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    struct At(Timestamp);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.0
        }
        fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }

    /// Valid in 2026, for the hosts named, and whatever is changed.
    fn parameters(names: &[&str]) -> CertificateParams {
        let mut parameters = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 12, 31));
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters
    }

    /// Asks a server with this certificate, in the name of `host`. `another_key`: the server has not its key.
    async fn asked(
        parameters: CertificateParams,
        host: &str,
        now: &str,
        another_key: bool,
    ) -> Result<PodResponse, ProbeError> {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let certificate = parameters.self_signed(&key).unwrap();
        let held = if another_key { &other } else { &key };
        let provider = Arc::new(ring::default_provider());
        let key =
            provider.key_provider.load_private_key(PrivatePkcs8KeyDer::from(held.serialize_der()).into()).unwrap();
        let certified = rustls::sign::CertifiedKey::new(vec![certificate.der().clone()], key);
        let resolver = rustls::sign::SingleCertAndKey::from(certified);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                let _ = stream.read(&mut [0; 1024]).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
            }
        };
        let probe = Probe::new(Arc::new(At(now.parse().unwrap())));
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let request = Request::get("/").header("host", host).body(Full::<Bytes>::default()).unwrap();
        tokio::join!(probe.send(address, Some(name), request), serve).0
    }

    const SUMMER: &str = "2026-07-01T00:00:00Z";

    #[tokio::test]
    async fn any_issuer_will_do() {
        let mut authority = parameters(&["mcp.example.com"]);
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        for (parameters, host) in [
            (parameters(&["mcp.example.com"]), "mcp.example.com"),
            (parameters(&["other.example.com", "*.example.com"]), "mcp.example.com"),
            (parameters(&["192.0.2.1"]), "192.0.2.1"),
            // As `openssl req -x509` makes them.
            (authority, "mcp.example.com"),
        ] {
            assert_eq!(asked(parameters, host, SUMMER, false).await.unwrap().body, "ok");
        }
    }

    #[tokio::test]
    async fn what_no_client_would_take_is_said_in_words() {
        let good = || parameters(&["mcp.example.com"]);
        let mut for_clients = good();
        for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        for (parameters, host, now, said) in [
            (good(), "mcp.example.com", "2027-01-02T00:00:00Z", "it has expired"),
            (good(), "mcp.example.com", "2025-12-31T00:00:00Z", "it is not valid yet"),
            (good(), "other.example.com", SUMMER, "it is for mcp.example.com, and not for other.example.com"),
            (good(), "192.0.2.1", SUMMER, "and not for 192.0.2.1"),
            (for_clients, "mcp.example.com", SUMMER, "it is not for servers"),
        ] {
            let Err(ProbeError::Certificate(problem)) = asked(parameters, host, now, false).await else {
                panic!("{said}: it was taken")
            };
            assert!(problem.to_string().contains(said), "{problem}");
        }
    }

    #[tokio::test]
    async fn a_server_must_have_the_key_of_its_certificate() {
        let error = asked(parameters(&["mcp.example.com"]), "mcp.example.com", SUMMER, true).await.unwrap_err();
        assert!(matches!(error, ProbeError::Tls(_) | ProbeError::Certificate(_)), "{error:?}");
    }

    #[tokio::test]
    async fn plain_http_is_no_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        };
        let name = ServerName::try_from("mcp.example.com").unwrap();
        let request = Request::get("/").body(Full::<Bytes>::default()).unwrap();
        let probe = Probe::new(Arc::new(SystemClock));
        let (answer, ()) = tokio::join!(probe.send(address, Some(name), request), serve);
        assert!(matches!(answer.unwrap_err(), ProbeError::Tls(_)));
    }
}
