//! Refusals in the protocol of the route: 401 with a challenge, and every other status.

use crate::{app_state::AppState, problem::HttpProblem, public::is_navigation, refusals::RefusedPart};
use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};
use portcullis_oauth::{Caller, challenge::Resource, metadata::TOKEN_PATH, verify::Unauthenticated};
use portcullis_telemetry::{audit::RequestContext, metrics::Route};
use std::{sync::Arc, time::Duration};

/// `Retry-After` if tokens cannot be verified at the moment.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl AppState {
    /// Responds with 401 in the protocol of the route, with the landing page if a user opened the endpoint's URL in a
    /// browser, or with 429 if the address has had too many such responses.
    pub(super) fn unauthenticated(
        &self,
        route: Route,
        from: &RequestContext,
        request: &Request,
        why: Unauthenticated,
    ) -> Response {
        self.metrics.not_authenticated(why.reason());
        if why == Unauthenticated::Unavailable {
            // The token may be valid: the client must not discard it.
            return HttpProblem::new(StatusCode::SERVICE_UNAVAILABLE, why.reason(), why.to_string())
                .retry_after(RETRY_AFTER)
                .into_response(route, from);
        }
        if why != Unauthenticated::Missing {
            self.note(RefusedPart::AccessToken, route, from, why.reason(), StatusCode::UNAUTHORIZED, None);
        }
        // Does not affect requests with a valid token: many clients may share one address.
        if let Err(problem) = self.count_address(from.address) {
            return self.refuse(route, from, problem);
        }
        let config = &self.mounted.config;
        let resource = Resource::of(request.extensions(), &config.url);
        let challenge = self.challenges.bearer(why, resource);
        if route == Route::Mcp && is_navigation(request) {
            if let Some(mut page) = self.pages.as_ref().and_then(|pages| pages.landing(from, request.headers())) {
                *page.status_mut() = StatusCode::UNAUTHORIZED;
                page.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                return page;
            }
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

    /// Counts a refusal, records it, and renders the response.
    pub(crate) fn refuse(&self, route: Route, from: &RequestContext, problem: HttpProblem) -> Response {
        self.refuse_caller(route, from, None, problem)
    }

    /// Like [`Self::refuse`], for an authenticated request.
    pub(super) fn refuse_caller(
        &self,
        route: Route,
        from: &RequestContext,
        caller: Option<Arc<Caller>>,
        problem: HttpProblem,
    ) -> Response {
        self.metrics.refused(problem.reason());
        let status = problem.status();
        // An unknown path and a redirect to HTTPS are not violations.
        if status != StatusCode::NOT_FOUND && !status.is_redirection() {
            self.note(RefusedPart::Request, route, from, problem.reason(), status, caller);
        }
        match &self.pages {
            Some(pages) if route.is_page() => problem.into_page(pages, from),
            _ => problem.into_response(route, from),
        }
    }
}
