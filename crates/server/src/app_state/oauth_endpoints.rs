//! The token, revocation and introspection endpoints: they read a form, within the rate of the address.

use crate::{
    app_state::AppState,
    body::{self},
    problem::HttpProblem,
};
use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, request::Parts};
use portcullis_core::rng;
use portcullis_oauth::{OAuthError, token};
use portcullis_telemetry::{audit::RequestContext, metrics::Route};
use std::time::Duration;

/// The time limit for the body of a client's request to the authorization server, which has a few hundred bytes.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

impl AppState {
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
        self.respond(revoked.map(|()| StatusCode::OK))
    }

    /// Answers a request to the introspection endpoint.
    pub(crate) async fn introspect(&self, from: &RequestContext, request: Request) -> Response {
        let (headers, body) = match self.form(Route::Introspect, from, request).await {
            Ok(form) => form,
            Err(refusal) => return refusal,
        };
        self.respond(self.authorization().introspect(&headers, &body, from, self.clock.now()).await)
    }

    fn respond(&self, answer: Result<impl IntoResponse, OAuthError>) -> Response {
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

    /// Reads the headers and the body of a client's request to the authorization server, within the rate of its
    /// address.
    pub(crate) async fn body(
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
}
