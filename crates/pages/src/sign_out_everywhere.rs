//! `POST /agents/sign-out-everywhere`: ends all browser sessions of the user and the access of all the user's agents, at
//! every server.
//!
//! The sessions end first, so that none of them can approve another agent while the grants are revoked. They end by the
//! user's account, which every server watches, as they do after a logout at the provider.

use crate::{
    Pages,
    error_page::{ErrorPage, Link},
    forms::{Action, Form},
    page, paths,
    user_session::UserSession,
    view,
};
use axum::{Extension, extract::State, response::Response};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use portcullis_core::grant::{GrantUser, RevocationReason};
use portcullis_oauth::grant::{Grant, GrantsError};
use portcullis_telemetry::audit::{Event, RequestContext};
use std::sync::Arc;

/// How many grants are revoked at a time.
const AT_ONCE: usize = 8;

/// See the module.
pub(crate) async fn post(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    pages.answer(&from, end_all(&pages, &from, &headers, &form).await)
}

async fn end_all(
    pages: &Pages,
    from: &RequestContext,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let UserSession { session, user } = pages.user_of_form(form, Action::SignOutEverywhere, headers, now)?;
    // The clock of the server that began this session may be ahead.
    let ended = pages.server.end_sessions(&user, now.max(session.since)).await;
    ended.map_err(|error| ErrorPage::grants(&error))?;
    Event::UserSignedOutEverywhere { from, user: &user.id }.emit();
    revoke_all(pages, from, &user, now).await.map_err(|error| ErrorPage::partly_signed_out(&error, pages.base()))?;
    let link = Link { href: format!("{}{}", pages.base(), paths::LOGIN), label: "Sign in again".into() };
    let mut response = page(
        StatusCode::OK,
        &view::Message {
            frame: &pages.frame,
            title: "You are signed out everywhere",
            happened: "No browser acts in your name here any more, and no agent has access. Each agent has to ask you again.",
            todo: Some("On a shared computer, sign out at your identity provider too."),
            link: Some(&link),
            reference: None,
        },
    )?;
    let cookie = pages.cookie.clear().map_err(|error| ErrorPage::internal(error.to_string()))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Revokes every grant of the user. Goes on after a failure, and returns the last one.
async fn revoke_all(pages: &Pages, from: &RequestContext, user: &GrantUser, now: Timestamp) -> Result<(), GrantsError> {
    let grants = pages.server.grants();
    let active = grants.of_user(&user.id).into_iter().filter(|grant| grant.is_active(now));
    let revoke = async |grant: Arc<Grant>| {
        grants.revoke(&grant.name, RevocationReason::ByUser, now).await?;
        Event::GrantRevoked {
            from,
            client_id: &grant.client_id,
            user: Some(&user.id),
            grant: &grant.name,
            reason: RevocationReason::ByUser,
        }
        .emit();
        Ok::<(), GrantsError>(())
    };
    let revoked = stream::iter(active).map(revoke).buffer_unordered(AT_ONCE);
    revoked.fold(Ok(()), async |all, one| if one.is_err() { one } else { all }).await
}
