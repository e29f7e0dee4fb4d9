//! Responses, read in full: status, headers and body. Only JSON bodies can be parsed.

use http::{HeaderMap, StatusCode};
use portcullis_core::json::ByName;
use serde::de::DeserializeOwned;
use std::fmt;

/// A response to a request.
pub struct HttpResponse {
    host: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Why a response cannot be used. The message never quotes the body, which may contain tokens.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResponseError {
    /// The status is not a success (2xx).
    #[error("{host} answered {status}")]
    Status {
        /// The host of the request.
        host: String,
        /// The status of the response.
        status: StatusCode,
    },
    /// The body is not the expected JSON.
    #[error("{host} returned JSON that cannot be parsed (at line {line}, column {column})")]
    Json {
        /// The host of the request.
        host: String,
        /// The line at which parsing failed, from 1.
        line: usize,
        /// The column at which parsing failed.
        column: usize,
    },
}

impl HttpResponse {
    pub(super) fn new(host: String, status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self { host, status, headers, body }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body, unchanged.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Parses the body as a JSON object. Fails if the status is not a success, or if the body is an array: serde would
    /// also read an array as a struct.
    pub fn object<T: DeserializeOwned>(&self) -> Result<T, ResponseError> {
        self.check_status()?;
        self.object_of_any_status()
    }

    /// Parses the body as a list of JSON objects. Fails if the status is not a success.
    pub fn list<T: DeserializeOwned>(&self) -> Result<Vec<T>, ResponseError> {
        self.check_status()?;
        self.read::<Vec<ByName<T>>>().map(|list| list.into_iter().map(|ByName(value)| value).collect())
    }

    /// Parses the body as a JSON object, whatever the status: OAuth errors are objects too.
    pub fn object_of_any_status<T: DeserializeOwned>(&self) -> Result<T, ResponseError> {
        self.read().map(|ByName(value)| value)
    }

    fn check_status(&self) -> Result<(), ResponseError> {
        if self.status.is_success() {
            Ok(())
        } else {
            Err(ResponseError::Status { host: self.host.clone(), status: self.status })
        }
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, ResponseError> {
        serde_json::from_slice(&self.body).map_err(|error| ResponseError::Json {
            host: self.host.clone(),
            line: error.line(),
            column: error.column(),
        })
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse").field("host", &self.host).field("status", &self.status).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct User {
        id: u64,
        login: String,
    }

    fn answer(status: StatusCode, body: &str) -> HttpResponse {
        HttpResponse::new("idp.example".to_owned(), status, HeaderMap::new(), body.as_bytes().to_vec())
    }

    #[test]
    fn members_come_by_name() {
        let ada = || User { id: 7, login: "ada".to_owned() };
        for (body, object, list) in [
            (r#"{"login": "ada", "id": 7, "more": [1]}"#, Some(ada()), None),
            (r#"[7, "ada"]"#, None, None),
            (r#"[{"login": "ada", "id": 7}]"#, None, Some(vec![ada()])),
            (r#"[[7, "ada"]]"#, None, None),
            ("[]", None, Some(vec![])),
            ("null", None, None),
            (r#"{"id": 7, "login": "ada"} []"#, None, None),
        ] {
            let answer = answer(StatusCode::OK, body);
            assert_eq!(answer.object::<User>().ok(), object, "{body}");
            assert_eq!(answer.object_of_any_status::<User>().ok(), object, "{body}");
            assert_eq!(answer.list::<User>().ok(), list, "{body}");
        }
        let failed = answer(StatusCode::BAD_REQUEST, r#"{"login": "ada", "id": 7}"#);
        assert_eq!(failed.object_of_any_status::<User>().unwrap(), ada());
        for error in [failed.object::<User>().unwrap_err(), failed.list::<User>().unwrap_err()] {
            assert_eq!(error.to_string(), "idp.example answered 400 Bad Request");
        }
    }
}
