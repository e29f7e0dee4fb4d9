//! Forms: read up to a limit and a timeout, and protected against cross-site request forgery.
//!
//! A form is accepted if the browser reports that it comes from one of these pages (`Sec-Fetch-Site`, `Origin`), and if it
//! has a CSRF token that was sealed for this browser's session. The sign-in form has one too, against login CSRF (RFC 6749
//! §10.12).

use crate::{Pages, error_page::ErrorPage, session::Session, workspaces::WorkspaceChange};
use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
    response::Response,
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use jiff::{SignedDuration, Timestamp};
use portcullis_core::media_type;
use portcullis_oauth::seal::{Purpose, SealError, Sealer};
use portcullis_telemetry::audit::RequestContext;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, convert::Infallible, sync::Arc, time::Duration};
use url::form_urlencoded;

/// The maximum size of a form.
const MAX_FORM: usize = 16 << 10;
/// The time limit for receiving a form.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// What a form does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    /// Signs in with a password.
    SignIn,
    /// Answers an agent's request.
    Consent,
    /// Takes an agent's access back.
    Revoke,
    /// Signs out.
    SignOut,
    /// Signs out in every browser, and ends the access of all agents.
    SignOutEverywhere,
    /// Changes a workspace.
    ChangeWorkspace(WorkspaceChange),
    /// Does what administrators do about other users and their workspaces.
    Administer,
}

#[derive(Serialize, Deserialize)]
struct CsrfToken<'a> {
    browser: Cow<'a, str>,
    action: Action,
}

/// Creates the CSRF token for one form of this browser. It is valid as long as the session.
pub(crate) fn csrf_token(
    action: Action,
    session: &Session,
    sealer: &Sealer,
    rng: &mut dyn CryptoRng,
) -> Result<String, SealError> {
    let end = session.since.checked_add(super::session::LIFETIME).map_err(|_| SealError::Expired)?;
    sealer.seal(Purpose::Form, &CsrfToken { browser: Cow::Borrowed(&session.browser), action }, end, rng)
}

/// Why a form fails the CSRF check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CsrfError {
    /// The browser reports that another site sent the form.
    #[error("the form was sent from another site")]
    OtherSite,
    /// The browser has no session: it rejects cookies, or never loaded the form.
    #[error("the form came without the cookie of its page")]
    NoSession,
    /// The token is for another browser or another action, or has expired.
    #[error("the form was not made for this browser's session")]
    NotForThis,
}

impl CsrfError {
    /// One word, for the audit.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::OtherSite => "other_site",
            Self::NoSession => "no_session",
            Self::NotForThis => "not_for_this_session",
        }
    }
}

/// The fields of a form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a query or a body.
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// Reads a request's body.
    pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, ErrorPage> {
        Self::read_within(FORM_TIMEOUT, headers, body).await
    }

    async fn read_within(timeout: Duration, headers: &HeaderMap, body: Body) -> Result<Self, ErrorPage> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !media_type::is(content_type, FORM_TYPE) {
            return Err(ErrorPage::bad_form(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_a_form"));
        }
        let too_large = || ErrorPage::bad_form(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
        if body.size_hint().lower() > MAX_FORM as u64 {
            return Err(too_large());
        }
        match tokio::time::timeout(timeout, Limited::new(body, MAX_FORM).collect()).await {
            Ok(Ok(collected)) => Ok(Self::parse(&collected.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(ErrorPage::bad_form(StatusCode::BAD_REQUEST, "unreadable")),
            Err(_) => Err(ErrorPage::bad_form(StatusCode::REQUEST_TIMEOUT, "timeout")),
        }
    }

    /// The value of a field that occurs once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.all(name);
        found.next().filter(|_| found.next().is_none())
    }

    /// All values of a field.
    pub(crate) fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| &**value)
    }

    /// The fields as a query.
    pub(crate) fn to_query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// Checks the CSRF token for `action`, and that the browser of `session` sent the form from a page at `origin`.
    pub(crate) fn check(
        &self,
        action: Action,
        headers: &HeaderMap,
        origin: &str,
        session: Option<&Session>,
        sealer: &Sealer,
        now: Timestamp,
    ) -> Result<(), CsrfError> {
        same_origin(headers, origin)?;
        let session = session.ok_or(CsrfError::NoSession)?;
        let csrf_token: CsrfToken<'_> = self
            .field("form")
            .and_then(|sealed| sealer.open(Purpose::Form, sealed, now).ok())
            .ok_or(CsrfError::NotForThis)?;
        if csrf_token.browser == session.browser && csrf_token.action == action {
            Ok(())
        } else {
            Err(CsrfError::NotForThis)
        }
    }
}

/// The body of a request. A body that is not a form is answered with an error page.
impl FromRequest<Arc<Pages>> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, pages: &Arc<Pages>) -> Result<Self, Response> {
        let from = RequestContext::of(request.extensions());
        let (parts, body) = request.into_parts();
        Self::read(&parts.headers, body).await.map_err(|error_page| pages.show(&from, &error_page))
    }
}

/// The query of a request, as a form.
pub(crate) struct Query(pub Form);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(Form::parse(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// Checks the origin that the browser reports. Programs other than browsers report none, and have no user's cookie.
pub(crate) fn same_origin(headers: &HeaderMap, origin: &str) -> Result<(), CsrfError> {
    let all = |name, allowed: &dyn Fn(&str) -> bool| {
        headers.get_all(name).iter().all(|value| value.to_str().is_ok_and(allowed))
    };
    // `none` is a person's own doing, such as a reload.
    let fetch = all(http::HeaderName::from_static("sec-fetch-site"), &|site| site == "same-origin" || site == "none");
    if fetch && all(header::ORIGIN, &|from| from == origin) { Ok(()) } else { Err(CsrfError::OtherSite) }
}

/// The lifetime of a request that waits for its user.
pub(crate) const REQUEST_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use portcullis_config::SigningKeys;
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    const OWN: &str = "https://mcp.example.com";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_pages_of_ours_may_send_forms() {
        for (pairs, allowed) in [
            (&[][..], true),
            (&[("origin", OWN)], true),
            (&[("origin", OWN), ("sec-fetch-site", "same-origin")], true),
            (&[("origin", OWN), ("sec-fetch-site", "none")], true),
            (&[("origin", "null")], false),
            (&[("origin", "https://evil.test")], false),
            (&[("origin", "http://mcp.example.com")], false),
            (&[("origin", "https://mcp.example.com.evil.test")], false),
            (&[("origin", OWN), ("origin", "https://evil.test")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("origin", OWN), ("sec-fetch-site", "cross-site")], false),
        ] {
            let pairs: HeaderMap = {
                let mut map = HeaderMap::new();
                for (name, value) in pairs {
                    map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
                }
                map
            };
            assert_eq!(same_origin(&pairs, OWN).is_ok(), allowed, "{pairs:?}");
        }
    }

    #[test]
    fn a_ticket_is_for_one_browser_one_action_and_one_session() {
        let mut rng = StdRng::seed_from_u64(1);
        let sealer = Sealer::new(&SigningKeys::generate(at(0), &mut rng).unwrap()).unwrap();
        let mine = Session::begin(None, at(0), &mut rng);
        let other = Session::begin(None, at(0), &mut rng);
        let text = csrf_token(Action::Consent, &mine, &sealer, &mut rng).unwrap();
        let form = Form::parse(format!("form={text}").as_bytes());
        let check = |form: &Form, action, session: Option<&Session>, now| {
            form.check(action, &headers(&[("origin", OWN)]), OWN, session, &sealer, at(now))
        };
        assert_eq!(check(&form, Action::Consent, Some(&mine), 12 * 3600 - 1), Ok(()));
        assert_eq!(check(&form, Action::Consent, Some(&mine), 12 * 3600), Err(CsrfError::NotForThis));
        assert_eq!(check(&form, Action::SignOut, Some(&mine), 1), Err(CsrfError::NotForThis));
        assert_eq!(check(&form, Action::Consent, Some(&other), 1), Err(CsrfError::NotForThis));
        assert_eq!(check(&form, Action::Consent, None, 1), Err(CsrfError::NoSession));
        for broken in [String::new(), "form=".to_owned(), format!("form={text}&form={text}")] {
            let form = Form::parse(broken.as_bytes());
            assert_eq!(check(&form, Action::Consent, Some(&mine), 1), Err(CsrfError::NotForThis), "{broken}");
        }
        let cross = form.check(Action::Consent, &headers(&[("origin", "null")]), OWN, Some(&mine), &sealer, at(1));
        assert_eq!(cross, Err(CsrfError::OtherSite));
    }

    #[tokio::test]
    async fn forms_are_read_up_to_the_limit() {
        let form_type = headers(&[("content-type", "application/x-www-form-urlencoded; charset=UTF-8")]);
        let form = Form::read(&form_type, Body::from("a=1&b=x%20y&b=z&c")).await.map_err(|_| ()).unwrap();
        assert_eq!(
            (form.field("a"), form.field("b"), form.field("c"), form.field("d")),
            (Some("1"), None, Some(""), None)
        );
        assert_eq!(form.all("b").collect::<Vec<_>>(), ["x y", "z"]);
        assert_eq!(form.to_query(), "a=1&b=x+y&b=z&c=");

        for (headers, body, status) in [
            (form_type.clone(), "a".repeat(MAX_FORM + 1), 413),
            (headers(&[("content-type", "application/json")]), "{}".to_owned(), 415),
            (headers(&[]), String::new(), 415),
        ] {
            let error_page = Form::read(&headers, Body::from(body)).await.map(drop).unwrap_err();
            assert_eq!(error_page.status.as_u16(), status);
        }
        let endless = Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>("aaaaaaaa")));
        let error_page = Form::read(&form_type, endless).await.map(drop).unwrap_err();
        assert_eq!(error_page.status.as_u16(), 413);
    }

    #[tokio::test]
    async fn a_form_that_does_not_arrive_is_given_up() {
        let form_type = headers(&[("content-type", FORM_TYPE)]);
        let silent = Body::from_stream(futures::stream::pending::<Result<&'static str, std::io::Error>>());
        let error_page = Form::read_within(Duration::from_millis(5), &form_type, silent).await.map(drop).unwrap_err();
        assert_eq!(error_page.status.as_u16(), 408);
    }

    proptest! {
        #[test]
        fn no_form_that_was_made_up_counts(body in prop::collection::vec(any::<u8>(), 0..100), csrf_token in "[A-Za-z0-9_-]{0,150}") {
            let sealer = Sealer::new(&SigningKeys::generate(at(0), &mut StdRng::seed_from_u64(1)).unwrap()).unwrap();
            let session = Session::begin(None, at(0), &mut StdRng::seed_from_u64(1));
            let body = [&body[..], format!("&form={csrf_token}").as_bytes()].concat();
            let form = Form::parse(&body);
            let checked = form.check(Action::Consent, &HeaderMap::new(), OWN, Some(&session), &sealer, at(1));
            prop_assert_eq!(checked, Err(CsrfError::NotForThis));
        }
    }
}
