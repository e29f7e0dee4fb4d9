//! One request to the API server, with a timeout.

use std::time::Duration;

/// The timeout of one request to the API server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There was no response in time.
    #[error("the API server did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// The API server refused the request, or could not be reached.
    #[error("the request to the API server failed")]
    Api(#[source] kube::Error),
    /// The object was written by a version that this one cannot read.
    #[error("{0} cannot be read; update the CRDs and the servers to the same version")]
    Unreadable(String),
    /// Every attempt conflicted with another write.
    #[error("it was changed concurrently in every attempt")]
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

    /// The API server's message for the refusal.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(&status.message),
            _ => None,
        }
    }
}

/// Makes one request, with a timeout.
pub async fn request<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, RequestError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(RequestError::Api),
        Err(_) => Err(RequestError::Timeout),
    }
}
