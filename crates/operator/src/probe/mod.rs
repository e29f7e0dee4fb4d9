//! HTTP requests to servers' pods, with or without TLS, with a limit for the size and the time of the response.

mod certificate;

pub use certificate::CertificateProblem;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portcullis_core::clock::Clock;
use rustls::pki_types::ServerName;
use std::{error::Error, fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_BODY: usize = 256 * 1024;

/// The client for requests to pods. It does not reuse connections, since each pod gets few requests.
#[derive(Clone)]
pub struct Probe {
    /// The clock for the validity of certificates.
    clock: Arc<dyn Clock>,
}

/// The response of a pod.
#[derive(Clone, Debug)]
pub struct PodResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It took too long.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// No connection.
    #[error("no connection")]
    Connection(#[source] io::Error),
    /// The connection failed, or does not use HTTP.
    #[error("the connection broke")]
    Http(#[source] hyper::Error),
    /// The certificate is not valid for the server.
    #[error("no client can accept its certificate: {0}")]
    Certificate(CertificateProblem),
    /// No TLS.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The operator's own TLS cannot be set up.
    #[error("the operator's TLS could not be configured")]
    Setup(#[source] rustls::Error),
    /// The body is too large, or broke off.
    #[error("the answer could not be read")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    /// The body is longer than anything expected here.
    #[error("the answer is longer than {MAX_BODY} bytes")]
    TooLong,
}

impl Probe {
    /// A client that checks certificates against this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    /// Sends a request whose URI is a path; with `tls`, to a server whose certificate is for that name.
    pub async fn send(
        &self,
        address: SocketAddr,
        tls: Option<ServerName<'static>>,
        request: Request<Full<Bytes>>,
    ) -> Result<PodResponse, ProbeError> {
        let exchange = async {
            let stream = TcpStream::connect(address).await.map_err(ProbeError::Connection)?;
            stream.set_nodelay(true).map_err(ProbeError::Connection)?;
            let Some(name) = tls else { return exchange(stream, request).await };
            let config = certificate::config(&self.clock).map_err(ProbeError::Setup)?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| {
                CertificateProblem::of(&error).map_or_else(|| ProbeError::Tls(error), ProbeError::Certificate)
            })?;
            exchange(stream, request).await
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or(Err(ProbeError::Timeout))
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<PodResponse, ProbeError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ProbeError::Http)?;
    let answer = async {
        let (head, body) = sender.send_request(request).await.map_err(ProbeError::Http)?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { ProbeError::TooLong } else { ProbeError::Body(error) }
        })?;
        Ok(PodResponse { status: head.status, headers: head.headers, body: body.to_bytes() })
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end first, after a complete response.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(ProbeError::Http(error)),
        },
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}
