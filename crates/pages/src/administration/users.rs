//! `GET /console/administration`: one page of the users with their active agents, or one user.

use crate::{
    Pages,
    administration::{
        query,
        view::{UserCard, UserList},
    },
    agents,
    error_page::ErrorPage,
    forms::{Action, Form, Query},
    navigation::NavigationPage,
    page, paths, text,
};
use axum::{Extension, extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use portcullis_core::grant::GrantUser;
use portcullis_oauth::grant::Grant;
use portcullis_telemetry::audit::RequestContext;
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

/// How many users a page has.
const PAGE_SIZE: usize = 25;
/// How many agents of each user the list shows, and how many the page of one user.
const AGENTS_IN_LIST: usize = 10;
const AGENTS_OF_USER: usize = 500;
/// The maximum length of the id of a user, in bytes.
const MAX_ID: usize = 512;

/// See the module.
pub(super) async fn get(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Query(query): Query,
    headers: HeaderMap,
) -> Response {
    pages.answer(&from, list(&pages, &headers, &query).await)
}

async fn list(pages: &Pages, headers: &HeaderMap, asked: &Form) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let Some(user) = pages.user_session(headers, now) else {
        return pages.sign_in_for(paths::ADMINISTRATION, now);
    };
    pages.require_administrator(&user)?;
    let wanted = asked.field("user").map(str::trim).filter(|id| !id.is_empty());
    let after = asked.field("after").filter(|after| !after.is_empty());
    let (users, next, most) = if let Some(id) = wanted {
        (pages.known_user(id).into_iter().collect(), None, AGENTS_OF_USER)
    } else {
        let (users, next) = pages.users_after(after.unwrap_or_default(), now);
        (users, next, AGENTS_IN_LIST)
    };
    let grants: Vec<Vec<Arc<Grant>>> = users.iter().map(|user| pages.active_grants(&user.id, now)).collect();
    let shown: Vec<Arc<Grant>> = grants.iter().flat_map(|grants| grants.iter().take(most)).cloned().collect();
    let clients = agents::clients(pages, shown.iter().map(|grant| &*grant.client_id).collect(), now).await;
    let card = |(user, grants): (GrantUser, Vec<Arc<Grant>>)| UserCard {
        name: text::name(&user.name, &user.id),
        query: query(&[("user", user.id.as_str())]),
        more: grants.len().saturating_sub(most),
        agents: grants
            .iter()
            .take(most)
            .map(|grant| agents::described(grant, clients.get(&grant.client_id).and_then(Option::as_deref), now))
            .collect(),
        id: user.id,
    };
    let users = users.into_iter().zip(grants).map(card).collect();
    page(
        StatusCode::OK,
        &UserList {
            frame: &pages.frame,
            navigation: pages.navigation(&user, NavigationPage::Administration)?,
            users,
            wanted,
            first: wanted.is_none() && after.is_none(),
            next: next.map(|last| query(&[("after", last.as_str())])),
            has_workspaces: pages.workspaces_for("list_workspaces").is_ok(),
            csrf_token: pages.csrf_token(Action::Administer, &user.session)?,
        },
    )
}

impl Pages {
    /// One page of users, and the id after which the next one begins.
    fn users_after(&self, after: &str, now: Timestamp) -> (Vec<GrantUser>, Option<String>) {
        let local = self.logins.local_users(after, PAGE_SIZE + 1);
        let known = self.server.users(after, PAGE_SIZE + 1, now);
        let users: BTreeMap<String, GrantUser> =
            local.into_iter().chain(known).map(|user| (user.id.clone(), user)).collect();
        let more = users.len() > PAGE_SIZE;
        let users: Vec<GrantUser> = users.into_values().take(PAGE_SIZE).collect();
        let next = users.last().filter(|_| more).map(|last| last.id.clone());
        (users, next)
    }

    /// The user with this id, if there can be one.
    pub(super) fn known_user(&self, id: &str) -> Option<GrantUser> {
        let possible = || {
            let known = id.len() <= MAX_ID && self.logins.still_known(id);
            known.then(|| GrantUser { id: id.to_owned(), name: String::new() })
        };
        self.server.user(id).or_else(possible)
    }

    /// The grants of a user that are valid, the last used one first.
    pub(super) fn active_grants(&self, user_id: &str, now: Timestamp) -> Vec<Arc<Grant>> {
        let mut grants = self.server.grants().of_user(user_id);
        grants.retain(|grant| self.server.counts(grant, now));
        grants.sort_by_key(|grant| Reverse((grant.last_used.unwrap_or(grant.created_at), grant.name.clone())));
        grants
    }
}
