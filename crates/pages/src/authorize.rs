//! `/authorize`, to which agents send users (RFC 6749 §3.1). The request is checked first; then the user signs in, if
//! necessary, and gets the consent page.

use crate::{
    Pages, consent,
    error_page::ErrorPage,
    forms::{self, Form},
    paths, see_other, text,
};
use axum::{
    Extension,
    extract::{RawQuery, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use portcullis_core::rng;
use portcullis_identity::{LoginInfo, LoginKind};
use portcullis_oauth::{AuthorizationRequest, AuthorizeError, Prompt, seal::Purpose};
use portcullis_telemetry::audit::RequestContext;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use url::form_urlencoded;

/// Longer queries cannot be carried through signing in.
const MAX_QUERY: usize = 8 << 10;

/// Where to continue after signing in. Sealed, so that only these pages can choose it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// Back to an agent's request.
    Authorize {
        /// The request.
        query: String,
        /// What the agent is called.
        client: String,
    },
    /// To the connected agents.
    Agents,
    /// To another page of a signed-in user.
    Page {
        /// Its path, below the issuer's.
        path: String,
    },
}

impl Target {
    /// Whether an agent waits.
    pub(crate) const fn is_authorize(&self) -> bool {
        matches!(self, Self::Authorize { .. })
    }

    /// The path of the target.
    pub(crate) fn location(&self, base: &str) -> String {
        match self {
            Self::Authorize { query, .. } => format!("{base}{}?{query}", paths::AUTHORIZE),
            Self::Agents => format!("{base}{}", paths::AGENTS),
            Self::Page { path } => format!("{base}{path}"),
        }
    }
}

impl Pages {
    /// Seals where to go on.
    pub(super) fn seal_target(&self, target: &Target, now: Timestamp) -> Result<String, ErrorPage> {
        let end = now.checked_add(forms::REQUEST_LIFETIME).map_err(|error| ErrorPage::internal(error.to_string()))?;
        self.sealer()
            .seal(Purpose::Continue, target, end, &mut rng::rng())
            .map_err(|error| ErrorPage::internal(error.to_string()))
    }

    /// Opens it again.
    pub(super) fn open_target(&self, sealed: Option<&str>, now: Timestamp) -> Result<Target, ErrorPage> {
        match sealed {
            None => Ok(Target::Agents),
            Some(sealed) => self.sealer().open(Purpose::Continue, sealed, now).map_err(|_| ErrorPage::stale()),
        }
    }

    /// Where a user signs in again, to go on with the sealed target.
    pub(super) fn sign_in_again(&self, login: &LoginInfo, target: &str) -> String {
        let below = match login.kind {
            LoginKind::Password => String::new(),
            LoginKind::Redirect => format!("/{}", login.name),
        };
        format!("{}{}{below}?continue={target}", self.base(), paths::LOGIN)
    }

    /// There is no usable login. This is a page, and not the redirect of RFC 6749 §4.1.2.1: the client would only report a
    /// failure, while the user can correct the configuration or knows who can. The page links to the redirect with the error.
    fn no_usable_login(&self, request: &AuthorizationRequest) -> ErrorPage {
        let description = "users cannot sign in at this endpoint yet";
        let back = self.server.refuse(request, "temporarily_unavailable", description);
        let client = text::name(&request.client_name, &request.client_id);
        ErrorPage::no_usable_login(
            &self.frame.endpoint,
            format!("{client} wants to connect, but this endpoint has no usable sign-in method."),
        )
        .link(back, format!("Back to {client}"))
    }
}

/// `GET /authorize`.
pub(crate) async fn get(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    pages.answer(&from, ask(&pages, &query, &headers).await)
}

/// `POST /authorize`: the same as a query. The cookie does not come along from another site, but to the GET it does.
pub(crate) async fn post(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    form: Form,
) -> Response {
    let target = Target::Authorize { query: form.to_query(), client: String::new() };
    pages.answer(&from, see_other(&target.location(pages.base())))
}

async fn ask(pages: &Pages, query: &str, headers: &HeaderMap) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let request = match pages.server.check(query, now).await {
        Ok(request) => request,
        Err(AuthorizeError::Redirect(location)) => return see_other(&location),
        Err(AuthorizeError::Offer { message, location }) => {
            let title = "The agent's request is invalid";
            return Err(ErrorPage::new(StatusCode::BAD_REQUEST, "bad_request", title, text::sentence(&message))
                .todo("Tell the developers of the agent. It registered itself, so go back to it only if you know it.")
                .link(location, "Back to the agent"));
        }
        Err(AuthorizeError::Page { title, message }) => {
            return Err(ErrorPage::new(StatusCode::BAD_REQUEST, "bad_request", title, text::sentence(&message)).todo(
                "Go back to the agent and connect it again. If this persists, tell the administrator of this endpoint.",
            ));
        }
    };
    pages.logins_or(|| pages.no_usable_login(&request))?;
    if query.len() > MAX_QUERY {
        let happened = "The agent's request is too long for the sign-in.";
        return Err(ErrorPage::new(StatusCode::URI_TOO_LONG, "too_long", "This request is too long", happened)
            .todo("Tell the developers of the agent: the request has more than 8192 bytes."));
    }
    let client = text::name(&request.client_name, &request.client_id);
    let again = Target::Authorize { query: without_prompt(query), client };
    let again = pages.seal_target(&again, now)?;
    // Who was asked to sign in once more comes back without the prompt.
    let sign_in = matches!(request.prompt, Some(Prompt::Login | Prompt::SelectAccount));
    let session = pages.session(headers, now).filter(|_| !sign_in);
    match session.as_ref().and_then(|session| Some((session, session.user.as_ref()?))) {
        Some((session, user)) => match pages.reauthentication(session, now) {
            Some(login) => see_other(&pages.sign_in_again(&login, &again)),
            None => consent::ask(pages, session, user, &request, again, now),
        },
        None => see_other(&format!("{}{}?continue={again}", pages.base(), paths::LOGIN)),
    }
}

fn without_prompt(query: &str) -> String {
    let kept = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "prompt");
    form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_always_a_path_of_ours() {
        for query in ["a=b", "//evil.test", "@evil.test", "\\evil.test"] {
            let target = Target::Authorize { query: without_prompt(query), client: String::new() };
            assert!(target.location("/team").starts_with("/team/authorize?"), "{query}");
        }
        assert_eq!(Target::Agents.location(""), "/agents");
    }

    #[test]
    fn only_the_prompt_is_left_out() {
        let query = "client_id=a&prompt=login&scope=x+y&state=%26%3D%0D&prompt=none&resource=";
        assert_eq!(without_prompt(query), "client_id=a&scope=x+y&state=%26%3D%0D&resource=");
    }
}
