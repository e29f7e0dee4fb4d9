//! Requests to the plain HTTP interface, with the access token of the stored sign-in.

use super::wire::{Problem, Process, Processes, WorkspaceLogs};
use crate::{
    access::{Access, AccessError},
    oauth::callback::printable,
};
use http::{Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_core::media_type;
use portcullis_outbound::{HttpClient, HttpResponse, RequestError, ResponseError};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use url::form_urlencoded;

/// The characters that are percent-encoded in a path segment (RFC 3986 §3.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The longest request. It waits at most [`super::exec::WAIT_SECONDS`] for output.
const TIMEOUT: Duration = Duration::from_mins(2);
/// The largest response: a part of a file of 1 MiB, in JSON.
const MAX_ANSWER: usize = 8 << 20;

/// A client of the plain HTTP interface.
#[derive(Clone)]
pub struct RestClient {
    access: Access,
    http: HttpClient,
}

/// Why a command on a workspace failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// No access token is available.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The request failed without a response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The response cannot be parsed.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// The endpoint refused the request, or the tool failed.
    #[error("{detail}")]
    Problem {
        /// The status.
        status: u16,
        /// One word for programs.
        reason: String,
        /// The text of the endpoint.
        detail: String,
    },
    /// A scope is missing.
    #[error("{0}; run portcullis login again, and approve this scope")]
    Scope(String),
    /// The command line cannot be passed on.
    #[error("the command contains a NUL character, which no program can get")]
    Nul,
    /// The standard input is not text.
    #[error("standard input is not UTF-8 text; copy binary data with portcullis cp instead")]
    StdinNotText,
    /// A local file failed.
    #[error("{path} cannot be {action}")]
    File {
        /// The operation that failed.
        action: &'static str,
        /// The path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The arguments of `cp` cannot be used.
    #[error("{0}")]
    Copy(String),
}

impl WorkspaceError {
    /// Whether the endpoint answered 409: the process has ended, or its input is closed.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Problem { status: 409, .. })
    }
}

impl RestClient {
    /// A client of the endpoint of `access`.
    #[must_use]
    pub fn new(access: Access, http: HttpClient) -> Self {
        Self { access, http: http.with_max_answer(MAX_ANSWER) }
    }

    /// The background processes of a workspace, the newest first.
    pub async fn processes(&self, workspace: &str) -> Result<Vec<Process>, WorkspaceError> {
        let processes: Processes = self.get(&["workspaces", workspace, "processes"], &[]).await?;
        Ok(processes.processes)
    }

    /// The last lines of the log of a workspace.
    pub async fn logs(&self, workspace: &str, lines: u32) -> Result<WorkspaceLogs, WorkspaceError> {
        self.get(&["workspaces", workspace, "logs"], &[("lines", &lines.to_string())]).await
    }

    /// GET with a query.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, WorkspaceError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        read(&self.send(Method::GET, &format!("{}?{query}", self.url(path)), None).await?)
    }

    /// POST or PUT with a JSON body.
    pub(super) async fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, WorkspaceError> {
        // These bodies have only texts, numbers and booleans, which always serialize.
        let body = serde_json::to_vec(body).unwrap_or_default();
        read(&self.send(method, &self.url(path), Some(body)).await?)
    }

    /// DELETE. The body of the response does not matter.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<(), WorkspaceError> {
        let answer = self.send(Method::DELETE, &self.url(path), None).await?;
        if answer.status().is_success() { Ok(()) } else { Err(problem(&answer)) }
    }

    fn url(&self, path: &[&str]) -> String {
        let segments = path.iter().map(|segment| utf8_percent_encode(segment, SEGMENT).to_string());
        format!("{}/{}", self.access.url().resource(), segments.collect::<Vec<_>>().join("/"))
    }

    async fn send(&self, method: Method, url: &str, body: Option<Vec<u8>>) -> Result<HttpResponse, WorkspaceError> {
        let mut rejected: Option<String> = None;
        loop {
            let token = self.access.token(rejected.as_deref()).await?;
            let mut request = self.http.request(method.clone(), url).bearer_auth(&token).timeout(TIMEOUT);
            if let Some(body) = &body {
                request = request.header(header::CONTENT_TYPE, media_type::JSON).body(body.clone());
            }
            let answer = self.http.send(request).await?;
            if answer.status() == StatusCode::UNAUTHORIZED && rejected.is_none() {
                rejected = Some(token);
                continue;
            }
            return Ok(answer);
        }
    }
}

/// A success as its type. A slow tool that fails late has the status 200 and a problem document as its body.
fn read<T: DeserializeOwned>(answer: &HttpResponse) -> Result<T, WorkspaceError> {
    if !answer.status().is_success() {
        return Err(problem(answer));
    }
    answer.object().map_err(|error| match answer.object::<Problem>() {
        Ok(found) if !found.reason.is_empty() => of(answer.status(), found),
        _ => WorkspaceError::Response(error),
    })
}

fn problem(answer: &HttpResponse) -> WorkspaceError {
    if let Ok(found) = answer.object_of_any_status::<Problem>() {
        return of(answer.status(), found);
    }
    let detail = format!("the endpoint answered {}", answer.status());
    WorkspaceError::Problem { status: answer.status().as_u16(), reason: String::new(), detail }
}

fn of(status: StatusCode, found: Problem) -> WorkspaceError {
    let detail = printable(&found.detail);
    if found.reason == "insufficient_scope" {
        return WorkspaceError::Scope(detail);
    }
    WorkspaceError::Problem { status: status.as_u16(), reason: found.reason, detail }
}
