//! The consent page: the client, the user, the scopes, and the redirect target. It is shown for every request, with the
//! scopes of the earlier consent, so that a new consent adds to it.

use crate::{
    Pages,
    error_page::ErrorPage,
    forms::{self, Action, Form},
    headers, page, see_other,
    session::Session,
    text,
    user_session::UserSession,
    view::{self, Provenance, ScopeLine},
};
use axum::{Extension, extract::State, response::Response};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use portcullis_core::{Scope, grant::GrantUser, rng};
use portcullis_oauth::{ApproveError, Approver, AuthorizationRequest, ConsentTicket, client::Origin, seal::Purpose};
use portcullis_telemetry::audit::{Event, RequestContext};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// The sealed content of the form, bound to the user and the request.
#[derive(Serialize, Deserialize)]
struct ConsentForm {
    user: String,
    request: AuthorizationRequest,
    /// Absent on pages of an older server.
    #[serde(default)]
    ticket: Option<ConsentTicket>,
    /// Where to continue after signing in as another user.
    again: String,
}

/// The page.
pub(crate) fn ask(
    pages: &Pages,
    session: &Session,
    user: &GrantUser,
    request: &AuthorizationRequest,
    again: String,
    now: Timestamp,
) -> Result<Response, ErrorPage> {
    let ticket = Some(ConsentTicket::new(&mut rng::rng()));
    let asked = ConsentForm { user: user.id.clone(), request: request.clone(), ticket, again };
    show(pages, session, user, &asked, false, now)
}

fn show(
    pages: &Pages,
    session: &Session,
    user: &GrantUser,
    asked: &ConsentForm,
    problem: bool,
    now: Timestamp,
) -> Result<Response, ErrorPage> {
    let ConsentForm { request, again, .. } = asked;
    let before = pages.server.already_granted(&user.id, &request.client_id, now);
    let line = |scope: Scope| ScopeLine {
        scope,
        words: text::scope(scope),
        checked: !problem,
        before: before.contains(&scope),
    };
    let end = request
        .created_at
        .checked_add(forms::REQUEST_LIFETIME)
        .map_err(|error| ErrorPage::internal(error.to_string()))?;
    let sealed = pages.sealer().seal(Purpose::Consent, asked, end, &mut rng::rng());
    let template = view::Consent {
        frame: &pages.frame,
        client: text::name(&request.client_name, &request.client_id),
        origin: match &request.origin {
            Origin::Configured => Provenance::Configured,
            Origin::Document { host } => Provenance::Document { host: host.clone() },
            Origin::Registered { .. } => Provenance::Registered,
        },
        user: text::name(&user.name, &user.id),
        unconfined: pages.is_unconfined(),
        scopes: Scope::ALL
            .into_iter()
            .filter(|scope| request.scopes.contains(scope) || before.contains(scope))
            .map(line)
            .collect(),
        lifetime: &pages.lifetime,
        destination: text::destination(&request.redirect_uri),
        redirect_uri: &request.redirect_uri,
        problem,
        csrf_token: pages.csrf_token(Action::Consent, session)?,
        request: sealed.map_err(|error| ErrorPage::internal(error.to_string()))?,
        switch: again.clone(),
    };
    let status = if problem { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let mut response = page(status, &template)?;
    let policy = headers::consent_policy(&request.redirect_uri);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// `POST /consent`.
pub(crate) async fn post(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    pages.answer(&from, decide(&pages, &from, &headers, &form))
}

fn decide(pages: &Pages, from: &RequestContext, headers: &HeaderMap, form: &Form) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let UserSession { session, user } = &pages.user_of_form(form, Action::Consent, headers, now)?;
    let asked = form.field("request").and_then(|sealed| pages.sealer().open(Purpose::Consent, sealed, now).ok());
    let asked: ConsentForm = asked.filter(|asked: &ConsentForm| asked.user == user.id).ok_or_else(ErrorPage::stale)?;
    let request = &asked.request;
    let (client_id, user_id) = (&request.client_id, &user.id);
    let location = match form.field("decision") {
        Some("deny") => {
            Event::ConsentDenied { from, client_id, user: user_id, scopes: &request.scopes }.emit();
            pages.server.refuse(request, "access_denied", "the user denied the request")
        }
        Some("allow") => {
            if let Some(login) = pages.reauthentication(session, now) {
                // No redirect: the page's policy would keep the form from leading to a provider.
                return Err(ErrorPage::sign_in_again().link(pages.sign_in_again(&login, &asked.again), "Sign in again"));
            }
            let chosen: Result<BTreeSet<Scope>, _> = form.all("scope").map(str::parse).collect();
            let chosen = chosen.map_err(|_| ErrorPage::bad_form(StatusCode::BAD_REQUEST, "unknown_scope"))?;
            let ticket = asked.ticket.clone().unwrap_or_else(|| ConsentTicket::new(&mut rng::rng()));
            let who = Approver { user, since: session.since, evidence: session.evidence.as_ref() };
            match pages.server.approve(request, who, &chosen, &ticket, now, &mut rng::rng()) {
                Ok(location) => {
                    Event::ConsentGiven { from, client_id, user: user_id, scopes: &chosen }.emit();
                    location
                }
                Err(ApproveError::Nothing) => return show(pages, session, user, &asked, true, now),
                // What was allowed before may have ended while the page was open.
                Err(ApproveError::Beyond) => return Err(ErrorPage::stale()),
                Err(ApproveError::Answered) => return Err(ErrorPage::answered(pages.base())),
                Err(error @ ApproveError::Seal(_)) => return Err(ErrorPage::internal(error.to_string())),
            }
        }
        _ => return Err(ErrorPage::bad_form(StatusCode::BAD_REQUEST, "no_decision")),
    };
    see_other(&location)
}
