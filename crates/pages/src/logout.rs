//! `POST /login/NAME/backchannel-logout`: a provider tells that sessions at it ended (OpenID Connect Back-Channel Logout 1.0
//! §2.5). A program asks, so it gets JSON and no page. The rate of its address is checked before, as for every page.

use crate::{Pages, forms::Form};
use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use portcullis_core::report::chain;
use portcullis_identity::{LoggedOut, SignInError};
use portcullis_telemetry::audit::{Event, RequestContext};
use serde_json::json;
use std::sync::Arc;

/// Why sessions were not ended. The messages are for the people who run the provider.
#[derive(Debug, thiserror::Error)]
enum LogoutError {
    /// The body has no token.
    #[error("send the parameter logout_token once, as application/x-www-form-urlencoded")]
    NotAForm,
    /// There is no such login, or it has no OpenID Connect provider.
    #[error("there is no OpenID Connect login of this name")]
    UnknownLogin,
    /// The token does not count.
    #[error("the logout token is not this provider's, is not for this client, has expired, or is not a logout token")]
    Token(#[source] SignInError),
    /// Something that is needed cannot be reached.
    #[error("the logout cannot be recorded at the moment; send it again")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl LogoutError {
    const fn reason(&self) -> &'static str {
        match self {
            Self::NotAForm => "not_a_form",
            Self::UnknownLogin => "unknown_login",
            Self::Token(_) => "invalid_logout_token",
            Self::Unavailable(_) => "unavailable",
        }
    }

    const fn code(&self) -> &'static str {
        if matches!(self, Self::Unavailable(_)) { "temporarily_unavailable" } else { "invalid_request" }
    }
}

/// See the module.
pub(crate) async fn post(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let Err(error) = end(&pages, &from, &name, &headers, body).await else {
        return (StatusCode::OK, no_store).into_response();
    };
    let known = !matches!(error, LogoutError::UnknownLogin);
    Event::LogoutRefused { from: &from, login: known.then_some(&*name), reason: error.reason() }.emit();
    tracing::info!(request_id = from.id.as_str(), error = chain(&error), "a back-channel logout was refused");
    // §2.8 knows this status only.
    let body = Json(json!({"error": error.code(), "error_description": error.to_string()}));
    (StatusCode::BAD_REQUEST, no_store, body).into_response()
}

async fn end(
    pages: &Pages,
    from: &RequestContext,
    login: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), LogoutError> {
    if !pages.has_login(login) {
        return Err(LogoutError::UnknownLogin);
    }
    let form = Form::read(headers, body).await.map_err(|_| LogoutError::NotAForm)?;
    let token = form.field("logout_token").ok_or(LogoutError::NotAForm)?;
    let ended = pages.logins.logged_out(login, token, pages.clock.now()).await.map_err(|error| match error {
        SignInError::UnknownLogin => LogoutError::UnknownLogin,
        SignInError::Mismatch { .. } => LogoutError::Token(error),
        _ if error.is_passing() => LogoutError::Unavailable(error.into()),
        // Such as a key that the provider does not publish.
        _ => LogoutError::Token(error),
    })?;
    let LoggedOut { user_id, session, at } = ended;
    let users = pages.server.note_logout(login, user_id.as_deref(), session.as_deref(), at).await;
    for user in users.map_err(|error| LogoutError::Unavailable(error.into()))? {
        Event::UserLoggedOut { from, login, user: &user }.emit();
    }
    Ok(())
}
