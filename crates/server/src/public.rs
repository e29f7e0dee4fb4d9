//! The public listener: its routes, and the order of the checks.
//!
//! The checks, outermost first:
//!
//! 1. [`Public::answer`]: metrics; the address rules (403); HTTPS (308 or 403); `Origin` (403), except for metadata
//!    documents, which are public. The unread rest of the body of a refused request is drained.
//! 2. CORS, if the servers answer it and a page sends the request: preflights end here, and every response from further
//!    in, including a 401, has the headers. The documents and unknown paths allow any origin, since clients probe for
//!    documents of other servers.
//! 3. For the MCP endpoint and the HTTP interface below it, [`AppState::guard`]: a permit for a concurrent request
//!    (503) and its time limit (504); the caller (401, or 429 if the address had too many such responses); the rate of
//!    client and user (429); their share of the permits (503). Then the MCP edge, or [`portcullis_rest::Api`]. The
//!    permit is kept until the response is sent. All other routes have permits from a separate pool:
//!    [`AppState::guard_open`].
//!
//!    For `/token` ([`AppState::issue_token`]), `/revoke` and `/introspect`: the rate of the address (429), the body
//!    (413, 408), then the endpoint itself. They take no permits from clients that have a token.
//!
//!    [`Pages`] serves the pages, without CORS.
//!
//! [`Pages`]: portcullis_pages::Pages

use crate::{
    address::{self, Origin},
    alias::Aliases,
    app_state::AppState,
    drain_body::{DrainableBody, drain_refused},
    problem::HttpProblem,
    refusals::RefusedPart,
};
use axum::{
    Extension, Router,
    extract::{ConnectInfo, Request, State},
    response::{Html, IntoResponse as _, Response},
    routing::{any, get, post},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use portcullis_config::{
    KeyError, ServerConfig,
    cors::{ALLOWED_HEADERS, ALLOWED_METHODS, EXPOSED_HEADERS},
};
use portcullis_core::{endpoint_paths::AI_CATALOG, hex};
use portcullis_oauth::metadata::{
    self, INTROSPECT_PATH, JWKS_PATH, REGISTER_PATH, REVOKE_PATH, ROOT_RESOURCE_METADATA, TOKEN_PATH,
};
use portcullis_pages::Pages;
use portcullis_telemetry::{
    audit::{FormRefused, RequestContext, RequestId},
    metrics::Route,
};
use portcullis_tools::Registry;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{net::SocketAddr, sync::Arc};
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt as _, util::option_layer};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

/// The cache lifetime of discovery documents, which is short because keys rotate.
const DOCUMENT_CACHING: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// The cache lifetime of server cards, which SEP-2127 recommends.
const CARD_CACHING: &str = "public, max-age=3600";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// HSTS (RFC 6797): for a year, browsers use HTTPS only for this host.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The request handlers of the public listener, for one set of mounted files.
pub(crate) struct Public {
    app: Arc<AppState>,
    endpoint: Arc<portcullis_mcp::Endpoint>,
    aliases: Aliases,
    router: Router,
}

impl Public {
    /// Builds the routes with these tools, as the successor of `previous`. For `abort` see
    /// [`portcullis_mcp::Endpoint::new`].
    pub(crate) fn new(
        app: &Arc<AppState>,
        tools: &Arc<Registry>,
        previous: Option<&Self>,
        abort: CancellationToken,
    ) -> Result<Self, KeyError> {
        let config = &app.mounted().config;
        let endpoint = portcullis_mcp::Endpoint::new(config, Arc::clone(tools), abort);
        let endpoint = Arc::new(match previous {
            Some(previous) => endpoint.succeeding(&previous.endpoint),
            None => endpoint,
        });
        let api = Arc::new(portcullis_rest::Api::new(config, Arc::clone(tools)));
        let url = &config.url;
        let resource = metadata::protected_resource(config, url);
        let mut documents =
            Router::new().without_v07_checks().route(&url.resource_metadata_path(), get(document(&resource)));
        for alias in config.path_aliases.iter().map(|path| url.at_path(path)) {
            let resource = metadata::protected_resource(config, &alias);
            documents = documents.route(&alias.resource_metadata_path(), get(document(&resource)));
        }
        documents = documents
            .route(
                &format!("{}{}", url.path(), portcullis_rest::OPENAPI_PATH),
                get(document(&portcullis_rest::document(config, tools))),
            )
            .route(&format!("{}{}", url.path(), portcullis_rest::REFERENCE_PATH), get(reference(config, tools)))
            .route(
                &format!("{}{}", url.path(), portcullis_mcp::SERVER_CARD_PATH),
                get(card(&portcullis_mcp::server_card(config), portcullis_mcp::SERVER_CARD)),
            );
        let issues_tokens = config.external_issuer.is_none();
        if issues_tokens {
            documents = documents
                .route(
                    &url.issuer_metadata_path(),
                    get(document(&metadata::authorization_server(config, &app.mounted().clients))),
                )
                .route(
                    &format!("{}{JWKS_PATH}", url.base_path()),
                    get(document(&metadata::jwks(&app.mounted().keys)?)),
                );
        }
        if url.base_path().is_empty() {
            documents = documents.route(ROOT_RESOURCE_METADATA, get(document(&resource)));
            let catalog = portcullis_mcp::ai_catalog(config);
            documents = documents.route(AI_CATALOG, get(card(&catalog, portcullis_mcp::AI_CATALOG)));
        }
        // Not a wildcard, which would not include Authorization (Fetch standard, CORS-unsafe request-header names).
        let public_cors = CorsLayer::new()
            .allow_origin(Any)
            .allow_methods([Method::GET, Method::HEAD])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([header::ETAG])
            .max_age(config.cors.max_age.as_duration());
        let answered_here = config.cors.answered_here;

        let mcp = {
            let endpoint = Arc::clone(&endpoint);
            |State(app): State<Arc<AppState>>, mut request: Request| async move {
                app.guard(Route::Mcp, &context(&request), &mut request, |request| endpoint.answer(request)).await
            }
        };
        let rest = |State(app): State<Arc<AppState>>, mut request: Request| async move {
            app.guard(Route::Rest, &context(&request), &mut request, |request| api.answer(request)).await
        };
        let mut guarded = Router::new()
            .without_v07_checks()
            .route(url.path(), any(mcp))
            .route(&format!("{}/{{*below}}", url.path()), any(rest));
        if issues_tokens {
            guarded = guarded
                .route(&format!("{}{TOKEN_PATH}", url.base_path()), post(issue_token))
                .route(&format!("{}{REVOKE_PATH}", url.base_path()), post(revoke))
                .route(&format!("{}{INTROSPECT_PATH}", url.base_path()), post(introspect));
            if config.client_policy.dynamic_registration.is_some() {
                guarded = guarded.route(&format!("{}{REGISTER_PATH}", url.base_path()), post(register));
            }
        }
        // Set the fallback before the layer. Otherwise it would be outside of it: preflights would reach the fallback,
        // and refusals would lack the headers of the layer.
        let guarded = guarded
            .with_state(Arc::clone(app))
            .method_not_allowed_fallback(unknown_method)
            .layer(option_layer(answered_here.then(|| cors(app))));

        let pages = app.pages().cloned();
        let router = documents
            .fallback(move |request: Request| std::future::ready(unknown_path(pages.as_deref(), &request)))
            .method_not_allowed_fallback(unknown_method)
            .layer(option_layer(answered_here.then_some(public_cors)))
            .merge(guarded)
            .merge(app.pages().map(|pages| Arc::clone(pages).router()).unwrap_or_default())
            .method_not_allowed_fallback(unknown_method);
        Ok(Self { app: Arc::clone(app), endpoint, aliases: Aliases::new(config), router })
    }

    /// The state of the checks.
    pub(crate) fn app(&self) -> &AppState {
        &self.app
    }

    /// Ends the subscriptions of clients. `next` replaces this configuration, if there is one.
    pub(crate) fn retire(&self, next: Option<&Self>) {
        self.endpoint.retire(next.map(|next| &*next.endpoint));
    }

    /// Answers a request from the public listener.
    pub(crate) async fn answer(&self, mut request: Request) -> Response {
        let app = &self.app;
        let _in_flight = app.metrics().request_begins();
        let begin = tokio::time::Instant::now();
        self.aliases.resolve(&mut request);
        let route = app.route(request.uri().path());
        let config = &app.mounted().config;
        let proxies = &config.access.trusted_proxies;
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        if let Some(peer) = peer {
            app.note_forwarding(peer, request.headers());
        }
        let from = peer.map_or(Origin::UNKNOWN, |peer| Origin::of(peer, request.headers(), proxies));
        let by_proxy = peer.is_some_and(|peer| address::is_trusted(peer, proxies));
        let id = by_proxy.then(|| RequestId::of_proxy(request.headers())).flatten();
        let context = RequestContext { id: id.unwrap_or_else(|| app.ids().next()), address: from.client };
        request.extensions_mut().insert(context);
        let limit = config.limits.max_body_size.bytes();
        let (mut response, close) = match app.admit(route, &request, from) {
            Err(problem) => (app.refuse(route, &context, problem), drain_refused(request, limit).await),
            // Requests that do not come from a web page bypass the CORS layer.
            Ok(()) if route == Route::Mcp && !is_of_a_page(&request) => {
                let response = app.guard(route, &context, &mut request, |request| self.endpoint.answer(request)).await;
                (response, drain_refused(request, limit).await)
            }
            Ok(()) => {
                let drainable = DrainableBody::of(&mut request);
                let routed = |request| async {
                    self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
                };
                let response = match route {
                    // These routes call `guard` themselves.
                    Route::Mcp | Route::Rest => routed(request).await,
                    _ => app.guard_open(route, &context, request, routed).await,
                };
                let close = match drainable {
                    Some(body) => body.drain(limit).await,
                    None => None,
                };
                (response, close)
            }
        };
        if let Some(close) = close {
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if config.url.is_https() && !from.plain {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
        }
        if let Some(FormRefused(reason)) = response.extensions_mut().remove() {
            app.note(RefusedPart::Form, route, &context, reason, response.status(), None);
        }
        if let Some(id) = context.id.header_value() {
            response.headers_mut().insert(RequestId::HEADER, id);
        }
        let (status, duration) = (response.status().as_u16(), begin.elapsed());
        app.metrics().request_ends(route, status, duration);
        tracing::debug!(?route, status, ?duration, request_id = context.id.as_str(), "answered");
        response
    }
}

/// The context that [`Public::answer`] inserted.
fn context(request: &Request) -> RequestContext {
    RequestContext::of(request.extensions())
}

/// Whether the request comes from a web page, or is a preflight.
fn is_of_a_page(request: &Request) -> bool {
    request.method() == Method::OPTIONS || request.headers().contains_key(header::ORIGIN)
}

fn cors(app: &AppState) -> CorsLayer {
    let origins = app.origins().clone();
    let names = |list: &[&'static str]| -> Vec<HeaderName> {
        list.iter().filter_map(|name| HeaderName::try_from(*name).ok()).collect()
    };
    let methods: Vec<Method> = ALLOWED_METHODS.iter().filter_map(|name| name.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| {
            origin.to_str().is_ok_and(|origin| origins.allow(origin))
        }))
        .allow_methods(methods)
        .allow_headers(names(&ALLOWED_HEADERS))
        .expose_headers(names(&EXPOSED_HEADERS))
        .max_age(app.mounted().config.cors.max_age.as_duration())
}

/// A handler for a public document, which is the same for all clients and in memory once.
fn document(content: &Value) -> impl Fn() -> std::future::Ready<Response> + Clone + Send + Sync + use<> {
    let content = Bytes::from(content.to_string());
    move || {
        let headers = [(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, DOCUMENT_CACHING)];
        std::future::ready((headers, content.clone()).into_response())
    }
}

/// A server card or a catalog: public, with an entity tag, by which clients ask whether it changed (RFC 9110 §13.1.2).
fn card(
    content: &Value,
    media_type: &'static str,
) -> impl Fn(HeaderMap) -> std::future::Ready<Response> + Clone + Send + Sync + use<> {
    let content = Bytes::from(content.to_string());
    let tag = format!("\"{}\"", hex(&Sha256::digest(&content)[..8]));
    move |headers| {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
            value.to_str().is_ok_and(|value| {
                value
                    .split(',')
                    .any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag)
            })
        });
        let fields = [(header::CACHE_CONTROL, CARD_CACHING.to_owned()), (header::ETAG, tag.clone())];
        std::future::ready(if known {
            (StatusCode::NOT_MODIFIED, fields).into_response()
        } else {
            (fields, [(header::CONTENT_TYPE, media_type)], content.clone()).into_response()
        })
    }
}

/// A handler for the page that documents the HTTP interface.
fn reference(
    config: &ServerConfig,
    tools: &Registry,
) -> impl Fn() -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    let page = portcullis_rest::page(config, tools, portcullis_pages::style_sheet()).inspect_err(|error| {
        tracing::error!(%error, "the page about the HTTP interface cannot be rendered");
    });
    let page = page.ok().map(|(html, policy)| (Bytes::from(html), policy));
    move || {
        let response = match &page {
            Some((html, policy)) => {
                let headers = [(header::CONTENT_SECURITY_POLICY, policy.clone())];
                (headers, [(header::CACHE_CONTROL, DOCUMENT_CACHING)], Html(html.clone())).into_response()
            }
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        };
        std::future::ready(portcullis_pages::secure(response))
    }
}

async fn issue_token(
    State(app): State<Arc<AppState>>,
    Extension(from): Extension<RequestContext>,
    request: Request,
) -> Response {
    app.issue_token(&from, request).await
}

async fn revoke(
    State(app): State<Arc<AppState>>,
    Extension(from): Extension<RequestContext>,
    request: Request,
) -> Response {
    app.revoke(&from, request).await
}

async fn register(
    State(app): State<Arc<AppState>>,
    Extension(from): Extension<RequestContext>,
    request: Request,
) -> Response {
    app.register(&from, request).await
}

async fn introspect(
    State(app): State<Arc<AppState>>,
    Extension(from): Extension<RequestContext>,
    request: Request,
) -> Response {
    app.introspect(&from, request).await
}

fn unknown_path(pages: Option<&Pages>, request: &Request) -> Response {
    let problem = HttpProblem::new(StatusCode::NOT_FOUND, "not_found", "there is no resource at this path");
    match pages {
        Some(pages) if is_navigation(request) => pages.not_found(&context(request)),
        _ => problem.into_response(Route::Unknown, &context(request)),
    }
}

/// Whether a browser opens the URL for a user.
pub(crate) fn is_navigation(request: &Request) -> bool {
    request.method() == Method::GET && portcullis_pages::accepts_html(request.headers())
}

async fn unknown_method(request: Request) -> Response {
    let message = format!("this path does not support {}; see the header Allow", request.method());
    HttpProblem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        .into_response(Route::Unknown, &context(&request))
}
