//! The signed-in user of a request, and the redirect to the sign-in page for all others.

use crate::{
    Pages,
    authorize::Target,
    error_page::ErrorPage,
    forms::{Action, Form},
    paths, see_other,
    session::Session,
};
use axum::response::Response;
use http::HeaderMap;
use jiff::Timestamp;
use portcullis_core::grant::GrantUser;
use portcullis_workspaces::Owner;

/// A session with its user.
#[derive(Clone, Debug)]
pub(crate) struct UserSession {
    /// The session.
    pub session: Session,
    /// Its user.
    pub user: GrantUser,
}

impl UserSession {
    /// The user as the owner of workspaces: the same one as for tools, whose tokens have the user's id as `sub`.
    pub(crate) fn owner(&self) -> Owner {
        Owner { id: self.user.id.clone(), name: self.user.name.clone() }
    }
}

impl Pages {
    /// The signed-in user of a request.
    pub(crate) fn user_session(&self, headers: &HeaderMap, now: Timestamp) -> Option<UserSession> {
        let session = self.session(headers, now)?;
        let user = session.user.clone()?;
        Some(UserSession { session, user })
    }

    /// The signed-in user who sent a form of these pages.
    pub(crate) fn user_of_form(
        &self,
        form: &Form,
        action: Action,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<UserSession, ErrorPage> {
        let session = self.session(headers, now);
        self.check_form(form, action, headers, session.as_ref(), now)?;
        let user = session.and_then(|session| Some(UserSession { user: session.user.clone()?, session }));
        user.ok_or_else(|| ErrorPage::signed_out(self.base()))
    }

    /// Redirects to the sign-in page, and from there to `path`, a page below the issuer's path.
    pub(crate) fn sign_in_for(&self, path: &str, now: Timestamp) -> Result<Response, ErrorPage> {
        let sealed = self.seal_target(&Target::Page { path: path.to_owned() }, now)?;
        see_other(&format!("{}{}?continue={sealed}", self.base(), paths::LOGIN))
    }
}
