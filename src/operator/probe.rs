//! HTTP requests to servers' pods: small answers, soon, or an error that says which.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{error::Error, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_BODY: usize = 256 * 1024;

/// The client for requests to pods.
#[derive(Clone, Debug)]
pub struct Probe(Client<HttpConnector, Full<Bytes>>);

/// What a pod answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It took too long.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// No connection, or it broke.
    #[error("no connection")]
    Connection(#[source] hyper_util::client::legacy::Error),
    /// The body is too large, or broke off.
    #[error("the answer could not be read")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    /// The body is longer than anything expected here.
    #[error("the answer is longer than {MAX_BODY} bytes")]
    TooLong,
}

impl Default for Probe {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(TIMEOUT));
        // Every replica and every revision in turn: a kept connection would hardly ever be used again.
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
    }
}

impl Probe {
    /// Sends a request whose URI is absolute.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, ProbeError> {
        let exchange = async {
            let (head, body) = self.0.request(request).await.map_err(ProbeError::Connection)?.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() { ProbeError::TooLong } else { ProbeError::Body(error) }
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or(Err(ProbeError::Timeout))
    }
}
