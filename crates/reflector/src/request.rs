//! One request to the API server, within its time.

use std::time::Duration;

/// How long one request to the API server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the API server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It did not answer.
    #[error("the API server did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// It refused, or could not be reached.
    #[error("the API server did not do it")]
    Api(#[source] kube::Error),
    /// It keeps something that this version cannot read.
    #[error("{0} cannot be read; update the CRDs and the servers to the same version")]
    Unreadable(String),
    /// Others changed the same object again and again.
    #[error("others changed it again and again")]
    Contended,
}

impl RequestError {
    /// The HTTP status of the refusal.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// Why it refused, in its own words.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(&status.message),
            _ => None,
        }
    }
}

/// One request, within its time.
pub async fn request<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, RequestError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(RequestError::Api),
        Err(_) => Err(RequestError::Timeout),
    }
}
