//! The tools as a plain HTTP interface below the endpoint's URL, for programs without an MCP client, such as the
//! JavaScript of the guide.
//!
//! A [route](routes) maps a method and a path to a tool and its arguments. Scopes, the endpoint's lists of tools,
//! validation, audit and results come from the tools. Failures are problem documents (RFC 9457). As with `mcp`, the
//! server has verified the token and put an `Arc<oauth::Caller>` into the request's extensions.

mod arguments;
mod openapi;
mod problem;
mod reference;
mod routes;

pub use openapi::document;
pub use problem::ProblemDetails;
pub use reference::page;

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use portcullis_budget::{self, Account};
use portcullis_config::ServerConfig;
use portcullis_core::{PublicUrl, Scope, media_type};
use portcullis_oauth::{
    Caller,
    challenge::{Resource, insufficient_scope},
};
use portcullis_telemetry::audit::{Event, RequestContext};
use portcullis_tools::{
    Call, Definition, Registry, ToolAnswer, ToolError, ToolLookup,
    heartbeat::{self, RequestPermit, Sign, TOO_LONG, WorkStarted},
};
use routes::{RestRoute, Verb};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The path of the OpenAPI document, below the endpoint's URL.
pub const OPENAPI_PATH: &str = "/openapi.json";
/// The path of the documentation page, below the endpoint's URL.
pub const REFERENCE_PATH: &str = "/reference";

/// The HTTP interface of one endpoint.
pub struct Api {
    tools: Arc<Registry>,
    url: PublicUrl,
    body_limit: usize,
    /// The timeout of a request.
    timeout: Duration,
}

/// A route whose tool the endpoint serves.
struct ServedRoute<'a> {
    route: &'static RestRoute,
    tool: &'a Definition,
}

/// All served routes, in the order of the table.
fn served(tools: &Registry) -> Vec<ServedRoute<'_>> {
    let find = |route: &'static RestRoute| {
        tools.definitions().find(|tool| tool.name == route.tool).map(|tool| ServedRoute { route, tool })
    };
    routes::ROUTES.iter().filter_map(find).collect()
}

impl Api {
    /// The HTTP interface of these tools.
    #[must_use]
    pub fn new(config: &ServerConfig, tools: Arc<Registry>) -> Self {
        let body_limit = config.limits.body_limit();
        let timeout = config.limits.request_timeout.as_duration();
        Self { tools, url: config.url.clone(), body_limit, timeout }
    }

    /// Answers a request to a path below the endpoint's URL.
    pub async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let from = RequestContext::of(&parts.extensions);
        self.try_answer(parts, from, body).await.unwrap_or_else(|problem| problem.into_response(&from))
    }

    async fn try_answer(&self, parts: Parts, from: RequestContext, body: Body) -> Result<Response, ProblemDetails> {
        let Some(caller) = parts.extensions.get::<Arc<Caller>>().cloned() else {
            tracing::error!("a request reached the HTTP interface without a verified caller");
            return Err(ProblemDetails::internal("the request has no verified caller"));
        };
        let path = parts.uri.path().strip_prefix(self.url.path()).unwrap_or_default();
        let resource = Resource::of(&parts.extensions, &self.url);
        let served = served(&self.tools);
        let matches: Vec<_> =
            served.iter().filter_map(|served| Some((served, routes::capture(served.route.path, path)?))).collect();
        let Some((ServedRoute { route, tool }, captured)) =
            matches.iter().find(|(served, _)| served.route.method.answers(&parts.method))
        else {
            return Err(nothing(&parts.method, matches.iter().map(|(served, _)| served.route.method)));
        };
        let entry = match self.tools.lookup(route.tool, &caller) {
            ToolLookup::Found(entry) => entry,
            ToolLookup::NeedsScope(needed) => {
                Event::ScopeRefused {
                    from: &from,
                    tool: Some(route.tool),
                    scope: needed,
                    client_id: &caller.client_id,
                    user: &caller.subject,
                    grant: caller.grant.as_deref(),
                }
                .emit();
                let what = format!("the tool {}", route.tool);
                return Err(step_up(&what, needed, &caller, resource));
            }
            ToolLookup::Unknown => return Err(nothing(&parts.method, [].into_iter())),
        };
        let account = parts.extensions.get::<Account>().cloned().unwrap_or_else(Account::unlimited);
        let body = if route.takes_body() { self.read(&parts.headers, body, &account).await? } else { Bytes::new() };
        let arguments = arguments::collect(route, captured, parts.uri.query(), &body, &tool.input_schema)?;
        drop(body);
        let call = Call { account, ..Call::of(Arc::clone(&caller), from) };
        if !route.waits {
            return finished(route, entry.call(arguments, call).await, &caller, resource);
        }
        let started = WorkStarted::default();
        let outcome = entry.call(arguments, Call { started: Some(started.clone()), ..call });
        let work = {
            let (route, resource): (&'static RestRoute, _) = (route, resource.clone());
            async move {
                let finished = finished(route, outcome.await, &caller, &resource);
                finished.unwrap_or_else(|problem| problem.into_response(&from))
            }
        };
        let until = parts
            .extensions
            .get::<RequestPermit>()
            .map_or_else(|| Instant::now() + self.timeout, |permit| permit.until);
        let late = move || ProblemDetails::new(StatusCode::GATEWAY_TIMEOUT, "timeout", TOO_LONG).into_response(&from);
        Ok(heartbeat::answer(work, &started, Sign::Space, until, late).await)
    }

    async fn read(&self, headers: &HeaderMap, body: Body, account: &Account) -> Result<Bytes, ProblemDetails> {
        let body = portcullis_budget::read(body, self.body_limit, account)
            .await
            .map_err(|error| ProblemDetails::unreadable_body(&error))?;
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str);
        let is_json = |kind: &str| media_type::is(kind, media_type::JSON);
        // An empty body needs no Content-Type: `curl -X POST` sends none.
        if !body.is_empty() && !kind.is_some_and(|kind| kind.is_ok_and(is_json)) {
            let text = "Content-Type must be application/json";
            return Err(ProblemDetails::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text));
        }
        Ok(body)
    }
}

/// The response to a finished call.
fn finished(
    route: &RestRoute,
    outcome: Result<ToolAnswer, ToolError>,
    caller: &Caller,
    resource: &PublicUrl,
) -> Result<Response, ProblemDetails> {
    match outcome {
        Ok(answer) => Ok(succeeded(route, answer, resource)),
        Err(ToolError::NeedsScope { what, scope }) => Err(step_up(what, scope, caller, resource)),
        Err(error) => Err(ProblemDetails::of(&error)),
    }
}

/// The id of a created object.
#[derive(Deserialize)]
struct CreatedObject {
    id: String,
}

fn succeeded(route: &RestRoute, answer: ToolAnswer, resource: &PublicUrl) -> Response {
    let made = (route.success == StatusCode::CREATED)
        .then(|| serde_json::from_slice::<CreatedObject>(&answer.json).ok())
        .flatten();
    let location = made.map(|CreatedObject { id }| format!("{}{}/{id}", resource.resource(), route.path));
    let mut response = (route.success, [(header::CONTENT_TYPE, JSON)], answer.json).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}

fn step_up(what: &str, needed: Scope, caller: &Caller, resource: &PublicUrl) -> ProblemDetails {
    let text = format!("{what} needs the scope {needed}, which this access token does not have");
    let challenge = insufficient_scope(needed, caller, &text, resource);
    ProblemDetails::new(StatusCode::FORBIDDEN, "insufficient_scope", text).with(header::WWW_AUTHENTICATE, challenge)
}

/// 404 for an unknown path, 405 for an unknown method.
fn nothing(method: &Method, there: impl Iterator<Item = Verb>) -> ProblemDetails {
    let mut allowed: Vec<&str> = there.flat_map(Verb::names).copied().collect();
    if allowed.is_empty() {
        let text = "there is no resource at this path; openapi.json below the endpoint's URL lists the paths";
        return ProblemDetails::new(StatusCode::NOT_FOUND, "not_found", text);
    }
    allowed.sort_unstable();
    allowed.dedup();
    let allowed = allowed.join(", ");
    let text = format!("this path does not support {method}, but {allowed}");
    let problem = ProblemDetails::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
    match HeaderValue::try_from(allowed) {
        Ok(allowed) => problem.with(header::ALLOW, allowed),
        Err(_) => problem,
    }
}
