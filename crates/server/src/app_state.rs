//! What every request is held against, in the order in which `public` asks: address, way and origin, a place and a time,
//! the access token and its client's rate. Made anew from every set of mounted files.

use crate::{
    address::{self, Origin, Sender, Untrusted},
    body::{self, DeadlineBody, MeteredBody},
    connections::Unsent,
    limits::Limiters,
    mounted::Mounted,
    origin::Origins,
    problem::HttpProblem,
    refusals::{Refusals, RefusedPart, RefusedRequest},
};
use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use ipnet::IpNet;
use jiff::Timestamp;
use portcullis_budget::{Account, Taken};
use portcullis_config::KeyError;
use portcullis_core::{clock::Clock, rng};
use portcullis_identity::Logins;
use portcullis_mcp::MessageRate;
use portcullis_oauth::{
    AuthorizationServer, Caller, OAuthError, Stores,
    challenge::{Challenges, Resource},
    metadata::{INTROSPECT_PATH, JWKS_PATH, REGISTER_PATH, REVOKE_PATH, ROOT_RESOURCE_METADATA, TOKEN_PATH},
    token,
    verify::Unauthenticated,
};
use portcullis_pages::{Pages, paths};
use portcullis_telemetry::{
    audit::{RequestContext, RequestIds},
    metrics::{Metrics, Route},
};
use portcullis_tools::heartbeat::RequestPermit;
use std::{
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

/// How long the body of a client's request to the authorization server may take to arrive: it is a few hundred bytes.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the response to a request that needs no token may take to be sent.
const OPEN_TIMEOUT: Duration = Duration::from_mins(1);

/// When to try again where something could not be reached.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a request of a known caller has taken, until its response is sent and its work is done.
struct RequestPermits {
    _permit: Taken,
    _account: Account,
}

/// All that the checks need.
pub(crate) struct AppState {
    mounted: Mounted,
    origins: Origins,
    challenges: Challenges,
    authorization: Arc<AuthorizationServer>,
    logins: Arc<Logins>,
    pages: Option<Arc<Pages>>,
    limiters: Arc<Limiters>,
    untrusted: Arc<Untrusted>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    ids: Arc<RequestIds>,
    refusals: Arc<Refusals>,
    rate: MessageRate,
}

impl AppState {
    /// Prepares everything; keeps of `previous` what the new files leave as it was.
    pub(crate) fn new(
        mounted: Mounted,
        stores: Stores,
        logins: Arc<Logins>,
        previous: Option<&Self>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        memory: u64,
    ) -> Result<Self, KeyError> {
        let config = &mounted.config;
        let same_tokens = |app: &&Self| {
            let before = &app.mounted;
            before.keys == mounted.keys
                && before.config.url == config.url
                && before.config.external_issuer == config.external_issuer
        };
        let cache = previous.filter(same_tokens).map(|app| Arc::clone(app.authorization.cache()));
        let limiters =
            previous.filter(|app| *app.limiters.limits() == config.limits).map(|app| Arc::clone(&app.limiters));
        let authorization = Arc::new(AuthorizationServer::new(
            config,
            &mounted.clients,
            &mounted.keys,
            stores,
            cache.unwrap_or_default(),
        )?);
        // Where people sign in elsewhere, there is nothing for them to see here.
        let pages = config
            .external_issuer
            .is_none()
            .then(|| Arc::new(Pages::new(config, Arc::clone(&authorization), Arc::clone(&logins), Arc::clone(&clock))));
        let limiters = limiters
            .unwrap_or_else(|| Arc::new(Limiters::new(&config.limits, memory, previous.map(|app| &*app.limiters))));
        logins.charge(limiters.memory());
        let rate = rate(&limiters, &metrics);
        Ok(Self {
            origins: Origins::new(config.url.origin(), &config.cors.allowed_origins),
            challenges: Challenges::new(config),
            authorization,
            logins,
            pages,
            limiters,
            untrusted: previous.map(|app| Arc::clone(&app.untrusted)).unwrap_or_default(),
            metrics,
            clock,
            ids: previous.map_or_else(|| Arc::new(RequestIds::new(rng::rng())), |app| Arc::clone(&app.ids)),
            refusals: previous.map(|app| Arc::clone(&app.refusals)).unwrap_or_default(),
            rate,
            mounted,
        })
    }

    /// The files behind it.
    pub(crate) fn mounted(&self) -> &Mounted {
        &self.mounted
    }

    /// The origins that may call.
    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The authorization server.
    pub(crate) fn authorization(&self) -> &Arc<AuthorizationServer> {
        &self.authorization
    }

    /// Who may sign in.
    pub(crate) fn logins(&self) -> &Arc<Logins> {
        &self.logins
    }

    /// What people see; `None` where they sign in elsewhere.
    pub(crate) fn pages(&self) -> Option<&Arc<Pages>> {
        self.pages.as_ref()
    }

    /// What the server measures.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Generates the ids of requests.
    pub(crate) fn ids(&self) -> &RequestIds {
        &self.ids
    }

    /// Notes a refusal in the audit trail.
    pub(crate) fn note(
        &self,
        what: RefusedPart,
        route: Route,
        from: &RequestContext,
        reason: &'static str,
        status: StatusCode,
        caller: Option<Arc<Caller>>,
    ) {
        let refusal = RefusedRequest { what, from: *from, route, reason, status, caller };
        self.refusals.note(&refusal, self.clock.now());
    }

    /// Forgets callers and addresses that have been away for long. To be called every few seconds.
    pub(crate) fn tidy(&self) {
        self.limiters.tidy();
        self.refusals.tidy(self.clock.now());
    }

    /// Notes where forwarding headers come from, unless from a trusted proxy. With the PROXY protocol the peer is the
    /// client itself.
    pub(crate) fn note_forwarding(&self, peer: IpAddr, headers: &HeaderMap) {
        let access = &self.mounted.config.access;
        if let (false, Some(sender)) = (access.proxy_protocol, Sender::of(peer, headers, &access.trusted_proxies)) {
            self.metrics.forwarded_untrusted(matches!(sender, Sender::Private(_)));
            self.untrusted.note(sender, self.now());
        }
    }

    /// Addresses that forwarding headers came from of late although they are not trusted.
    pub(crate) fn untrusted_forwarders(&self) -> Vec<IpNet> {
        self.untrusted.recent(self.now(), &self.mounted.config.access.trusted_proxies)
    }

    /// The limits in force.
    pub(crate) fn limiters(&self) -> &Limiters {
        &self.limiters
    }

    /// What a path is for.
    pub(crate) fn route(&self, path: &str) -> Route {
        let url = &self.mounted.config.url;
        match path.strip_prefix(url.path()) {
            Some("") => return Route::Mcp,
            Some(portcullis_rest::OPENAPI_PATH | portcullis_rest::REFERENCE_PATH) => return Route::ApiDocument,
            Some(below) if below.starts_with('/') => return Route::Rest,
            _ => {}
        }
        match path.strip_prefix(url.base_path()) {
            Some(TOKEN_PATH) => Route::Token,
            Some(REVOKE_PATH) => Route::Revoke,
            Some(INTROSPECT_PATH) => Route::Introspect,
            Some(REGISTER_PATH) => Route::Register,
            Some(JWKS_PATH) => Route::Jwks,
            _ if path == url.issuer_metadata_path() => Route::IssuerMetadata,
            _ if path.starts_with(ROOT_RESOURCE_METADATA) => Route::ResourceMetadata,
            Some(path) if self.pages.is_some() => paths::route(path).unwrap_or(Route::Unknown),
            _ => Route::Unknown,
        }
    }

    /// Refuses by address, by the way that the request came, by origin, and people by the rate of their address.
    pub(crate) fn admit(&self, route: Route, request: &Request, from: Origin) -> Result<(), HttpProblem> {
        if !address::admitted(from.client, &self.mounted.config.access) {
            let message = "this address may not use the endpoint; its network must be in spec.network.allowedCidrs";
            return Err(HttpProblem::new(StatusCode::FORBIDDEN, "address_not_allowed", message));
        }
        let method = request.method();
        if from.plain && self.mounted.config.url.is_https() {
            return Err(self.https_required(route, request));
        }
        // Agents send browsers to /authorize from pages of theirs. The other pages look after their forms themselves.
        let navigation = method == Method::GET || method == Method::HEAD;
        let guarded = matches!(
            route,
            Route::Mcp | Route::Rest | Route::Token | Route::Revoke | Route::Introspect | Route::Register
        ) || (route == Route::Authorize && !navigation);
        if guarded && !self.origins.admit(request.headers()) {
            let message = "pages of this origin may not use the endpoint; it must be in spec.cors.allowedOrigins";
            return Err(HttpProblem::new(StatusCode::FORBIDDEN, "origin_not_allowed", message));
        }
        if route.is_page() { self.count_address(from.client) } else { Ok(()) }
    }

    /// What only looks at something is sent on to https. All else is refused, so that somebody notices: it is too late
    /// for the token that was sent with it.
    fn https_required(&self, route: Route, request: &Request) -> HttpProblem {
        let url = &self.mounted.config.url;
        let looks = request.method() == Method::GET || request.method() == Method::HEAD;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let location = HeaderValue::try_from(format!("{}{path}", url.origin()));
        if let (true, true, Ok(location)) = (looks, route.is_page() || route.is_document(), location) {
            let message = "this is served over https only";
            return HttpProblem::new(StatusCode::PERMANENT_REDIRECT, "https_required", message)
                .with(header::LOCATION, location);
        }
        let message = format!(
            "this endpoint is served over https only: use {}; a token or secret that was sent over http may have been \
             read on its way, replace it",
            url.resource()
        );
        HttpProblem::new(StatusCode::FORBIDDEN, "https_required", message)
    }

    fn count_address(&self, address: Option<IpAddr>) -> Result<(), HttpProblem> {
        self.limiters.count_address(known(address))
    }

    /// Has `answer` answer a request of a client with a token, which it finds in the request's extensions as
    /// `Arc<Caller>`. Takes the request, unless it refuses it.
    pub(crate) async fn guard<A: Future<Output = Response>>(
        &self,
        route: Route,
        from: &RequestContext,
        request: &mut Request,
        answer: impl FnOnce(Request) -> A,
    ) -> Response {
        let permit = match self.limiters.enter(from.address) {
            Ok(permit) => permit,
            Err(problem) => return self.refuse(route, from, problem),
        };
        let timeout = self.mounted.config.limits.request_timeout;
        let deadline = tokio::time::Instant::now() + timeout.as_duration();
        // A refusal before the caller is known keeps nothing: while the rest of its body is read, its place would be
        // missing to others of the same address.
        let mut held = None;
        let answered = {
            let answer = pin!(self.authenticated(route, from, request, (permit, deadline), &mut held, answer));
            tokio::time::timeout_at(deadline, answer).await
        };
        let response = answered.unwrap_or_else(|_| {
            let message = format!("the request took longer than {timeout}; ask for less at a time");
            self.refuse(route, from, HttpProblem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message))
        });
        let mut response = DeadlineBody::until(response, deadline);
        if let Some(held) = held {
            response.extensions_mut().insert(Unsent::until(deadline, held));
        }
        response
    }

    async fn authenticated<A: Future<Output = Response>>(
        &self,
        route: Route,
        from: &RequestContext,
        request: &mut Request,
        (mut permit, until): (Taken, tokio::time::Instant),
        held: &mut Option<Arc<RequestPermits>>,
        answer: impl FnOnce(Request) -> A,
    ) -> Response {
        let begun = tokio::time::Instant::now();
        // Verifying a wrong signature costs six times as much as the rest of a refusal.
        if let Err(problem) = self.limiters.check_address(known(from.address))
            && !self.authorization().remembers(request.headers(), self.clock.now())
        {
            return self.refuse(route, from, problem);
        }
        let caller = match self.authorization().caller(request.headers(), self.clock.now()).await {
            Ok(caller) => caller,
            Err(why) => return self.unauthenticated(route, from, request, why),
        };
        if let Err(problem) = self.limiters.count_caller(&caller) {
            return self.refuse_caller(route, from, Some(caller), problem);
        }
        let account = match self.limiters.identify(&mut permit, &caller, begun) {
            Ok(account) => account,
            Err(problem) => return self.refuse_caller(route, from, Some(caller), problem),
        };
        let permits = Arc::new(RequestPermits { _permit: permit, _account: account.clone() });
        *held = Some(Arc::clone(&permits));
        let extensions = request.extensions_mut();
        extensions.insert(account);
        extensions.insert(RequestPermit { until, taken: permits });
        extensions.insert(self.rate.clone());
        extensions.insert(Arc::clone(&caller));
        let response = answer(std::mem::take(request)).await;
        if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
            self.note(RefusedPart::Request, route, from, "too_large", response.status(), Some(caller));
        }
        response
    }

    /// Has `answer` answer a request that needs no token. It has a place of its own kind, which it keeps until the
    /// response is sent.
    pub(crate) async fn guard_open<A: Future<Output = Response>>(
        &self,
        route: Route,
        from: &RequestContext,
        request: Request,
        answer: impl FnOnce(Request) -> A,
    ) -> Response {
        let permit = match self.limiters.enter_open(from.address) {
            Ok(permit) => permit,
            Err(problem) => return self.refuse(route, from, problem),
        };
        let deadline = tokio::time::Instant::now() + OPEN_TIMEOUT;
        let (memory, holders) = (self.limiters.memory(), self.limiters.address(from.address));
        let request = request.map(|body| MeteredBody::body(body, Arc::clone(memory), holders));
        let mut response = DeadlineBody::until(answer(request).await, deadline);
        response.extensions_mut().insert(Unsent::until(deadline, permit));
        response
    }

    /// Answers a request to the token endpoint.
    pub(crate) async fn issue_token(&self, from: &RequestContext, request: Request) -> Response {
        let (headers, body) = match self.form(Route::Token, from, request).await {
            Ok(form) => form,
            Err(refusal) => return refusal,
        };
        let mut rng = rng::rng();
        match self.authorization().token(&headers, &body, from, self.clock.now(), &mut rng).await {
            Ok(answer) => {
                self.metrics.token_answered("issued");
                answer.into_response()
            }
            Err(error) => {
                self.metrics.token_answered(error.code());
                error.into_response(&self.challenges)
            }
        }
    }

    /// Answers a request to the revocation endpoint.
    pub(crate) async fn revoke(&self, from: &RequestContext, request: Request) -> Response {
        let (headers, body) = match self.form(Route::Revoke, from, request).await {
            Ok(form) => form,
            Err(refusal) => return refusal,
        };
        let revoked = self.authorization().revoke(&headers, &body, from, self.clock.now()).await;
        self.answered(revoked.map(|()| StatusCode::OK))
    }

    /// Answers a request to the introspection endpoint.
    pub(crate) async fn introspect(&self, from: &RequestContext, request: Request) -> Response {
        let (headers, body) = match self.form(Route::Introspect, from, request).await {
            Ok(form) => form,
            Err(refusal) => return refusal,
        };
        self.answered(self.authorization().introspect(&headers, &body, from, self.clock.now()).await)
    }

    fn answered(&self, answer: Result<impl IntoResponse, OAuthError>) -> Response {
        answer.map_or_else(|error| error.into_response(&self.challenges), IntoResponse::into_response)
    }

    async fn form(
        &self,
        route: Route,
        from: &RequestContext,
        request: Request,
    ) -> Result<(HeaderMap, Bytes), Response> {
        self.body(route, from, request, token::MAX_BODY).await
    }

    /// The headers and the body of a client's request to the authorization server, within the rate of its address.
    pub(super) async fn body(
        &self,
        route: Route,
        from: &RequestContext,
        request: Request,
        limit: usize,
    ) -> Result<(HeaderMap, Bytes), Response> {
        self.count_address(from.address).map_err(|problem| self.refuse(route, from, problem))?;
        let (Parts { headers, .. }, body) = request.into_parts();
        let body = tokio::time::timeout(FORM_TIMEOUT, body::collect(body, limit)).await;
        let body = body.unwrap_or_else(|_| {
            let message = "the request did not arrive in time; send it again";
            Err(HttpProblem::new(StatusCode::REQUEST_TIMEOUT, "timeout", message))
        });
        Ok((headers, body.map_err(|problem| self.refuse(route, from, problem))?))
    }

    /// 401 in the protocol of the route, and for somebody who opened the endpoint's URL in a browser, a line about what
    /// this is; 429 where the address has been told too often.
    fn unauthenticated(
        &self,
        route: Route,
        from: &RequestContext,
        request: &Request,
        why: Unauthenticated,
    ) -> Response {
        self.metrics.not_authenticated(why.reason());
        if why == Unauthenticated::Unavailable {
            // Nothing is wrong with the token: the client must not throw it away.
            return HttpProblem::new(StatusCode::SERVICE_UNAVAILABLE, why.reason(), why.to_string())
                .retry_after(RETRY_AFTER)
                .into_response(route, from);
        }
        if why != Unauthenticated::Missing {
            self.note(RefusedPart::AccessToken, route, from, why.reason(), StatusCode::UNAUTHORIZED, None);
        }
        // Those who have a token are not concerned: many may come from one address.
        if let Err(problem) = self.count_address(from.address) {
            return self.refuse(route, from, problem);
        }
        let config = &self.mounted.config;
        let accepts_html = request
            .headers()
            .get_all(header::ACCEPT)
            .iter()
            .any(|value| value.to_str().is_ok_and(|accept| accept.contains("text/html")));
        let resource = Resource::of(request.extensions(), &config.url);
        let challenge = self.challenges.bearer(why, resource);
        if route == Route::Mcp && request.method() == Method::GET && accepts_html {
            let text = format!(
                "This is the MCP endpoint \"{}\", for AI agents and not for browsers.\nAdd this URL to your agent: {}\n",
                config.endpoint,
                resource.resource()
            );
            return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], text).into_response();
        }
        let token_url = match &config.external_issuer {
            Some(external) => external.issuer_url.clone(),
            None => config.url.issuer_url(TOKEN_PATH),
        };
        let message = format!("{why}; obtain one at {token_url}");
        HttpProblem::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
            .with(header::WWW_AUTHENTICATE, challenge)
            .into_response(route, from)
    }

    /// Counts a refusal and words it.
    pub(crate) fn refuse(&self, route: Route, from: &RequestContext, problem: HttpProblem) -> Response {
        self.refuse_caller(route, from, None, problem)
    }

    /// The same for a request that was authenticated.
    fn refuse_caller(
        &self,
        route: Route,
        from: &RequestContext,
        caller: Option<Arc<Caller>>,
        problem: HttpProblem,
    ) -> Response {
        self.metrics.refused(problem.reason());
        let status = problem.status();
        // A path that does not exist and a redirect to https concern no rule.
        if status != StatusCode::NOT_FOUND && !status.is_redirection() {
            self.note(RefusedPart::Request, route, from, problem.reason(), status, caller);
        }
        match &self.pages {
            Some(pages) if route.is_page() => problem.into_page(pages, from),
            _ => problem.into_response(route, from),
        }
    }
}

/// How messages are counted that come with another one.
fn rate(limiters: &Arc<Limiters>, metrics: &Arc<Metrics>) -> MessageRate {
    let (limiters, metrics) = (Arc::clone(limiters), Arc::clone(metrics));
    MessageRate(Arc::new(move |caller| {
        limiters.count_caller(caller).map_err(|problem| {
            metrics.refused(problem.reason());
            problem.message().to_owned()
        })
    }))
}

/// All requests whose address is not known share one rate.
fn known(address: Option<IpAddr>) -> IpAddr {
    address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

#[cfg(test)]
mod tests;
