//! Admission of requests: by address, transport and origin; then by permits, time limit, token, and the caller's rate.

use crate::{
    address::{self, Origin},
    app_state::{AppState, known},
    body::{DeadlineBody, MeteredBody},
    connections::Unsent,
    problem::HttpProblem,
    refusals::RefusedPart,
};
use axum::{extract::Request, response::Response};
use http::{HeaderValue, Method, StatusCode, header};
use portcullis_budget::{Account, Taken};
use portcullis_telemetry::{audit::RequestContext, metrics::Route};
use portcullis_tools::heartbeat::RequestPermit;
use std::{pin::pin, sync::Arc, time::Duration};

/// The time limit for sending the response to a request without a token.
const OPEN_TIMEOUT: Duration = Duration::from_mins(1);

/// The permits of an authenticated request, until its response is sent and its work is done.
struct RequestPermits {
    _permit: Taken,
    _account: Account,
}

impl AppState {
    /// Checks address, transport and origin of a request, and for pages the rate of the address.
    pub(crate) fn admit(&self, route: Route, request: &Request, from: Origin) -> Result<(), HttpProblem> {
        if !address::admitted(from.client, &self.mounted.config.access) {
            let message = "this address may not use the endpoint; its network must be in spec.network.allowedCidrs";
            return Err(HttpProblem::new(StatusCode::FORBIDDEN, "address_not_allowed", message));
        }
        let method = request.method();
        if from.plain && self.mounted.config.url.is_https() {
            return Err(self.https_required(route, request));
        }
        // Agents send browsers to /authorize from their own pages. The other pages check their forms themselves.
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

    /// Redirects requests for pages and documents to HTTPS. All others are refused, so that users notice: a token in
    /// such a request is already exposed.
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
             intercepted: replace it",
            url.resource()
        );
        HttpProblem::new(StatusCode::FORBIDDEN, "https_required", message)
    }

    /// Authenticates a request and passes it to `answer`, which finds the caller in the request's extensions as
    /// `Arc<Caller>`. Takes the request out of `request`, unless it is refused.
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
        // A refusal before authentication keeps no permit: other requests of the same address can use it while the rest
        // of the body is read.
        let mut held = None;
        let answered = {
            let answer = pin!(self.authenticated(route, from, request, (permit, deadline), &mut held, answer));
            tokio::time::timeout_at(deadline, answer).await
        };
        let response = answered.unwrap_or_else(|_| {
            let message = format!("the request took longer than {timeout}; request less at a time");
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
        let started = tokio::time::Instant::now();
        // The verification of an invalid signature costs six times as much as the rest of a refusal.
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
        let account = match self.limiters.identify(&mut permit, &caller, started) {
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

    /// Passes a request that does not require a token to `answer`. It has a permit from a separate pool, until the
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
}
