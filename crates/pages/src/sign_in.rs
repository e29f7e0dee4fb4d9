//! Signing in and out: by a password, or at a provider and back (RFC 6749 §4.1, seen from the other side).

use crate::{
    Pages,
    authorize::Target,
    error_page::ErrorPage,
    forms::{self, Action, Form},
    page, paths, see_other,
    session::Session,
    text,
    view::{self, InputProblem},
};
use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::Response,
};
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use portcullis_core::rng;
use portcullis_identity::{LoginKind, Pending, SignInError, SignedIn};
use portcullis_oauth::seal::Purpose;
use portcullis_telemetry::audit::{Event, RequestContext};
use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// The `state` of a sign-in at a provider.
#[derive(Serialize, Deserialize)]
struct Underway {
    browser: String,
    pending: Pending,
    target: Target,
}

/// What did not work with the form.
struct Failed<'a> {
    login: &'a str,
    user: &'a str,
    error: SignInError,
}

/// `GET /login`.
pub(crate) async fn get(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    pages.answer(&from, show(&pages, &headers, query.field("continue"), None))
}

fn show(
    pages: &Pages,
    headers: &HeaderMap,
    continues: Option<&str>,
    failed: Option<&Failed<'_>>,
) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let target = pages.open_target(continues, now)?;
    let logins = pages.logins_or(|| {
        let happened = "This endpoint has no usable sign-in method.";
        ErrorPage::no_usable_login(&pages.frame.endpoint, happened)
    })?;
    let (passwords, providers) = logins.into_iter().partition(|login| login.kind == LoginKind::Password);
    let (session, cookie) = pages.any_session(headers, now)?;
    let error_page = failed.map(|failed| ErrorPage::sign_in(&failed.error));
    let template = view::SignIn {
        frame: &pages.frame,
        client: match &target {
            Target::Authorize { client, .. } => Some(client.clone()),
            Target::Agents | Target::Page { .. } => None,
        },
        signed_in: session.user.as_ref().map(|user| text::name(&user.name, &user.id)),
        again: target.is_authorize() && pages.reauthentication(&session, now).is_some(),
        problem: failed.map(|failed| InputProblem {
            title: failed.error.title(),
            message: text::sentence(&failed.error.to_string()),
        }),
        failed: failed.map(|failed| failed.login),
        user: failed.map_or("", |failed| failed.user),
        passwords,
        providers,
        csrf_token: pages.csrf_token(Action::SignIn, &session)?,
        target: continues,
    };
    let mut response = page(error_page.as_ref().map_or(StatusCode::OK, |error_page| error_page.status), &template)?;
    if let Some(wait) = error_page.and_then(|error_page| error_page.retry_after) {
        response.headers_mut().insert(header::RETRY_AFTER, wait.into());
    }
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `POST /login`: a user name and a password.
pub(crate) async fn post(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    pages.answer(&from, password(&pages, &from, &headers, &form).await)
}

async fn password(
    pages: &Pages,
    from: &RequestContext,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let continues = form.field("continue");
    let target = pages.open_target(continues, now);
    let session = pages.session(headers, now);
    pages.check_form(form, Action::SignIn, headers, session.as_ref(), now).map_err(|error_page| match continues {
        // The page can be made anew.
        Some(continues) if target.is_ok() => {
            error_page.link(format!("{}{}?continue={continues}", pages.base(), paths::LOGIN), "Sign in again")
        }
        _ => error_page.link(format!("{}{}", pages.base(), paths::LOGIN), "Sign in again"),
    })?;
    let target = target?;
    let fields = (form.field("login"), form.field("user"), form.field("password"));
    let (Some(login), Some(user), Some(password)) = fields else {
        return Err(ErrorPage::bad_form(StatusCode::BAD_REQUEST, "missing_field"));
    };
    let address = from.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    match pages.logins.check_password(login, user, password.to_owned(), address, now).await {
        Ok(signed_in) => welcome(pages, signed_in, &target, login, from).await,
        Err(error) => {
            // An unknown name may be a password in the wrong field.
            let id = format!("{login}:{user}");
            refused(from, &error, login, pages.logins.still_known(&id).then_some(&*id));
            show(pages, headers, continues, Some(&Failed { login, user, error }))
        }
    }
}

/// `GET /login/{name}`: on to the provider.
pub(crate) async fn begin(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    pages.answer(&from, leave(&pages, &name, query.field("continue"), &headers).await)
}

async fn leave(
    pages: &Pages,
    login: &str,
    continues: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let target = pages.open_target(continues, now)?;
    let (session, cookie) = pages.any_session(headers, now)?;
    let callback = callback_url(pages, login);
    let begun = pages.logins.begin(login, &callback, max_age(pages, login, &session, &target, now), &mut rng::rng());
    let begun = begun.await;
    let begun = begun.map_err(|error| another_try(pages, &error, &target, now))?;
    let location = {
        let underway = Underway { browser: session.browser, pending: begun.pending.clone(), target };
        let end = now.checked_add(forms::REQUEST_LIFETIME).map_err(|error| ErrorPage::internal(error.to_string()))?;
        let state = pages.sealer().seal(Purpose::Login, &underway, end, &mut rng::rng());
        begun.with_state(&state.map_err(|error| ErrorPage::internal(error.to_string()))?)
    };
    let mut response = see_other(&location)?;
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// How old the sign-in at the provider may be of a user whose session is too old for approving an agent.
fn max_age(pages: &Pages, login: &str, session: &Session, target: &Target, now: Timestamp) -> Option<SignedDuration> {
    let old = target.is_authorize() && pages.reauthentication(session, now)?.name == login;
    let (_, after) = pages.logins.reauthentication(&session.user.as_ref()?.id)?;
    old.then_some(after)
}

/// `GET /login/{name}/callback`: back from the provider.
pub(crate) async fn callback(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    pages.answer(&from, come_back(&pages, &from, &name, &query.unwrap_or_default(), &headers).await)
}

async fn come_back(
    pages: &Pages,
    from: &RequestContext,
    login: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let session = pages.session(headers, now);
    let underway = Form::parse(query.as_bytes())
        .field("state")
        .and_then(|state| pages.sealer().open::<Underway>(Purpose::Login, state, now).ok())
        .filter(|underway| underway.pending.login() == login)
        .filter(|underway| session.as_ref().is_some_and(|session| session.browser == underway.browser));
    let Some(underway) = underway else {
        let happened = "This browser did not start this sign-in, or started it too long ago. You are not signed in.";
        let known = pages.has_login(login);
        Event::SignInRefused { from, login: known.then_some(login), user: None, reason: "not_begun_here" }.emit();
        return Err(ErrorPage::new(
            StatusCode::BAD_REQUEST,
            "not_begun_here",
            "This sign-in cannot be completed",
            happened,
        )
        .todo("Start again. If an agent sent you, start again there. If you did not start to sign in, close this page.")
        .link(format!("{}{}", pages.base(), paths::LOGIN), "Sign in"));
    };
    match pages.logins.finish(&underway.pending, query, &callback_url(pages, login), now).await {
        Ok(signed_in) => welcome(pages, signed_in, &underway.target, login, from).await,
        Err(error) => {
            refused(from, &error, login, None);
            Err(another_try(pages, &error, &underway.target, now))
        }
    }
}

/// What a provider is told to send browsers back to.
fn callback_url(pages: &Pages, login: &str) -> String {
    pages.url.issuer_url(&format!("{}/{login}/callback", paths::LOGIN))
}

/// Why it did not work at a provider, with the way back to the choice.
fn another_try(pages: &Pages, error: &SignInError, target: &Target, now: Timestamp) -> ErrorPage {
    let way = match target {
        Target::Agents => Ok(format!("{}{}", pages.base(), paths::LOGIN)),
        Target::Authorize { .. } | Target::Page { .. } => {
            pages.seal_target(target, now).map(|sealed| format!("{}{}?continue={sealed}", pages.base(), paths::LOGIN))
        }
    };
    match way {
        Ok(href) => ErrorPage::sign_in(error).link(href, "Choose how to sign in"),
        Err(error_page) => error_page,
    }
}

/// A new session, whatever the browser had before.
async fn welcome(
    pages: &Pages,
    signed_in: SignedIn,
    target: &Target,
    login: &str,
    from: &RequestContext,
) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let user = &signed_in.user;
    if let Some(ended) = pages.server.ended(&user.id, now) {
        Event::SignInRefused { from, login: Some(login), user: Some(&user.id), reason: ended.reason() }.emit();
        return Err(pages.user_ended(ended, user));
    }
    let SignedIn { evidence, token, session, .. } = &signed_in;
    pages.server.note_sign_in(user, evidence, token.as_ref(), session.as_deref(), now, &mut rng::rng()).await;
    Event::UserSignedIn { from, login, user: &user.id }.emit();
    let session = Session::begin(Some(signed_in), now, &mut rng::rng());
    let mut response = see_other(&target.location(pages.base()))?;
    response.headers_mut().insert(header::SET_COOKIE, pages.give(&session)?);
    Ok(response)
}

/// Only names that exist are recorded: others may be misplaced secrets.
fn refused(from: &RequestContext, error: &SignInError, login: &str, user: Option<&str>) {
    let login = (!matches!(error, SignInError::UnknownLogin)).then_some(login);
    Event::SignInRefused { from, login, user, reason: error.reason() }.emit();
}

/// `POST /logout`.
pub(crate) async fn sign_out(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    pages.answer(&from, end_session(&pages, &from, &headers, &form))
}

fn end_session(pages: &Pages, from: &RequestContext, headers: &HeaderMap, form: &Form) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let session = pages.session(headers, now);
    // Who is signed out already may reload the page that says so.
    if let Some(user) = session.as_ref().and_then(|session| session.user.as_ref()) {
        pages.check_form(form, Action::SignOut, headers, session.as_ref(), now)?;
        Event::UserSignedOut { from, user: &user.id }.emit();
    }
    let link =
        super::error_page::Link { href: format!("{}{}", pages.base(), paths::LOGIN), label: "Sign in again".into() };
    let mut response = page(
        StatusCode::OK,
        &view::Message {
            frame: &pages.frame,
            title: "You are signed out",
            happened: "You are signed out in this browser. Agents that you connected keep their access.",
            todo: Some(
                "To revoke an agent's access, sign in and choose Revoke access. On a shared computer, sign out at your provider too.",
            ),
            link: Some(&link),
            reference: None,
        },
    )?;
    let cookie = pages.cookie.clear().map_err(|error| ErrorPage::internal(error.to_string()))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}
