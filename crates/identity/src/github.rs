//! Accounts of GitHub: the OAuth app's web flow with PKCE, then who it is, and whether an organization or a team that
//! may come in has them.
//!
//! <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>,
//! <https://docs.github.com/en/rest/orgs/members>, <https://docs.github.com/en/rest/teams/teams>.
//! The scope is `read:org`, which tells memberships and nothing of what is in a repository.

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
use portcullis_oauth::{Standing, Verdict};
use portcullis_outbound::{Answer, AnswerError, HttpClient};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeSet;
use url::{Url, form_urlencoded};

/// What is asked for.
const SCOPE: &str = "read:org";
const API_VERSION: &str = "2022-11-28";
/// How many pages of memberships are read, at 100 each.
const MAX_PAGES: usize = 50;

/// One GitHub, and who of it may come in.
pub(super) struct GitHub {
    title: String,
    /// Without a slash at its end, as all URLs here.
    web: String,
    api: String,
    client_id: String,
    client_secret: String,
    config: login::GitHub,
    client: HttpClient,
}

/// The answer to a code: a success, or an error that comes with the status 200 all the same.
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
            client,
        }
    }

    /// Where to send the browser, but for `state`.
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

    /// The account that signed in, if it may come in.
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

    /// Where this GitHub is, and what this endpoint is called there.
    pub(super) fn party(&self) -> (&str, &str) {
        (&self.web, &self.client_id)
    }

    /// Whether the account of an access token, which should be `id`, may still come in.
    pub(super) async fn recheck(&self, id: &str, token: &str) -> Verdict {
        match self.account(token).await {
            Ok(account) if account.id == id => Verdict::Allowed(account.evidence),
            Ok(_) => Verdict::Refused(RevocationReason::ProviderRefused),
            Err(SignInError::NotAllowed { .. } | SignInError::SingleSignOn { .. }) => {
                Verdict::Refused(RevocationReason::NotAllowed)
            }
            // "Bad credentials": the user or an administrator revoked the token, or the account is gone.
            Err(SignInError::Unexpected { source, .. }) if is_unauthorized(&*source) => {
                Verdict::Refused(RevocationReason::ProviderRefused)
            }
            Err(error) => {
                tracing::warn!(provider = self.title, error = chain(&error), "a user could not be checked");
                Verdict::Unavailable
            }
        }
    }

    /// The account of an access token, if it may come in.
    async fn account(&self, token: &str) -> Result<Account, SignInError> {
        let user = self.read(&format!("{}/user", self.api), token).await?;
        let user: User = user.object().map_err(|error| SignInError::unusable(&self.title, error))?;
        let mut hidden = false;
        let organizations = self.organizations(token, &mut hidden).await?;
        let teams = match self.teams(token, &mut hidden).await {
            Ok(teams) => teams,
            // An organization suffices.
            Err(error) if !organizations.is_empty() => {
                tracing::warn!(provider = self.title, error = chain(&error), "the teams of a user could not be read");
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        if !organizations.is_empty() || !teams.is_empty() {
            let (organizations, teams) = (evidence::kept(&organizations), evidence::kept(&teams));
            let evidence = LoginEvidence { organizations, teams, ..LoginEvidence::default() };
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

    /// A token for a code.
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
        // An Enterprise Server answers 404 where it does not know the client.
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
            (_, Some(_)) => Err(SignInError::unexpected(&self.title, "it refused the code for a reason of its own")),
            (None, None) => Err(SignInError::unexpected(&self.title, "its token answer has no token")),
        }
    }

    /// Whether the organizations and teams that are allowed now still match.
    pub(super) fn standing(&self, evidence: Option<&LoginEvidence>) -> Standing {
        evidence::github(&self.config, evidence)
    }

    /// The evidence for an account whose memberships are not known.
    pub(super) fn assumed_evidence(&self) -> LoginEvidence {
        LoginEvidence {
            organizations: evidence::kept(&self.config.allowed_organizations),
            teams: evidence::kept(&self.config.allowed_teams),
            ..LoginEvidence::default()
        }
    }

    /// The allowed organizations that have the user.
    async fn organizations(&self, token: &str, hidden: &mut bool) -> Result<Vec<String>, SignInError> {
        let name =
            |membership: &Membership| (membership.state == "active").then(|| membership.organization.login.clone());
        let path = "/user/memberships/orgs?state=active&per_page=100";
        self.matching(path, token, hidden, &self.config.allowed_organizations, name).await
    }

    /// The allowed teams that have the user.
    async fn teams(&self, token: &str, hidden: &mut bool) -> Result<Vec<String>, SignInError> {
        let name = |team: &Team| Some(format!("{}/{}", team.organization.login, team.slug));
        self.matching("/user/teams?per_page=100", token, hidden, &self.config.allowed_teams, name).await
    }

    /// Which of the allowed names are in a list in pages, read until all were found. Sets `hidden` where single sign-on
    /// keeps entries back.
    async fn matching<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &str,
        hidden: &mut bool,
        allowed: &[String],
        name: impl Fn(&T) -> Option<String>,
    ) -> Result<Vec<String>, SignInError> {
        let mut found: BTreeSet<&String> = BTreeSet::new();
        let mut next = Some(format!("{}{path}", self.api));
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take().filter(|_| found.len() < allowed.len()) else { break };
            let answer = self.read(&url, token).await?;
            let page: Vec<T> = answer.list().map_err(|error| SignInError::unusable(&self.title, error))?;
            for entry in page.iter().filter_map(&name) {
                found.extend(allowed.iter().filter(|allowed| allowed.eq_ignore_ascii_case(&entry)));
            }
            *hidden |= answer.headers().contains_key("x-github-sso");
            next = self.next_page(answer.headers());
        }
        Ok(found.into_iter().cloned().collect())
    }

    /// The next page (RFC 8288), if it is at the same place: the token is for no other.
    fn next_page(&self, headers: &HeaderMap) -> Option<String> {
        let links = headers.get(header::LINK)?.to_str().ok()?;
        let next = links.split(',').find(|link| link.contains(r#"rel="next""#))?;
        let (_, rest) = next.split_once('<')?;
        let (url, _) = rest.split_once('>')?;
        let here = Url::parse(&self.api).ok()?.origin();
        (Url::parse(url).ok()?.origin() == here).then(|| url.to_owned())
    }

    async fn read(&self, url: &str, token: &str) -> Result<Answer, SignInError> {
        let request = self.client.get(url).bearer_auth(token).header("x-github-api-version", API_VERSION);
        let answer = self.client.send(request).await.map_err(|error| SignInError::unanswered(&self.title, error))?;
        self.refusal(&answer).map_or(Ok(answer), Err)
    }

    /// What a refusal of the API means.
    fn refusal(&self, answer: &Answer) -> Option<SignInError> {
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
    matches!(error.downcast_ref(), Some(AnswerError::Status { status: StatusCode::UNAUTHORIZED, .. }))
}

/// Where the API of a GitHub is: beside github.com and the hosts of GHE.com, below an Enterprise Server.
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
        GitHub::new("GitHub".to_owned(), &serde_json::from_value(github).unwrap(), "id", "secret", client)
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
            // What has its members in another order than by name is nobody's answer.
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
