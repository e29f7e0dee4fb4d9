//! Connected agents: what a user allowed, and taking it back.

use crate::{
    Pages,
    error_page::ErrorPage,
    forms::{Action, Form},
    navigation::NavigationPage,
    page, paths, see_other,
    text::{self, When},
    view::{self, ActiveGrant, EndedGrant},
};
use axum::{Extension, extract::State, response::Response};
use futures::future::join_all;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use portcullis_core::grant::RevocationReason;
use portcullis_oauth::{
    client::{Client, Origin},
    grant::{Grant, GrantLookup},
};
use portcullis_telemetry::audit::{Event, RequestContext};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How long finding out what clients are called may take: some of them say it elsewhere.
const NAMES_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /agents`.
pub(crate) async fn get(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    headers: HeaderMap,
) -> Response {
    pages.answer(&from, list(&pages, &headers).await)
}

async fn list(pages: &Pages, headers: &HeaderMap) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let Some(user) = pages.user_session(headers, now) else {
        return see_other(&format!("{}{}", pages.base(), paths::LOGIN));
    };
    let mut grants = pages.server.grants().of_user(&user.user.id);
    grants.sort_by_key(|grant| std::cmp::Reverse((grant.last_used.unwrap_or(grant.created_at), grant.name.clone())));
    let clients = clients(pages, grants.iter().map(|grant| &*grant.client_id).collect(), now).await;
    let (active, ended): (Vec<_>, Vec<_>) = grants.iter().partition(|grant| pages.server.counts(grant, now));
    let client = |grant: &Grant| clients.get(&grant.client_id).and_then(Option::as_deref);
    page(
        StatusCode::OK,
        &view::Agents {
            frame: &pages.frame,
            navigation: pages.navigation(&user, NavigationPage::Agents)?,
            active: active.into_iter().map(|grant| described(grant, client(grant), now)).collect(),
            ended: ended
                .into_iter()
                .map(|grant| EndedGrant {
                    client: called(grant, client(grant)),
                    why: why(ended_for(grant, pages, now)),
                })
                .collect(),
            has_activity: pages.has_console() && pages.workspaces_for("list_workspaces").is_ok(),
            resource: &pages.url.resource(),
            revoke: pages.csrf_token(Action::Revoke, &user.session)?,
            sign_out_everywhere: pages.csrf_token(Action::SignOutEverywhere, &user.session)?,
        },
    )
}

/// The clients with these ids; `None` for those that cannot be found.
pub(crate) async fn clients(
    pages: &Pages,
    ids: BTreeSet<&str>,
    now: Timestamp,
) -> BTreeMap<String, Option<Arc<Client>>> {
    let find = async |id: &str| {
        let found = tokio::time::timeout(NAMES_TIMEOUT, pages.server.directory().find(id, now)).await;
        (id.to_owned(), found.ok().and_then(Result::ok))
    };
    join_all(ids.into_iter().map(find)).await.into_iter().collect()
}

fn called(grant: &Grant, client: Option<&Client>) -> String {
    text::name(client.map_or("", |client| &client.verifier.display_name), &grant.client_id)
}

pub(crate) fn described(grant: &Grant, client: Option<&Client>, now: Timestamp) -> ActiveGrant {
    let note = match client.map(|client| &client.origin) {
        Some(Origin::Configured) => None,
        Some(Origin::Document { host }) => Some(format!("Describes itself at {host}.")),
        Some(Origin::Registered { .. }) => Some("Registered itself; nobody checked it.".to_owned()),
        None => Some("It is no longer a client of this endpoint, or cannot be looked up at the moment.".to_owned()),
    };
    ActiveGrant {
        name: grant.name.clone(),
        client: called(grant, client),
        note,
        scopes: grant.scopes.iter().map(|scope| text::scope(*scope).title).collect(),
        since: When::new(grant.created_at, now),
        last_used: grant.last_used.map(|used| When::new(used, now)),
        expires: When::new(grant.expires_at, now),
    }
}

/// Why a grant ended. One whose user's access ended is marked a moment later.
fn ended_for(grant: &Grant, pages: &Pages, now: Timestamp) -> Option<RevocationReason> {
    let unmarked = || {
        let ended = pages.server.ended(&grant.user.id, grant.signed_in_at).filter(|_| grant.is_active(now))?;
        Some(ended.revocation())
    };
    grant.revoked.or_else(unmarked)
}

const fn why(revoked: Option<RevocationReason>) -> &'static str {
    match revoked {
        None => "has expired.",
        Some(RevocationReason::ByUser) => "– you revoked its access.",
        Some(RevocationReason::ByClient) => "signed itself out.",
        Some(RevocationReason::UserDisabled) => "ended when an administrator disabled your account.",
        Some(RevocationReason::UserEnded) => {
            "ended when an administrator ended your access. Connect it again if you need it."
        }
        Some(RevocationReason::Superseded) => "was connected more than 20 times; this was its oldest connection.",
        Some(RevocationReason::PasswordChanged) => "was disconnected: your password changed. Connect it again.",
        Some(RevocationReason::ProviderRefused) => {
            "was disconnected: your account no longer has access. Sign in again."
        }
        Some(RevocationReason::SignInTooOld) => "ended: you signed in too long ago. Connect it again.",
        Some(RevocationReason::NotAllowed) => "was disconnected: you may no longer use this endpoint.",
        Some(RevocationReason::CodeReplayed | RevocationReason::RefreshTokenReplayed) => {
            "was disconnected: one of its credentials was used twice, so it may have leaked. Connect it again if you trust it."
        }
    }
}

/// `POST /agents/revoke`.
pub(crate) async fn revoke(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    pages.answer(&from, take_back(&pages, &from, &headers, &form).await)
}

async fn take_back(
    pages: &Pages,
    from: &RequestContext,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let user = pages.user_of_form(form, Action::Revoke, headers, now)?.user;
    let name = form.field("grant").ok_or_else(|| ErrorPage::bad_form(StatusCode::BAD_REQUEST, "missing_field"))?;
    // Only the user's own. One that is gone by now is as the user wants it.
    let grants = pages.server.grants();
    if let GrantLookup::Present(grant) = grants.find(name)
        && grant.user.id == user.id
    {
        let revoked = grants.revoke(name, RevocationReason::ByUser, now).await;
        revoked.map_err(|error| ErrorPage::grants(&error))?;
        Event::GrantRevoked {
            from,
            client_id: &grant.client_id,
            user: Some(&user.id),
            grant: &grant.name,
            reason: RevocationReason::ByUser,
        }
        .emit();
    }
    see_other(&format!("{}{}", pages.base(), paths::AGENTS))
}
