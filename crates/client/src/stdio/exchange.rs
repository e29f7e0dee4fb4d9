//! One request at the endpoint, from the first attempt to the response.

use super::{
    backoff::{Backoff, Failure},
    headers::{self, SESSION, VERSION},
    message::{self, Received, Request},
    session::Conversation,
    sse::EventParser,
};
use crate::access::{Access, AccessError};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use portcullis_core::{media_type, report::chain};
use portcullis_outbound::{HttpClient, RequestError};
use reqwest::Response;
use std::time::Duration;
use tokio::{sync::mpsc, time::sleep};

/// The largest message of the server, in bytes. A picture of 4 MiB in base64 fits several times.
const MAX_MESSAGE: usize = 32 << 20;
/// The longest request. Servers have limits of their own, which are shorter; subscriptions begin anew.
const LONGEST: Duration = Duration::from_hours(24);
/// The longest request that has no response.
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENT_STREAM: &str = "text/event-stream";
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// The connection to the endpoint, which all requests share.
pub(super) struct Endpoint {
    pub access: Access,
    pub http: HttpClient,
    pub conversation: Conversation,
}

/// Why an attempt failed.
enum AttemptError {
    /// The request failed; the text is for the agent.
    Failed(Failure, String),
    /// The server refused this access token.
    Unauthorized(String),
    /// The server has ended this session.
    SessionEnded(HeaderValue),
}

impl Endpoint {
    /// Sends a request until there is a response, which is returned as one line. Other messages that the server sends
    /// meanwhile go to `output`.
    pub(super) async fn request(&self, request: &Request, line: &Bytes, output: &mpsc::Sender<String>) -> String {
        let mut backoff = Backoff::default();
        let mut rejected: Option<String> = None;
        let mut renewed = false;
        loop {
            let attempt = self.attempt(request, line, rejected.as_deref(), output, &mut backoff).await;
            let (failure, text) = match attempt {
                Ok(response) => return response,
                Err(AttemptError::Unauthorized(token)) if rejected.as_ref() != Some(&token) => {
                    // Only one refresh: a second token that is refused at once will not be better.
                    if rejected.is_some() {
                        return message::error(&request.id, &refused(self));
                    }
                    rejected = Some(token);
                    continue;
                }
                Err(AttemptError::Unauthorized(_)) => return message::error(&request.id, &refused(self)),
                Err(AttemptError::SessionEnded(session)) if !renewed => {
                    renewed = true;
                    self.begin_session(&session, output).await;
                    continue;
                }
                Err(AttemptError::SessionEnded(_)) => {
                    (Failure::Final, "the endpoint ends its sessions at once".to_owned())
                }
                Err(AttemptError::Failed(failure, text)) => (failure, text),
            };
            let Some(pause) = backoff.pause(failure, &request.method) else {
                tracing::warn!(method = request.method, error = text, "a request failed");
                return message::error(&request.id, &text);
            };
            tracing::info!(method = request.method, error = text, "trying again");
            sleep(pause).await;
        }
    }

    /// Sends a message that has no response.
    pub(super) async fn send_notification(&self, line: Bytes) -> Result<(), String> {
        let mut rejected: Option<String> = None;
        loop {
            let token = self.access.token(rejected.as_deref()).await.map_err(|error| chain(&error))?;
            let mut more = HeaderMap::new();
            if let Some(version) = self.conversation.version().and_then(|version| HeaderValue::try_from(version).ok()) {
                more.insert(VERSION, version);
            }
            let (_, response) =
                self.post(&line, &token, more, NOTIFICATION_TIMEOUT).await.map_err(|error| chain(&error))?;
            match response.status() {
                status if status.is_success() => return Ok(()),
                StatusCode::UNAUTHORIZED if rejected.is_none() => rejected = Some(token),
                status => return Err(format!("the endpoint answered {status}")),
            }
        }
    }

    /// Ends the session, if there is one.
    pub(super) async fn end_session(&self) {
        let Some(session) = self.conversation.session() else { return };
        let Ok(token) = self.access.token(None).await else { return };
        let url = self.access.url().resource();
        let request = self.http.request(Method::DELETE, &url).header(SESSION, session).bearer_auth(token);
        // The server ends sessions that are not used.
        let _ = self.http.open(request.timeout(NOTIFICATION_TIMEOUT)).await;
    }

    async fn attempt(
        &self,
        request: &Request,
        line: &Bytes,
        rejected: Option<&str>,
        output: &mpsc::Sender<String>,
        backoff: &mut Backoff,
    ) -> Result<String, AttemptError> {
        let token = self.access.token(rejected).await.map_err(|error| no_token(&error))?;
        let headers = headers::of(request, self.conversation.version().as_deref());
        let sent = self.post(line, &token, headers, LONGEST).await;
        let (session, response) = sent.map_err(|error| AttemptError::Failed(failure(&error), chain(&error)))?;
        let status = response.status();
        match status {
            StatusCode::UNAUTHORIZED => return Err(AttemptError::Unauthorized(token)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let asked = retry_after(response.headers());
                return Err(AttemptError::Failed(
                    Failure::NotStarted(asked),
                    format!("the endpoint answered {status}"),
                ));
            }
            StatusCode::NOT_FOUND => {
                if let Some(session) = session.filter(|_| request.method != "initialize") {
                    return Err(AttemptError::SessionEnded(session));
                }
            }
            _ => {}
        }
        let headers = response.headers().clone();
        let response = if status.is_success() && is(&headers, EVENT_STREAM) {
            self.events(request, response, output, backoff).await?
        } else {
            self.body(request, response).await?
        };
        if request.method == "initialize"
            && let Some(version) = message::negotiated_version(&response)
        {
            self.conversation.initialized((request, line), Some(version), headers.get(SESSION).cloned());
        }
        Ok(response)
    }

    /// Posts a message. Returns the session that it was sent in, and the response.
    async fn post(
        &self,
        line: &Bytes,
        token: &str,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<(Option<HeaderValue>, Response), RequestError> {
        let session = self.conversation.session();
        let mut request = self
            .http
            .request(Method::POST, &self.access.url().resource())
            .header(header::ACCEPT, ACCEPT)
            .header(header::CONTENT_TYPE, media_type::JSON)
            .bearer_auth(token)
            .headers(headers)
            .timeout(timeout)
            .body(line.clone());
        if let Some(session) = &session {
            request = request.header(SESSION, session);
        }
        Ok((session, self.http.open(request).await?))
    }

    /// Reads a JSON response, whatever its status: errors of the protocol have statuses of their own.
    async fn body(&self, request: &Request, mut response: Response) -> Result<String, AttemptError> {
        let status = response.status();
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > MAX_MESSAGE => {
                    let text = format!("the response of the endpoint is larger than {MAX_MESSAGE} bytes");
                    return Err(AttemptError::Failed(Failure::Final, text));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(self.lost(error)),
            }
        }
        match message::received(&body, &request.id) {
            Some(Received::Response(text)) => Ok(text),
            _ if status.is_success() => {
                let text = format!("the endpoint answered {status} without a JSON-RPC response");
                Err(AttemptError::Failed(Failure::Final, text))
            }
            _ => {
                // A proxy in front of a server that is restarting.
                let proxy = matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT);
                let failure = if proxy { Failure::Unknown } else { Failure::Final };
                Err(AttemptError::Failed(failure, format!("the endpoint answered {status}")))
            }
        }
    }

    /// Reads a stream of events up to the response.
    async fn events(
        &self,
        request: &Request,
        mut response: Response,
        output: &mpsc::Sender<String>,
        backoff: &mut Backoff,
    ) -> Result<String, AttemptError> {
        let mut parser = EventParser::new(MAX_MESSAGE);
        loop {
            let Some(chunk) = response.chunk().await.map_err(|error| self.lost(error))? else {
                let text = "the connection ended before the response; the request may have been carried out".to_owned();
                return Err(AttemptError::Failed(Failure::Unknown, text));
            };
            let events =
                parser.push(&chunk).map_err(|error| AttemptError::Failed(Failure::Final, error.to_string()))?;
            for data in events {
                match message::received(&data, &request.id) {
                    Some(Received::Response(text)) => return Ok(text),
                    Some(Received::Other(text)) => {
                        backoff.reset();
                        // If the agent has closed its end, the relay ends, and this task with it.
                        let _ = output.send(text).await;
                    }
                    None => tracing::warn!("an event of the endpoint is not a JSON-RPC message; it is ignored"),
                }
            }
        }
    }

    /// Begins a new session in place of `lost`, as the agent began that one.
    async fn begin_session(&self, lost: &HeaderValue, output: &mpsc::Sender<String>) {
        let Some((request, line)) = self.conversation.lose(lost) else { return };
        let begun = self.attempt(&request, &line, None, output, &mut Backoff::default()).await;
        if begun.is_ok() && self.send_notification(Bytes::from_static(INITIALIZED.as_bytes())).await.is_ok() {
            tracing::info!("the endpoint had ended the session; a new one has begun");
        }
    }

    fn lost(&self, error: reqwest::Error) -> AttemptError {
        let error = RequestError::of(error, self.access.url().host());
        let text = format!("{}; the request may have been carried out", chain(&error));
        AttemptError::Failed(Failure::Unknown, text)
    }
}

fn refused(endpoint: &Endpoint) -> String {
    let url = endpoint.access.url().resource();
    format!("{url} refuses the access token of this sign-in; run: portcullis login {url}")
}

fn no_token(error: &AccessError) -> AttemptError {
    let failure = match error {
        AccessError::NotSignedIn(_) | AccessError::Ended(_) | AccessError::Store(_) => Failure::Final,
        AccessError::Refresh(_) => Failure::NotStarted(None),
    };
    AttemptError::Failed(failure, chain(error))
}

fn failure(error: &RequestError) -> Failure {
    match error {
        RequestError::Request(_) => Failure::Final,
        error if error.is_unsent() => Failure::NotStarted(None),
        _ => Failure::Unknown,
    }
}

fn is(headers: &HeaderMap, kind: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| media_type::is(value, kind))
}

/// The seconds of `Retry-After` (RFC 9110 §10.2.3). A date counts as absent.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
