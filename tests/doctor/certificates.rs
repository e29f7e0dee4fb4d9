//! Certificates, good and broken, and a listener that presents them.

use axum::serve::Listener;
use jiff::{ToSpan as _, civil::Date, tz::TimeZone};
use portcullis_core::clock::{Clock as _, SystemClock};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A private authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.pem.clone()
    }

    /// A certificate that it issues.
    pub fn issue(&self, parameters: &CertificateParams) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        acceptor(&parameters.signed_by(&key, &self.issuer).unwrap(), &key)
    }
}

/// For this name or address.
pub fn parameters(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

/// The same, valid from so many days from today to so many days from today.
pub fn valid(mut parameters: CertificateParams, from: i32, to: i32) -> CertificateParams {
    let today = SystemClock.now().to_zoned(TimeZone::UTC).date();
    let date = |days: i32| {
        let date: Date = today.saturating_add(days.days());
        let [month, day] = [date.month(), date.day()].map(|part| u8::try_from(part).unwrap());
        date_time_ymd(date.year().into(), month, day)
    };
    (parameters.not_before, parameters.not_after) = (date(from), date(to));
    parameters
}

/// A self-signed certificate.
pub fn self_signed(parameters: &CertificateParams) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    acceptor(&parameters.self_signed(&key).unwrap(), &key)
}

fn acceptor(certificate: &rcgen::Certificate, key: &KeyPair) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Accepts connections with TLS.
pub struct TlsListener {
    pub tcp: TcpListener,
    pub acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            // Clients that refuse the certificate are what the tests are about.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
