//! OpenID Connect logins: the authorization code flow (OpenID Connect Core §3.1) with PKCE, a nonce and the issuer of
//! the response (RFC 9207).
//!
//! Based on `jsonwebtoken`, which also verifies the endpoint's own tokens: the flow is only two requests, and the
//! critical part is the checks, which take the clock as an argument here.

mod claims;
mod discovery;
mod id_token;
mod keys;
mod logout;
mod recheck;
#[cfg(test)]
mod tests;

use crate::{
    error::SignInError,
    evidence,
    redirect::{Account, Callback, Flow, Secrets},
};
use claims::UserClaims as _;
use discovery::{Discovery, Metadata, OFFLINE_ACCESS};
use id_token::{Expected, IdTokenError};
use jiff::Timestamp;
use keys::Keys;
use portcullis_core::{
    grant::LoginEvidence,
    login::{self, OfflineAccess},
    report::chain,
};
use portcullis_oauth::{
    UserStatus,
    external_jwt::{Claims, LEEWAY, Token},
};
use portcullis_outbound::{HttpClient, HttpResponse, issuer::IssuerClient};
use serde::Deserialize;
use std::collections::BTreeSet;
use url::{Url, form_urlencoded};

/// One provider, and its rules of access.
pub(super) struct Oidc {
    /// The provider's name on the page.
    title: String,
    config: login::Oidc,
    /// The groups that make a user an administrator.
    administrator_groups: Vec<String>,
    client_id: String,
    client_secret: String,
    client: HttpClient,
    discovery: Discovery,
    keys: Keys,
}

/// The response of the token endpoint (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "as the RFC names them")]
struct TokenAnswer {
    access_token: String,
    id_token: Option<String>,
    refresh_token: Option<String>,
}

/// An error response of the token endpoint (RFC 6749 §5.2).
#[derive(Deserialize)]
struct TokenError {
    error: String,
}

/// The known error codes of a token endpoint.
const TOKEN_ERRORS: [&str; 8] = [
    "invalid_client",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_grant",
    "not_allowed",
    "interaction_required",
    "login_required",
    "consent_required",
];

const GOOGLE: &str = "https://accounts.google.com";

/// How to request a refresh token that outlives the provider session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offline {
    /// The scope `offline_access` (OpenID Connect Core §11).
    Scope,
    /// The parameter `access_type`, for Google.
    AccessType,
    No,
}

impl Oidc {
    pub(super) fn new(
        title: String,
        config: &login::Oidc,
        administrator_groups: &[String],
        client_id: &str,
        client_secret: &str,
        client: HttpClient,
    ) -> Self {
        let issuer = IssuerClient::new(config.issuer_url.clone(), client.clone());
        Self {
            discovery: Discovery::new(title.clone(), issuer.clone()),
            keys: Keys::new(title.clone(), issuer),
            title,
            config: config.clone(),
            administrator_groups: administrator_groups.to_vec(),
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            client,
        }
    }

    /// The URL to redirect the browser to, without `state`.
    pub(super) async fn authorization_url(
        &self,
        callback_url: &str,
        secrets: &Secrets,
        max_age: Option<i64>,
        now: Timestamp,
    ) -> Result<String, SignInError> {
        let metadata = self.discovery.reachable(now).await?;
        let mut url = Url::parse(&metadata.authorization_endpoint)
            .map_err(|error| SignInError::unexpected(&self.title, error))?;
        let mut scopes: BTreeSet<&str> =
            self.config.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid").collect();
        let offline = self.offline(&metadata);
        if offline == Offline::Scope {
            scopes.insert(OFFLINE_ACCESS);
        }
        let scope = ["openid"].into_iter().chain(scopes).collect::<Vec<_>>().join(" ");
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", callback_url)
            .append_pair("scope", &scope)
            .append_pair("nonce", &secrets.nonce)
            .append_pair("code_challenge", &secrets.challenge())
            .append_pair("code_challenge_method", "S256");
        if offline == Offline::AccessType {
            url.query_pairs_mut().append_pair("access_type", "offline");
        }
        if offline != Offline::No && self.config.offline_access == OfflineAccess::RequestWithConsent {
            url.query_pairs_mut().append_pair("prompt", "consent");
        }
        if let Some(seconds) = max_age {
            url.query_pairs_mut().append_pair("max_age", &seconds.to_string());
        }
        url.set_fragment(None);
        Ok(url.into())
    }

    /// The account that signed in, if the rules admit it.
    pub(super) async fn finish(
        &self,
        flow: &Flow<'_>,
        callback: &Callback,
        now: Timestamp,
    ) -> Result<Account, SignInError> {
        let metadata = self.discovery.metadata(now).await?;
        // Check the issuer before any other parameter of the response, including errors.
        match &callback.issuer {
            Some(issuer) if *issuer != metadata.issuer => {
                return Err(SignInError::mismatch(&self.title, "the response comes from another issuer (iss)"));
            }
            None if metadata.authorization_response_iss_parameter_supported => {
                return Err(SignInError::mismatch(&self.title, "the response has no iss"));
            }
            _ => {}
        }
        let code = callback.code(&self.title)?;
        let (answer, id_token) = self.redeem(&metadata, code, flow.secrets, flow.callback_url).await?;
        let expected =
            Expected { issuer: &metadata.issuer, client_id: &self.client_id, nonce: Some(&flow.secrets.nonce), now };
        let claims = self.verified(&metadata, &id_token, &expected).await?;
        let subject =
            claims.subject().ok_or_else(|| SignInError::unexpected(&self.title, "the ID token has no sub"))?;

        // Not every provider supports `max_age`; one that does returns `auth_time` (§3.1.2.1).
        let authenticated = claims.seconds("auth_time").zip(flow.max_age);
        if authenticated
            .is_some_and(|(at, max_age)| at < now.as_second().saturating_sub(max_age).saturating_sub(LEEWAY))
        {
            return Err(SignInError::Expired);
        }

        let session = claims.text("sid").map(ToOwned::to_owned);
        let account = self.account(&metadata, claims, &answer.access_token, subject).await?;
        // A refresh token that was not requested ends with the provider session, so it does not show whether the user
        // still has access.
        let token = answer.refresh_token.filter(|_| self.offline(&metadata) != Offline::No);
        Ok(Account { token, session, ..account })
    }

    /// How to request a refresh token that outlives the provider session.
    fn offline(&self, metadata: &Metadata) -> Offline {
        match self.config.offline_access {
            OfflineAccess::Never => Offline::No,
            // https://developers.google.com/identity/protocols/oauth2/web-server#offline
            _ if metadata.issuer == GOOGLE => Offline::AccessType,
            _ if metadata.gives_offline_access() => Offline::Scope,
            _ => Offline::No,
        }
    }

    /// The account of these claims, if the rules admit it.
    async fn account(
        &self,
        metadata: &Metadata,
        mut claims: Claims,
        access_token: &str,
        subject: String,
    ) -> Result<Account, SignInError> {
        let no_groups = !claims.has(&self.config.groups_claim);
        let groups_needed = !self.config.allowed_groups.is_empty() && no_groups;
        let groups_wanted = !self.administrator_groups.is_empty() && no_groups;
        if groups_needed || groups_wanted || !claims.has(&self.config.username_claim) {
            match self.user_info(metadata, access_token, &subject).await {
                Ok(more) => claims.complete(more),
                Err(error) if groups_needed => return Err(error),
                // A missing display name, or not being an administrator, does not fail the sign-in.
                Err(error) => {
                    tracing::warn!(provider = self.title, error = chain(&error), "userinfo could not be used");
                }
            }
        }
        let name = claims.name(&self.config.username_claim).unwrap_or_else(|| subject.clone());
        let groups = claims.groups(&self.config.groups_claim);
        let allowed = &self.config.allowed_groups;
        let matching: Vec<&String> = allowed.iter().filter(|group| groups.contains(group.as_str())).collect();
        if !allowed.is_empty() && matching.is_empty() {
            return Err(SignInError::NotAllowed { provider: self.title.clone(), account: name, membership: "group" });
        }
        let administers = self.administrator_groups.iter().filter(|group| groups.contains(group.as_str()));
        let evidence = LoginEvidence {
            groups: evidence::kept(matching),
            administrator_groups: evidence::kept_administrator_groups(administers),
            ..LoginEvidence::default()
        };
        Ok(Account { id: subject, name, evidence, token: None, session: None })
    }

    /// The provider's issuer URL, and the endpoint's client id there.
    pub(super) fn party(&self) -> (&str, &str) {
        (&self.config.issuer_url, &self.client_id)
    }

    /// Whether the evidence matches the groups that are allowed at present.
    pub(super) fn status_of(&self, evidence: Option<&LoginEvidence>) -> UserStatus {
        evidence::oidc(&self.config, evidence)
    }

    /// The evidence for an account with unknown groups.
    pub(super) fn assumed_evidence(&self) -> LoginEvidence {
        LoginEvidence { groups: evidence::kept(&self.config.allowed_groups), ..LoginEvidence::default() }
    }

    /// Exchanges a code for the response of the token endpoint, and its ID token.
    async fn redeem(
        &self,
        metadata: &Metadata,
        code: &str,
        secrets: &Secrets,
        callback_url: &str,
    ) -> Result<(TokenAnswer, String), SignInError> {
        let form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback_url),
            ("code_verifier", &secrets.verifier),
        ];
        let answer = self.ask_for_token(metadata, form).await?;
        if answer.status().is_client_error() {
            return Err(match self.token_error(&answer) {
                (_, Some(error)) => error,
                ("invalid_grant", None) => SignInError::Expired,
                ("not_allowed", None) => self.misconfigured(
                    "the account may not have offline tokens (not_allowed); give it the role offline_access there, or set offlineAccess: Never for this login in the McpEndpoint",
                ),
                _ => SignInError::unexpected(&self.title, format!("its token endpoint answered {}", answer.status())),
            });
        }
        let mut answer: TokenAnswer = answer.object().map_err(|error| SignInError::unusable(&self.title, error))?;
        let id_token = answer.id_token.take();
        let id_token = id_token.ok_or_else(|| SignInError::unexpected(&self.title, "it gave no ID token"))?;
        Ok((answer, id_token))
    }

    /// Sends a form to the token endpoint, with the client authentication of RFC 6749 §2.3.1.
    async fn ask_for_token(
        &self,
        metadata: &Metadata,
        mut form: Vec<(&'static str, &str)>,
    ) -> Result<HttpResponse, SignInError> {
        let mut request = self.client.post(&metadata.token_endpoint);
        if metadata.takes_basic() {
            // RFC 6749 §2.3.1: client id and secret are form-encoded first.
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request = request.basic_auth(encoded(&self.client_id), Some(encoded(&self.client_secret)));
        } else {
            form.extend([("client_id", self.client_id.as_str()), ("client_secret", &self.client_secret)]);
        }
        self.client.send(request.form(&form)).await.map_err(|error| SignInError::unanswered(&self.title, error))
    }

    /// The error code of a token endpoint's response (RFC 6749 §5.2), and the error if the client itself is rejected.
    fn token_error(&self, answer: &HttpResponse) -> (&'static str, Option<SignInError>) {
        let error = answer.object_of_any_status::<TokenError>().map(|error| error.error).unwrap_or_default();
        let known = TOKEN_ERRORS.into_iter().find(|known| *known == error).unwrap_or_default();
        let what = match known {
            "invalid_client" | "unauthorized_client" => {
                "its token endpoint refuses the client (invalid_client); correct client-id and client-secret in this login's Secret"
            }
            "" if answer.status() == http::StatusCode::UNAUTHORIZED => {
                "its token endpoint refuses the client (401); correct client-id and client-secret in this login's Secret"
            }
            _ => return (known, None),
        };
        (known, Some(self.misconfigured(what)))
    }

    /// Verifies that an ID token is signed by the provider, issued to this client, valid at present, and of this flow.
    /// Returns its claims.
    async fn verified(
        &self,
        metadata: &Metadata,
        id_token: &str,
        expected: &Expected<'_>,
    ) -> Result<Claims, SignInError> {
        let refused = |error: IdTokenError| SignInError::unexpected(&self.title, error);
        let token = Token::parse(id_token, &id_token::FORMAT).map_err(|error| refused(error.into()))?;
        let key = self.keys.find(&metadata.issuer, &metadata.jwks_uri, &token.header, expected.now).await?;
        id_token::verify(&token, &key, expected).map_err(refused)
    }

    /// The claims of the UserInfo endpoint (OpenID Connect Core §5.3).
    async fn user_info(&self, metadata: &Metadata, token: &str, subject: &str) -> Result<Claims, SignInError> {
        let Some(url) = &metadata.userinfo_endpoint else {
            return Err(self.misconfigured(&format!(
                "neither its ID token nor a userinfo endpoint has the claim {:?}; correct groupsClaim or scopes of this login in the McpEndpoint, or have the provider send it",
                self.config.groups_claim
            )));
        };
        let answer = self.client.send(self.client.get(url).bearer_auth(token)).await;
        let answer = answer.map_err(|error| SignInError::unanswered(&self.title, error))?;
        let claims: Claims = answer.object().map_err(|error| SignInError::unusable(&self.title, error))?;
        // §5.3.2: otherwise, the response may be about another user.
        if claims.subject().as_deref() != Some(subject) {
            return Err(SignInError::unexpected(&self.title, "its userinfo is for another user (sub)"));
        }
        Ok(claims)
    }

    fn misconfigured(&self, what: &str) -> SignInError {
        SignInError::Misconfigured { provider: self.title.clone(), what: what.to_owned() }
    }
}
