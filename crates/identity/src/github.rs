//! GitHub logins: the web flow of an OAuth app with PKCE, then the user's id, and the user's membership in an allowed
//! organization or team.
//!
//! <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>,
//! <https://docs.github.com/en/rest/orgs/members>, <https://docs.github.com/en/rest/teams/teams>.
//! The scope is `read:org`, which gives access to memberships but not to the content of repositories.

use crate::{
    error::SignInError,
    evidence,
    redirect::{Account, Callback, Secrets},
};
use http::{HeaderMap, StatusCode, header};
use portcullis_core::{
    grant::{LoginEvidence, RevocationReason},
    login,
    report::chain,
};
use portcullis_oauth::{UserStatus, Verdict};
use portcullis_outbound::{HttpClient, HttpResponse, ResponseError};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeSet;
use url::{Url, form_urlencoded};

/// The scope to request.
const SCOPE: &str = "read:org";
const API_VERSION: &str = "2022-11-28";
/// The maximum number of pages of memberships to read, with 100 entries each.
const MAX_PAGES: usize = 50;

/// One GitHub instance, and its rules of access.
pub(super) struct GitHub {
    title: String,
    /// The base URL. Without a trailing slash, like all URLs here.
    web: String,
    api: String,
    client_id: String,
    client_secret: String,
    config: login::GitHub,
    /// The organizations and teams that make a user an administrator.
    administrator_groups: Vec<String>,
    client: HttpClient,
}

/// The response of the token endpoint. GitHub sends errors with status 200 too.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
struct Organization {
    login: String,
}

#[derive(Deserialize)]
struct Membership {
    state: String,
    organization: Organization,
}

#[derive(Deserialize)]
struct Team {
    slug: String,
    organization: Organization,
}

impl GitHub {
    pub(super) fn new(
        title: String,
        github: &login::GitHub,
        administrator_groups: &[String],
        client_id: &str,
        client_secret: &str,
        client: HttpClient,
    ) -> Self {
        let web = github.url.trim_end_matches('/').to_owned();
        Self {
            title,
            api: api_of(&web),
            web,
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            config: github.clone(),
            administrator_groups: administrator_groups.to_vec(),
            client,
        }
    }

    /// The URL to redirect the browser to, without `state`.
    pub(super) fn authorization_url(&self, callback_url: &str, secrets: &Secrets) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", callback_url)
            .append_pair("scope", SCOPE)
            .append_pair("code_challenge", &secrets.challenge())
            .append_pair("code_challenge_method", "S256")
            .append_pair("allow_signup", "false")
            .finish();
        format!("{}/login/oauth/authorize?{query}", self.web)
    }

    /// The account that signed in, if the rules admit it.
    pub(super) async fn finish(
        &self,
        secrets: &Secrets,
        callback: &Callback,
        callback_url: &str,
    ) -> Result<Account, SignInError> {
        let code = callback.code(&self.title)?;
        let token = self.redeem(code, secrets, callback_url).await?;
        let account = self.account(&token).await?;
        Ok(Account { token: Some(token), ..account })
    }

    /// The base URL of this GitHub, and the endpoint's client id there.
    pub(super) fn party(&self) -> (&str, &str) {
        (&self.web, &self.client_id)
    }

    /// Whether the rules still admit the account of an access token, which must have this `id`.
    pub(super) async fn recheck(&self, id: &str, token: &str) -> Verdict {
        match self.account(token).await {
            Ok(account) if account.id == id => Verdict::Allowed(account.evidence),
            Ok(_) => Verdict::Refused(RevocationReason::ProviderRefused),
            Err(SignInError::NotAllowed { .. } | SignInError::SingleSignOn { .. }) => {
                Verdict::Refused(RevocationReason::NotAllowed)
            }
            // "Bad credentials": the user or an administrator revoked the token, or the account no longer exists.
            Err(SignInError::Unexpected { source, .. }) if is_unauthorized(&*source) => {
                Verdict::Refused(RevocationReason::ProviderRefused)
            }
            Err(error) => {
                tracing::warn!(provider = self.title, error = chain(&error), "a user could not be checked");
                Verdict::Unavailable
            }
        }
    }

    /// The account of an access token, if the rules admit it.
    async fn account(&self, token: &str) -> Result<Account, SignInError> {
        let user = self.read(&format!("{}/user", self.api), token).await?;
        let user: User = user.object().map_err(|error| SignInError::unusable(&self.title, error))?;
        let mut hidden = false;
        let organizations = self.organizations(token, &mut hidden).await?;
        let teams = match self.teams(token, &mut hidden).await {
            Ok(teams) => teams,
            // An allowed organization is sufficient.
            Err(error) if organizations.iter().any(|name| self.config.allowed_organizations.contains(name)) => {
                tracing::warn!(provider = self.title, error = chain(&error), "the teams of a user could not be read");
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let administers = |name: &&String| self.administrator_groups.contains(name);
        let administrator_groups =
            evidence::kept_administrator_groups(organizations.iter().chain(&teams).filter(administers));
        let allowed = |names: Vec<String>, allowed: &[String]| -> Vec<String> {
            names.into_iter().filter(|name| allowed.contains(name)).collect()
        };
        let organizations = allowed(organizations, &self.config.allowed_organizations);
        let teams = allowed(teams, &self.config.allowed_teams);
        if !organizations.is_empty() || !teams.is_empty() {
            let (organizations, teams) = (evidence::kept(&organizations), evidence::kept(&teams));
            let evidence = LoginEvidence { organizations, teams, administrator_groups, ..LoginEvidence::default() };
            return Ok(Account { id: user.id.to_string(), name: user.login, evidence, token: None, session: None });
        }
        let provider = self.title.clone();
        if hidden {
            return Err(SignInError::SingleSignOn { provider, account: user.login });
        }
        let rule = &self.config;
        let membership = match (rule.allowed_organizations.is_empty(), rule.allowed_teams.is_empty()) {
            (false, true) => "organization",
            (true, _) => "team",
            (false, false) => "organization or team",
        };
        Err(SignInError::NotAllowed { provider, account: user.login, membership })
    }

    /// Exchanges a code for an access token.
    async fn redeem(&self, code: &str, secrets: &Secrets, callback_url: &str) -> Result<String, SignInError> {
        let form = [
            ("client_id", self.client_id.as_str()),
            ("client_secret", &self.client_secret),
            ("code", code),
            ("redirect_uri", callback_url),
            ("code_verifier", &secrets.verifier),
        ];
        let request = self.client.post(&format!("{}/login/oauth/access_token", self.web)).form(&form);
        let answer = self.client.send(request).await.map_err(|error| SignInError::unanswered(&self.title, error))?;
        // GitHub Enterprise Server answers 404 to an unknown client id.
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(self.misconfigured("it does not know the client id; check client-id in this login's Secret"));
        }
        let answer: TokenAnswer = answer.object().map_err(|error| SignInError::unusable(&self.title, error))?;
        match (answer.access_token, answer.error.as_deref()) {
            (Some(token), None) => Ok(token),
            (_, Some("bad_verification_code")) => Err(SignInError::Expired),
            (_, Some("incorrect_client_credentials")) => Err(self.misconfigured(
                "the client secret is wrong (incorrect_client_credentials); correct client-id and client-secret in this login's Secret",
            )),
            (_, Some("redirect_uri_mismatch")) => Err(self.misconfigured(
                "the callback URL is not the app's (redirect_uri_mismatch); set it to this endpoint's in the app's settings",
            )),
            (_, Some("unverified_user_email")) => {
                Err(SignInError::EmailUnverified { provider: self.title.clone() })
            }
            (_, Some(_)) => Err(SignInError::unexpected(&self.title, "it refused the authorization code")),
            (None, None) => Err(SignInError::unexpected(&self.title, "its token answer has no token")),
        }
    }

    /// Whether the evidence matches the organizations and teams that are allowed at present.
    pub(super) fn status_of(&self, evidence: Option<&LoginEvidence>) -> UserStatus {
        evidence::github(&self.config, evidence)
    }

    /// The evidence for an account with unknown memberships.
    pub(super) fn assumed_evidence(&self) -> LoginEvidence {
        LoginEvidence {
            organizations: evidence::kept(&self.config.allowed_organizations),
            teams: evidence::kept(&self.config.allowed_teams),
            ..LoginEvidence::default()
        }
    }

    /// The allowed names, and those of administrators: organizations, or teams, which have a slash.
    fn known<'a>(&'a self, allowed: &'a [String], teams: bool) -> BTreeSet<&'a String> {
        allowed.iter().chain(self.administrator_groups.iter().filter(|name| name.contains('/') == teams)).collect()
    }

    /// The known organizations that the user is a member of.
    async fn organizations(&self, token: &str, hidden: &mut bool) -> Result<Vec<String>, SignInError> {
        let name =
            |membership: &Membership| (membership.state == "active").then(|| membership.organization.login.clone());
        let path = "/user/memberships/orgs?state=active&per_page=100";
        self.matching(path, token, hidden, &self.known(&self.config.allowed_organizations, false), name).await
    }

    /// The known teams that the user is a member of.
    async fn teams(&self, token: &str, hidden: &mut bool) -> Result<Vec<String>, SignInError> {
        let name = |team: &Team| Some(format!("{}/{}", team.organization.login, team.slug));
        self.matching("/user/teams?per_page=100", token, hidden, &self.known(&self.config.allowed_teams, true), name)
            .await
    }

    /// The known names in a paginated list. Reads pages until all names are found. Sets `hidden` if single sign-on
    /// hides entries.
    async fn matching<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &str,
        hidden: &mut bool,
        known: &BTreeSet<&String>,
        name: impl Fn(&T) -> Option<String>,
    ) -> Result<Vec<String>, SignInError> {
        let mut found: BTreeSet<&String> = BTreeSet::new();
        let mut next = Some(format!("{}{path}", self.api));
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take().filter(|_| found.len() < known.len()) else { break };
            let answer = self.read(&url, token).await?;
            let page: Vec<T> = answer.list().map_err(|error| SignInError::unusable(&self.title, error))?;
            for entry in page.iter().filter_map(&name) {
                found.extend(known.iter().filter(|known| known.eq_ignore_ascii_case(&entry)).copied());
            }
            *hidden |= answer.headers().contains_key("x-github-sso");
            next = self.next_page(answer.headers());
        }
        Ok(found.into_iter().cloned().collect())
    }

    /// The URL of the next page (RFC 8288), if it has the origin of the API: the token must not be sent to another one.
    fn next_page(&self, headers: &HeaderMap) -> Option<String> {
        let links = headers.get(header::LINK)?.to_str().ok()?;
        let next = links.split(',').find(|link| link.contains(r#"rel="next""#))?;
        let (_, rest) = next.split_once('<')?;
        let (url, _) = rest.split_once('>')?;
        let here = Url::parse(&self.api).ok()?.origin();
        (Url::parse(url).ok()?.origin() == here).then(|| url.to_owned())
    }

    async fn read(&self, url: &str, token: &str) -> Result<HttpResponse, SignInError> {
        let request = self.client.get(url).bearer_auth(token).header("x-github-api-version", API_VERSION);
        let answer = self.client.send(request).await.map_err(|error| SignInError::unanswered(&self.title, error))?;
        self.refusal(&answer).map_or(Ok(answer), Err)
    }

    /// The error for a request that the API refuses.
    fn refusal(&self, answer: &HttpResponse) -> Option<SignInError> {
        let (status, headers) = (answer.status(), answer.headers());
        if !matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
            return None;
        }
        let says = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
        if says("x-ratelimit-remaining", "0") || headers.contains_key(header::RETRY_AFTER) {
            return Some(SignInError::unreachable(&self.title, "its rate limit is used up"));
        }
        if headers.contains_key("x-github-sso") {
            let account = "your account".to_owned();
            return Some(SignInError::SingleSignOn { provider: self.title.clone(), account });
        }
        (status == StatusCode::FORBIDDEN).then(|| {
            self.misconfigured("it does not let the app read memberships (403); the app needs the scope read:org")
        })
    }

    fn misconfigured(&self, what: &str) -> SignInError {
        SignInError::Misconfigured { provider: self.title.clone(), what: what.to_owned() }
    }
}

fn is_unauthorized(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ResponseError::Status { status: StatusCode::UNAUTHORIZED, .. }))
}

/// The base URL of the API: a subdomain at github.com and GHE.com, a path at an Enterprise Server.
fn api_of(web: &str) -> String {
    match web.split_once("://") {
        Some((scheme, host)) if host == "github.com" || host.ends_with(".ghe.com") => format!("{scheme}://api.{host}"),
        _ => format!("{web}/api/v3"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_of_github_has_its_api_elsewhere() {
        for (web, api) in [
            ("https://github.com", "https://api.github.com"),
            ("https://acme.ghe.com", "https://api.acme.ghe.com"),
            ("https://github.acme.example", "https://github.acme.example/api/v3"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v3"),
        ] {
            assert_eq!(api_of(web), api);
        }
    }

    fn github() -> GitHub {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = portcullis_outbound::Outbound::new().unwrap().trusted(None).unwrap();
        let github = serde_json::json!({"clientSecretRef": {"name": "github"}, "allowedOrganizations": ["acme"]});
        GitHub::new("GitHub".to_owned(), &serde_json::from_value(github).unwrap(), &[], "id", "secret", client)
    }

    proptest! {
        #[test]
        fn whatever_a_link_says_the_token_goes_nowhere_else(
            link in "[<>,;\"=a-z:/. ]{0,60}|<(https?://|//)?(api\\.github\\.com|evil\\.test)[@:/.a-z]{0,12}>; rel=\"next\""
        ) {
            let Ok(value) = http::HeaderValue::try_from(link) else { return Ok(()) };
            let headers = [(header::LINK, value)].into_iter().collect();
            if let Some(next) = github().next_page(&headers) {
                prop_assert_eq!(Url::parse(&next).unwrap().origin().ascii_serialization(), "https://api.github.com");
            }
        }

        #[test]
        fn whatever_github_answers_is_read_or_refused(answer in portcullis_testing::strategies::changed(
            serde_json::json!({"id": 7, "login": "ada", "state": "active", "slug": "core", "organization": {"login": "acme"}}),
            &["id", "login", "state", "slug", "organization", "access_token", "error"],
        )) {
            let text = answer.to_string();
            if let Ok(user) = serde_json::from_str::<User>(&text) {
                prop_assert_eq!((answer["id"].as_u64(), answer["login"].as_str()), (Some(user.id), Some(&*user.login)));
            }
            if let Ok(membership) = serde_json::from_str::<Membership>(&text) {
                prop_assert_eq!(answer["state"].as_str(), Some(&*membership.state));
            }
            // serde also reads a struct from an array, by position; GitHub never sends that.
            if let Ok(team) = serde_json::from_str::<Team>(&text)
                && answer["organization"].is_object()
            {
                prop_assert_eq!(answer["organization"]["login"].as_str(), Some(&*team.organization.login));
            }
            if let Ok(token) = serde_json::from_str::<TokenAnswer>(&text) {
                prop_assert_eq!(answer["access_token"].as_str(), token.access_token.as_deref());
            }
        }
    }
}
