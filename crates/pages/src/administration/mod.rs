//! Administration of the endpoint: all users with their agents, the end of a user's access, and all workspaces. For the users
//! of `console.administrators`. For all others there are no such pages.

mod access;
mod users;
mod view;
mod workspaces;

use crate::{
    Pages,
    error_page::ErrorPage,
    forms::{Action, Form},
    paths, see_other,
    user_session::UserSession,
};
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use http::HeaderMap;
use jiff::Timestamp;
use std::sync::Arc;
use url::form_urlencoded;

/// The routes, below `path`.
pub(crate) fn router(path: &str) -> Router<Arc<Pages>> {
    let below = |name: &str| format!("{path}/{name}");
    Router::new()
        .without_v07_checks()
        .route(path, get(users::get))
        .route(&below("revoke"), post(access::revoke))
        .route(&below("end"), get(access::confirm).post(access::end))
        .route(&below("workspaces"), get(workspaces::get))
        .route(&below("workspaces/stop"), post(workspaces::stop))
        .route(&below("workspaces/delete"), get(workspaces::confirm).post(workspaces::delete))
}

impl Pages {
    /// Whether the user is an administrator now. What a provider said of the user after the sign-in counts more than what it
    /// said then.
    pub(crate) fn is_administrator(&self, user: &UserSession) -> bool {
        let UserSession { session, user } = user;
        let checked = self.server.checked_evidence(&user.id, session.since);
        self.logins.is_administrator(&user.id, checked.as_ref().or(session.evidence.as_ref()))
    }

    fn require_administrator(&self, user: &UserSession) -> Result<(), ErrorPage> {
        if self.is_administrator(user) { Ok(()) } else { Err(ErrorPage::not_found()) }
    }

    /// The administrator who sent a form.
    fn administrator_of(&self, form: &Form, headers: &HeaderMap, now: Timestamp) -> Result<UserSession, ErrorPage> {
        let user = self.user_of_form(form, Action::Administer, headers, now)?;
        self.require_administrator(&user)?;
        Ok(user)
    }

    /// Redirects to the page of one user.
    fn to_user(&self, id: &str) -> Result<Response, ErrorPage> {
        see_other(&format!("{}{}?{}", self.base(), paths::ADMINISTRATION, query(&[("user", id)])))
    }
}

/// A query for a link.
fn query(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}
