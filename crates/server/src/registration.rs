//! `POST /register`, dynamic client registration: the rate limit by address, and audit events. [`registration`] has the
//! rules for registrations.

use crate::{app_state::AppState, problem::HttpProblem};
use axum::{
    Json,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use portcullis_core::{ip_ranges, media_type, report::chain, rng};
use portcullis_oauth::clients::registration::{self, Applicant, RegistrationError};
use portcullis_telemetry::{
    audit::{Event, RequestContext},
    metrics::Route,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// `Retry-After` if clients cannot be stored, or the limit of clients is reached.
const RETRY_AFTER: Duration = Duration::from_mins(1);

impl AppState {
    /// Registers a client.
    pub(crate) async fn register(&self, from: &RequestContext, request: Request) -> Response {
        let config = &self.mounted().config;
        let Some(policy) = &config.client_policy.dynamic_registration else {
            let message = "there is no resource at this path";
            return self.refuse(Route::Register, from, HttpProblem::new(StatusCode::NOT_FOUND, "not_found", message));
        };
        // Clients with an unknown address share one rate, and one share of the registrations.
        let address = from.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        if let Err(problem) = self.limiters().count_registration(address) {
            return self.refuse(Route::Register, from, problem);
        }
        let (headers, body) = match self.body(Route::Register, from, request, registration::MAX_BODY).await {
            Ok(parts) => parts,
            Err(refusal) => return refusal,
        };
        if !is_json(&headers) {
            return self.not_registered(from, &RegistrationError::NotJson);
        }
        let applicant = Applicant { from, network: ip_ranges::network(address) };
        match self.authorization().register(&body, applicant, policy, self.now(), &mut rng::rng()).await {
            Ok(registered) => {
                let (client_id, redirect_uris) = (&registered.client_id, &registered.redirect_uris);
                Event::ClientRegistered { from, client_id, redirect_uris }.emit();
                (StatusCode::CREATED, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(registered))
                    .into_response()
            }
            Err(error) => self.not_registered(from, &error),
        }
    }

    fn not_registered(&self, from: &RequestContext, error: &RegistrationError) -> Response {
        Event::RegistrationRefused { from, reason: error.code() }.emit();
        if let RegistrationError::Store(source) = error {
            tracing::warn!(error = chain(source), "a client could not be registered");
        }
        let mut problem = HttpProblem::new(error.status(), error.code(), error.to_string())
            .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(error.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            problem = problem.retry_after(RETRY_AFTER);
        }
        self.refuse(Route::Register, from, problem)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type::is(text, media_type::JSON)
}
