//! The HTTP edge in front of rmcp (MCP streamable HTTP, revisions 2025-03-26 to 2026-07-28).
//!
//! In addition to rmcp, the edge answers malformed JSON with a JSON-RPC error, and batches in the revision that has
//! them. Slow calls send heartbeats, and outlast their connection in the revisions that require it. A client may accept
//! only `application/json`. A call that the token's scopes do not permit gets 403 `insufficient_scope` (RFC 6750 §3.1),
//! so that the client can request the scope (step-up authorization). The server in front of the edge checks tokens,
//! origins, CORS and rate limits. The edge and rmcp check the `Host` header against the endpoint's own host name.

use crate::{
    accept::{ACCEPT_BOTH, Accepted, AcceptsEvents, is_json},
    batch::Batch,
    direct,
    handler::Handler,
    host::Hosts,
    message::{Message, RpcError, cancelled},
    revision::{PROTOCOL_VERSION, STATELESS, is_older},
    running::{CallId, Running},
    scope_gate::{ScopeGate, Target},
    splice::{Slot, splice},
};
use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{
    HeaderValue, Method, StatusCode,
    header::{ACCEPT, ALLOW, AUTHORIZATION, COOKIE, RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use portcullis_budget::{self, Account, NoMemory, ReadError};
use portcullis_config::ServerConfig;
use portcullis_core::{PublicUrl, Scope, rng};
use portcullis_oauth::{
    Caller,
    challenge::{Resource, insufficient_scope},
};
use portcullis_telemetry::audit::{Event, RequestContext};
use portcullis_tools::{
    Registry,
    heartbeat::{self, RequestPermit, Sign, TOO_LONG},
};
use rand::Rng as _;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A request extension: counts one more message of a caller, or returns a message if the rate limit is exceeded.
#[derive(Clone)]
pub struct MessageRate(pub Arc<CountMessage>);

type CountMessage = dyn Fn(&Arc<Caller>) -> Result<(), String> + Send + Sync;

/// One endpoint: answers all requests to its URL, with any method.
#[derive(Clone)]
pub struct Endpoint<O: ScopeGate = Handler> {
    offer: O,
    service: StreamableHttpService<O, NeverSessionManager>,
    body_limit: usize,
    url: PublicUrl,
    /// The timeout of a request.
    timeout: Duration,
    running: Arc<Running>,
    /// The placeholder for the results of tools in rmcp's output. Clients never see it, so they cannot send it.
    mark: Arc<str>,
    /// The host names that are valid in a request's `Host`.
    hosts: Arc<Hosts>,
    abort: CancellationToken,
}

impl Endpoint {
    /// An endpoint with these tools, and the prompts and resources that depend on them. `abort` ends running calls:
    /// cancel it after the drain, not before.
    #[must_use]
    pub fn new(config: &ServerConfig, tools: Arc<Registry>, abort: CancellationToken) -> Self {
        Self::offering(config, Handler::new(tools, &config.limits), abort)
    }

    /// Makes the endpoint the successor of `previous`: clients can cancel calls that began there.
    #[must_use]
    pub fn succeeding(self, previous: &Self) -> Self {
        Self { running: Arc::clone(&previous.running), ..self }
    }

    /// Ends the subscriptions of clients. Notifies the clients if `next`, the successor of this endpoint, has other
    /// tools; `None`: sends no notification.
    pub fn retire(&self, next: Option<&Self>) {
        self.offer.retire(next.map(|next| &next.offer));
    }
}

impl<O: ScopeGate> Endpoint<O> {
    /// An endpoint with this handler.
    #[must_use]
    pub fn offering(config: &ServerConfig, offer: O, abort: CancellationToken) -> Self {
        let handler = offer.clone();
        let hosts = Arc::new(Hosts::of(&config.url));
        let service = StreamableHttpService::new(
            move || Ok(handler.clone()),
            Arc::new(NeverSessionManager::default()),
            StreamableHttpServerConfig::default()
                .with_legacy_session_mode(false)
                .with_json_response(true)
                .with_allowed_hosts(hosts.names().to_vec())
                .with_max_request_body_bytes(config.limits.body_limit())
                .with_cancellation_token(abort.clone()),
        );
        let mut mark = [0_u8; 16];
        rng::rng().fill_bytes(&mut mark);
        let mark = portcullis_core::hex(&mark).into();
        let timeout = config.limits.request_timeout.as_duration();
        let running = Arc::default();
        let (body_limit, url) = (config.limits.body_limit(), config.url.clone());
        Self { offer, service, body_limit, url, timeout, running, mark, hosts, abort }
    }

    /// Answers a request, which must have an `Arc<Caller>` in its extensions.
    pub async fn answer(&self, request: Request) -> Response {
        if request.method() != Method::POST {
            return method_not_allowed();
        }
        let (parts, body) = match self.receive(request).await {
            Ok(received) => received,
            Err(refusal) => return refusal,
        };
        match Batch::read(parts.headers.get(PROTOCOL_VERSION), &body) {
            Ok(None) => self.answer_message(parts, body).await,
            Ok(Some(batch)) => {
                let endpoint = self.clone();
                let each = move |message, first| endpoint.clone().answer_one_of_many(parts.clone(), message, first);
                batch.answer(each).await
            }
            Err(error) => error.into_response(),
        }
    }

    /// Answers a message of a batch. The first message was counted with the request.
    async fn answer_one_of_many(self, mut parts: Parts, message: Bytes, first: bool) -> Response {
        if let (Some(MessageRate(count)), Some(caller)) =
            (parts.extensions.get(), parts.extensions.get::<Arc<Caller>>())
            && !first
            && let Err(why) = count(caller)
        {
            let id = Message::read(&message).ok().and_then(|message| message.id);
            return RpcError::new(StatusCode::TOO_MANY_REQUESTS, id, -32000, why).into_response();
        }
        // Each answer must be a single JSON value.
        parts.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.answer_message(parts, message).await
    }

    async fn answer_message(&self, parts: Parts, body: Bytes) -> Response {
        let Admitted { request, id, call } = match self.admit(parts, body) {
            Ok(admitted) => admitted,
            Err(refusal) => return *refusal,
        };
        let Some(Called { slot, sign, permit, outlasts, direct }) = call else {
            return in_json(self.service.handle(request).await, id).await;
        };
        let work = direct.unwrap_or_else(|| {
            let (service, slot, id) = (self.service.clone(), Arc::clone(&slot), id.clone());
            Box::pin(async move {
                let response = service.handle(request).await;
                if response.status().is_success() { splice(response, &slot).await } else { in_json(response, id).await }
            })
        });
        let until = permit.until;
        let late = |id| move || RpcError::new(StatusCode::GATEWAY_TIMEOUT, id, -32603, TOO_LONG).into_response();
        match outlasts {
            None => heartbeat::answer(work, &slot.started, sign, until, late(id)).await,
            Some(call) => {
                let run = self.running.run(call, permit, work);
                let ended = id.clone();
                let work = async move { run.await.unwrap_or_else(|| cancelled(ended)) };
                heartbeat::answer(work, &slot.started, sign, until, late(id)).await
            }
        }
    }
}

fn method_not_allowed() -> Response {
    let refusal = RpcError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        None,
        -32600,
        "this is an MCP endpoint without sessions: send each JSON-RPC message in a POST",
    );
    let mut response = refusal.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// Converts an error that rmcp sends as plain text into a JSON-RPC error.
async fn in_json(response: http::Response<BoxBody<Bytes, Infallible>>, id: Option<serde_json::Value>) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || is_json(response.headers()) {
        return response.map(Body::new);
    }
    let (parts, body) = response.into_parts();
    if parts.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        // The edge has checked the media type, so this is rmcp's error for JSON that is not an MCP message.
        return RpcError::invalid_request(id, "the body is not an MCP message").into_response();
    }
    let text = match body.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(never) => match never {},
    };
    RpcError::new(parts.status, id, -32600, text).into_response()
}

/// A request that rmcp accepts.
struct Admitted {
    request: http::Request<Full<Bytes>>,
    /// The id of the message.
    id: Option<serde_json::Value>,
    /// The call, if the message calls a tool.
    call: Option<Called>,
}

/// A call of a tool.
struct Called {
    /// The slot for the result.
    slot: Arc<Slot>,
    /// The form of heartbeats that the client accepts.
    sign: Sign,
    permit: RequestPermit,
    /// The id of the call, if it outlasts its connection.
    outlasts: Option<CallId>,
    /// The call itself, if it bypasses rmcp.
    direct: Option<BoxFuture<'static, Response>>,
}

impl<O: ScopeGate> Endpoint<O> {
    /// Reads a request, and checks its media types.
    async fn receive(&self, request: Request) -> Result<(Parts, Bytes), Response> {
        let (parts, body) = request.into_parts();
        // The body is read before any rejection: an unread body would close the client's connection.
        let account = parts.extensions.get::<Account>().cloned().unwrap_or_else(Account::unlimited);
        let body =
            portcullis_budget::read(body, self.body_limit, &account).await.map_err(|error| unreadable_body(&error))?;
        if let Some(refusal) = self.hosts.refusal(&parts) {
            return Err(RpcError::new(StatusCode::FORBIDDEN, None, -32600, refusal).into_response());
        }
        if !is_json(&parts.headers) {
            return Err(RpcError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                None,
                -32600,
                "Content-Type must be application/json",
            )
            .into_response());
        }
        if !Accepted::of(&parts.headers).json {
            return Err(RpcError::new(
                StatusCode::NOT_ACCEPTABLE,
                None,
                -32600,
                "Accept must allow application/json, preferably together with text/event-stream",
            )
            .into_response());
        }
        Ok((parts, body))
    }

    /// Makes the checks that precede the call of a tool, and turns the request into one that rmcp accepts.
    fn admit(&self, mut parts: Parts, body: Bytes) -> Result<Admitted, Box<Response>> {
        let Some(caller) = parts.extensions.get::<Arc<Caller>>().cloned() else {
            tracing::error!("a request reached the MCP endpoint without a verified caller");
            return Err(Box::new(StatusCode::INTERNAL_SERVER_ERROR.into_response()));
        };
        let message = Message::read(&body).map_err(|error| Box::new(error.into_response()))?;
        let accepted = Accepted::of(&parts.headers);
        if message.calls_tool() && message.target().is_none() {
            let text = "params.name must be the name of a tool; tools/list has them";
            let refusal = RpcError::new(StatusCode::BAD_REQUEST, message.id, -32602, text);
            return Err(Box::new(refusal.into_response()));
        }
        if let Some(target) = message.target()
            && let Some(needed) = self.offer.missing_scope(target, &caller)
        {
            let resource = Resource::of(&parts.extensions, &self.url);
            Event::ScopeRefused {
                from: &RequestContext::of(&parts.extensions),
                tool: target.tool(),
                scope: needed,
                client_id: &caller.client_id,
                user: &caller.subject,
                grant: caller.grant.as_deref(),
            }
            .emit();
            return Err(Box::new(step_up(target, needed, message.id.clone(), &caller, resource)));
        }

        if message.initializes() && (is_older(&parts.headers) || message.asks_for_revision_before(STATELESS)) {
            // The body negotiates the revision, since the client cannot know the right header yet. If both name a
            // revision without `initialize`, the method does not exist.
            parts.headers.remove(PROTOCOL_VERSION);
        }
        parts.headers.insert(ACCEPT, ACCEPT_BOTH);
        parts.extensions.insert(AcceptsEvents(accepted.events));
        // They are no longer needed, and rmcp logs requests at verbose levels.
        parts.headers.remove(AUTHORIZATION);
        parts.headers.remove(COOKIE);
        // rmcp may keep parts of a request after its end.
        let permit = parts.extensions.remove::<RequestPermit>();
        let from = RequestContext::of(&parts.extensions);
        if let Some(request) = message.cancels() {
            self.running.cancel(&CallId::of(&caller, &from, request));
        }
        let call = message.calls_tool().then(|| {
            let slot = Slot::new(&self.mark);
            let whose = (&caller, &slot, accepted.events);
            Called {
                sign: if accepted.events { Sign::Comment } else { Sign::Space },
                permit: permit
                    .unwrap_or_else(|| RequestPermit { until: Instant::now() + self.timeout, taken: Arc::new(()) }),
                // Since 2026-07-28, closing the stream of a call cancels the call.
                outlasts: message
                    .id
                    .as_ref()
                    .filter(|_| is_older(&parts.headers))
                    .map(|id| CallId::of(&caller, &from, id)),
                direct: direct::call(&self.offer, self.hosts.names(), (&parts, &body), whose, &self.abort),
                slot,
            }
        });
        if let Some(call) = &call {
            parts.extensions.insert(Arc::clone(&call.slot));
        }
        let id = message.id;
        Ok(Admitted { request: http::Request::from_parts(parts, Full::new(body)), id, call })
    }
}

fn unreadable_body(error: &ReadError) -> Response {
    let status = match error {
        ReadError::TooLarge(_) | ReadError::NoMemory(NoMemory::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        ReadError::NoMemory(NoMemory::Busy) => StatusCode::SERVICE_UNAVAILABLE,
        ReadError::Stalled => StatusCode::REQUEST_TIMEOUT,
        ReadError::Broken => StatusCode::BAD_REQUEST,
    };
    let mut response = RpcError::new(status, None, -32600, error.to_string()).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The response to a request whose token lacks the scope.
fn step_up(
    target: Target<'_>,
    needed: Scope,
    id: Option<serde_json::Value>,
    caller: &Caller,
    resource: &PublicUrl,
) -> Response {
    let text = format!("{target} needs the scope {needed}, which this access token does not have");
    let challenge = insufficient_scope(needed, caller, &text, resource);
    let mut response = RpcError::new(StatusCode::FORBIDDEN, id, -32600, text).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}
