//! An answer, read whole: status, headers, and a body that is JSON or of no use.

use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use std::fmt;

/// What came back.
pub struct Answer {
    host: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Why an answer is of no use. Never quotes it: it may hold tokens.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AnswerError {
    /// It is no success.
    #[error("{host} answered {status}")]
    Status {
        /// Who answered.
        host: String,
        /// With what.
        status: StatusCode,
    },
    /// It is not the JSON that was expected.
    #[error("{host} answered with something that cannot be read (at line {line}, column {column})")]
    Json {
        /// Who answered.
        host: String,
        /// Where reading stopped.
        line: usize,
        /// Where in that line.
        column: usize,
    },
}

impl Answer {
    pub(super) fn new(host: String, status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self { host, status, headers, body }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its body, as it came.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its body as JSON, if it is a success.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, AnswerError> {
        if !self.status.is_success() {
            return Err(AnswerError::Status { host: self.host.clone(), status: self.status });
        }
        self.json_of_any_status()
    }

    /// Its body as JSON, even if it is an error, as OAuth's are.
    pub fn json_of_any_status<T: DeserializeOwned>(&self) -> Result<T, AnswerError> {
        serde_json::from_slice(&self.body).map_err(|error| AnswerError::Json {
            host: self.host.clone(),
            line: error.line(),
            column: error.column(),
        })
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("host", &self.host).field("status", &self.status).finish_non_exhaustive()
    }
}
