//! An answer, read whole: status, headers, and a body that is JSON or of no use.

use http::{HeaderMap, StatusCode};
use portcullis_core::json::ByName;
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

    /// The JSON object that is its body, if it is a success. An array is none, whatever reads it.
    pub fn object<T: DeserializeOwned>(&self) -> Result<T, AnswerError> {
        self.check_status()?;
        self.object_of_any_status()
    }

    /// The list of JSON objects that is its body, if it is a success.
    pub fn list<T: DeserializeOwned>(&self) -> Result<Vec<T>, AnswerError> {
        self.check_status()?;
        self.read::<Vec<ByName<T>>>().map(|list| list.into_iter().map(|ByName(value)| value).collect())
    }

    /// The JSON object that is its body, even if it is an error, as OAuth's are.
    pub fn object_of_any_status<T: DeserializeOwned>(&self) -> Result<T, AnswerError> {
        self.read().map(|ByName(value)| value)
    }

    fn check_status(&self) -> Result<(), AnswerError> {
        if self.status.is_success() {
            Ok(())
        } else {
            Err(AnswerError::Status { host: self.host.clone(), status: self.status })
        }
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, AnswerError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct User {
        id: u64,
        login: String,
    }

    fn answer(status: StatusCode, body: &str) -> Answer {
        Answer::new("idp.example".to_owned(), status, HeaderMap::new(), body.as_bytes().to_vec())
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
