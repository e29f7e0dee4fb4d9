//! What an administrator takes from other users: one agent, or all access.

use crate::{
    Pages,
    administration::view::EndUser,
    error_page::ErrorPage,
    forms::{Action, Form, Query},
    navigation::NavigationPage,
    page, paths, text,
};
use axum::{Extension, extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use portcullis_core::grant::GrantUser;
use portcullis_oauth::grant::GrantLookup;
use portcullis_telemetry::audit::{Event, RequestContext};
use std::sync::Arc;

/// `POST /console/administration/revoke`: ends the access of one agent.
pub(super) async fn revoke(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    pages.answer(&from, revoke_one(&pages, &from, &headers, &form).await)
}

async fn revoke_one(
    pages: &Pages,
    from: &RequestContext,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let administrator = pages.administrator_of(form, headers, now)?;
    let name = required(form, "grant")?;
    let user = required(form, "user")?;
    // A grant that is gone or has ended by now is as the administrator wants it.
    if let GrantLookup::Present(grant) = pages.server.grants().find(name)
        && grant.user.id == user
        && grant.is_active(now)
    {
        pages.server.end_grant(&grant, from, now).await.map_err(|error| ErrorPage::grants(&error))?;
        Event::AdministrationAgentRevoked {
            from,
            administrator: &administrator.user.id,
            user,
            client_id: &grant.client_id,
            grant: &grant.name,
        }
        .emit();
    }
    pages.to_user(user)
}

/// `GET /console/administration/end`: asks before the access of a user ends.
pub(super) async fn confirm(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Query(query): Query,
    headers: HeaderMap,
) -> Response {
    pages.answer(&from, ask(&pages, &headers, &query))
}

fn ask(pages: &Pages, headers: &HeaderMap, query: &Form) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let Some(administrator) = pages.user_session(headers, now) else {
        return pages.sign_in_for(paths::ADMINISTRATION, now);
    };
    pages.require_administrator(&administrator)?;
    let user = wanted(pages, query)?;
    page(
        StatusCode::OK,
        &EndUser {
            frame: &pages.frame,
            navigation: pages.navigation_below(&administrator, NavigationPage::Administration)?,
            name: text::name(&user.name, &user.id),
            is_self: user.id == administrator.user.id,
            agents: pages.active_grants(&user.id, now).len(),
            back: super::query(&[("user", user.id.as_str())]),
            id: &user.id,
            csrf_token: pages.csrf_token(Action::Administer, &administrator.session)?,
        },
    )
}

/// `POST /console/administration/end`: ends the access of a user.
pub(super) async fn end(
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
    let administrator = pages.administrator_of(form, headers, now)?;
    let user = wanted(pages, form)?;
    pages.server.end_user(&user, from, now).await.map_err(|error| ErrorPage::grants(&error))?;
    Event::AdministrationUserEnded { from, administrator: &administrator.user.id, user: &user.id }.emit();
    pages.to_user(&user.id)
}

/// The user that a form or a query names.
fn wanted(pages: &Pages, form: &Form) -> Result<GrantUser, ErrorPage> {
    let id = required(form, "user")?;
    let user = pages.known_user(id).ok_or_else(|| {
        let happened = "This endpoint knows no user of this id. Nothing was done.";
        ErrorPage::new(StatusCode::NOT_FOUND, "unknown_user", "There is no such user", happened)
            .todo("Compare the id: it is the name of a login, a colon and the id there, such as local:ada.")
            .link(format!("{}{}", pages.base(), paths::ADMINISTRATION), "All users")
    })?;
    // The account that records it needs a name.
    let name = if user.name.is_empty() { user.id.chars().take(256).collect() } else { user.name };
    Ok(GrantUser { name, ..user })
}

/// A field that the forms of these pages have.
pub(super) fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, ErrorPage> {
    form.field(name).ok_or_else(|| ErrorPage::bad_form(StatusCode::BAD_REQUEST, "missing_field"))
}
