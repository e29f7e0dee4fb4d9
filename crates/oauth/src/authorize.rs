//! The authorization endpoint `/authorize`: requests and responses (RFC 6749 §4.1, RFC 7636, RFC 8707, RFC 9207).
//!
//! This module has the rules; the pages for the user are elsewhere. The browser is redirected only after the client and
//! its redirect URI are verified (RFC 9700 §4.11).

use crate::{
    AuthorizationServer,
    challenge::plain,
    client::{Client, ClientError, Origin},
    code::{Code, Consent, ConsentTicket},
    grant::GrantLookup,
    parameters::{ParameterError, Parameters},
    pkce, redirect,
    scopes::{self, ScopeError},
    seal::SealError,
};
use jiff::Timestamp;
use portcullis_core::{
    Scope,
    client::Grant,
    grant::{GrantUser, LoginEvidence},
};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The maximum length of a request, in bytes.
pub const MAX_REQUEST: usize = 12 << 10;
/// The maximum length of `state`, in bytes: it is carried through sealed forms and redirects.
const MAX_STATE: usize = 3 << 10;
const MAX_DESCRIPTION: usize = 300;

/// The parameters that are read.
const NAMES: [&str; 11] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "request",
    "request_uri",
];

/// A validated authorization request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// The id of the client.
    pub client_id: String,
    /// The display name of the client. Unverified unless the client is configured.
    pub client_name: String,
    /// Where the client is described.
    pub origin: Origin,
    /// The redirect URI of the response.
    pub redirect_uri: String,
    /// The requested scopes, limited to those of the client. Never empty.
    pub scopes: BTreeSet<Scope>,
    /// The client's opaque `state`, which is returned with the response.
    pub state: Option<String>,
    /// The PKCE code challenge of the client.
    pub code_challenge: String,
    /// The resource of the tokens: this endpoint's URL.
    pub resource: String,
    /// The additional interaction that the client requests.
    pub prompt: Option<Prompt>,
    /// When the request was made.
    pub created_at: Timestamp,
}

/// The interaction that a client requests with `prompt`, in addition to the usual one (OpenID Connect Core §3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prompt {
    /// Consent, which is always requested.
    Consent,
    /// The selection of an account.
    SelectAccount,
    /// A new sign-in.
    Login,
}

/// Why an authorization request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizeError {
    /// A page shows the error: there is no verified redirect URI.
    Page {
        /// A short title.
        title: &'static str,
        /// The error and its remedy.
        message: String,
    },
    /// The client receives the error, with a redirect to this URL.
    Redirect(String),
    /// A page shows the error and a link back to the client: nothing vouches for the redirect URI of a client that
    /// registered itself, so the browser is not redirected to it without the user's action (RFC 9700 §4.11.2).
    Offer {
        /// The error.
        message: String,
        /// The URL of the link, which contains the error.
        location: String,
    },
}

/// Why an approval is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApproveError {
    /// No scope is approved. A denial is a separate answer.
    #[error("no permission was selected; select at least one, or deny")]
    Nothing,
    /// A scope is approved that was not on the page.
    #[error("more scopes were allowed than requested; start again from the agent")]
    Beyond,
    /// A code of this page was redeemed. Redeeming another one would revoke the grant.
    #[error("this request has already been answered; start again from the agent")]
    Answered,
    /// The code could not be sealed.
    #[error("the authorization code could not be made")]
    Seal(#[from] SealError),
}

/// An error response to the client (RFC 6749 §4.1.2.1).
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    #[error("{0}")]
    Invalid(&'static str),
    #[error("the response type must be code")]
    ResponseType,
    #[error("the client may not use the grant authorization_code")]
    Unauthorized,
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("the resource must be {0}")]
    Target(String),
    #[error("request objects are not supported; send the parameters themselves")]
    RequestObject,
    #[error("request objects are not supported; send the parameters themselves")]
    RequestUri,
    #[error("consent is always required here; omit prompt=none")]
    Interaction,
}

impl RequestError {
    const fn code(&self) -> &'static str {
        match self {
            Self::Parameter(_) | Self::Invalid(_) => "invalid_request",
            Self::ResponseType => "unsupported_response_type",
            Self::Unauthorized => "unauthorized_client",
            Self::Scope(_) => "invalid_scope",
            Self::Target(_) => "invalid_target",
            Self::RequestObject => "request_not_supported",
            Self::RequestUri => "request_uri_not_supported",
            Self::Interaction => "interaction_required",
        }
    }
}

/// A user who answers a consent page.
#[derive(Clone, Copy, Debug)]
pub struct Approver<'a> {
    /// The user.
    pub user: &'a GrantUser,
    /// When the user signed in.
    pub since: Timestamp,
    /// The evidence of the sign-in.
    pub evidence: Option<&'a LoginEvidence>,
}

impl AuthorizationServer {
    /// Validates the query or form of a request to `/authorize`.
    pub async fn check(&self, query: &str, now: Timestamp) -> Result<AuthorizationRequest, AuthorizeError> {
        if query.len() > MAX_REQUEST {
            return Err(page("This request is too long", "the request is too long; start again from the agent"));
        }
        let parameters = Parameters::read(query.as_bytes(), &NAMES);
        let client = self.asking(&parameters, now).await?;
        let redirect_uri = callback(&parameters, &client)?;
        // An invalid state is not returned.
        let state = state(&parameters);
        let asked = self.asked(&parameters, &client);
        match (state, asked) {
            (Ok(state), Ok(asked)) => Ok(AuthorizationRequest {
                client_id: client.verifier.client_id.clone(),
                client_name: client.verifier.display_name.clone(),
                origin: client.origin.clone(),
                redirect_uri,
                scopes: asked.scopes,
                state,
                code_challenge: asked.code_challenge,
                resource: self.resource.clone(),
                prompt: asked.prompt,
                created_at: now,
            }),
            (Err(error), _) => Err(self.request_error(&client, &redirect_uri, None, &error)),
            (Ok(state), Err(error)) => Err(self.request_error(&client, &redirect_uri, state.as_deref(), &error)),
        }
    }

    fn request_error(
        &self,
        client: &Client,
        redirect_uri: &str,
        state: Option<&str>,
        error: &RequestError,
    ) -> AuthorizeError {
        let message = error.to_string();
        let location = self.failed(redirect_uri, state, error.code(), &message);
        match client.origin {
            Origin::Configured | Origin::Document { .. } => AuthorizeError::Redirect(location),
            Origin::Registered { .. } => AuthorizeError::Offer { message, location },
        }
    }

    async fn asking(
        &self,
        parameters: &Parameters<'_>,
        now: Timestamp,
    ) -> Result<std::sync::Arc<Client>, AuthorizeError> {
        const TITLE: &str = "Unknown agent";
        let id = parameters.good("client_id").map_err(|error| page(TITLE, error.to_string()))?;
        let id =
            id.ok_or_else(|| page(TITLE, "the agent did not identify itself: the parameter client_id is missing"))?;
        self.directory.find(id, now).await.map_err(|error| match error {
            ClientError::Unknown(_) | ClientError::Document(_) => page(TITLE, error.to_string()),
            ClientError::Unavailable(_) => page("Try again shortly", error.to_string()),
        })
    }

    fn asked(&self, parameters: &Parameters<'_>, client: &Client) -> Result<Asked, RequestError> {
        parameters.check()?;
        if parameters.get("request").is_some() {
            return Err(RequestError::RequestObject);
        }
        if parameters.get("request_uri").is_some() {
            return Err(RequestError::RequestUri);
        }
        match parameters.get("response_type") {
            Some("code") => {}
            Some(_) => return Err(RequestError::ResponseType),
            None => return Err(RequestError::Invalid("the parameter response_type is missing; it must be code")),
        }
        if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(RequestError::Invalid("the response mode must be query"));
        }
        if !client.verifier.grants.contains(&Grant::AuthorizationCode) {
            return Err(RequestError::Unauthorized);
        }
        if parameters.get("code_challenge_method").is_some_and(|method| method != pkce::METHOD)
            || (parameters.get("code_challenge").is_some() && parameters.get("code_challenge_method").is_none())
        {
            return Err(RequestError::Invalid("the code_challenge_method must be S256"));
        }
        let code_challenge = parameters
            .get("code_challenge")
            .ok_or(RequestError::Invalid("the parameter code_challenge is missing; PKCE is required (RFC 7636)"))?;
        if !pkce::is_challenge(code_challenge) {
            return Err(RequestError::Invalid("the code_challenge must be the base64url of a SHA-256, 43 characters"));
        }
        if !parameters.are_for(&self.resources) {
            return Err(RequestError::Target(self.resource.clone()));
        }
        Ok(Asked {
            scopes: scopes::granted(parameters.get("scope"), &client.verifier.scopes)?,
            code_challenge: code_challenge.to_owned(),
            prompt: prompt(parameters.get("prompt").unwrap_or_default())?,
        })
    }

    /// The scopes that the user approved for this client before, in all valid grants: each of several machines may have
    /// one.
    #[must_use]
    pub fn already_granted(&self, user_id: &str, client_id: &str, now: Timestamp) -> BTreeSet<Scope> {
        let grants = self.grants.of_user(user_id);
        let active = grants.iter().filter(|grant| grant.client_id == client_id && self.counts(grant, now));
        active.flat_map(|grant| grant.scopes.iter().copied()).collect()
    }

    /// Approves `chosen` on the page with this ticket. Returns the URL to redirect the browser to, with a code that is
    /// valid for [`code::LIFETIME`]. Fails if a code of this page was redeemed.
    ///
    /// [`code::LIFETIME`]: super::code::LIFETIME
    pub fn approve(
        &self,
        request: &AuthorizationRequest,
        Approver { user, since, evidence }: Approver<'_>,
        chosen: &BTreeSet<Scope>,
        ticket: &ConsentTicket,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<String, ApproveError> {
        if chosen.is_empty() {
            return Err(ApproveError::Nothing);
        }
        let shown = &request.scopes | &self.already_granted(&user.id, &request.client_id, now);
        if !chosen.is_subset(&shown) {
            return Err(ApproveError::Beyond);
        }
        if !matches!(self.grants.find(&ticket.grant_name()), GrantLookup::Unknown) {
            return Err(ApproveError::Answered);
        }
        let consent = Consent {
            client_id: request.client_id.clone(),
            redirect_uri: request.redirect_uri.clone(),
            challenge: request.code_challenge.clone(),
            user: user.clone(),
            signed_in_at: since,
            evidence: evidence.cloned(),
            scopes: chosen.clone(),
            resource: request.resource.clone(),
        };
        let code = Code::seal(ticket.clone(), consent, &self.sealer, now, rng)?;
        Ok(self.answer(&request.redirect_uri, request.state.as_deref(), &[("code", &code)]))
    }

    /// Refuses the request: the user denied it, or could not be asked. Returns the URL to redirect the browser to.
    /// `error` is a code of RFC 6749 §4.1.2.1, such as `access_denied`.
    #[must_use]
    pub fn refuse(&self, request: &AuthorizationRequest, error: &'static str, description: &str) -> String {
        self.failed(&request.redirect_uri, request.state.as_deref(), error, description)
    }

    fn failed(&self, redirect_uri: &str, state: Option<&str>, error: &str, description: &str) -> String {
        let description: String = plain(description).chars().take(MAX_DESCRIPTION).collect();
        self.answer(redirect_uri, state, &[("error", error), ("error_description", &description)])
    }

    /// Every response names its issuer (RFC 9207), so that no client mistakes it for another server's.
    fn answer(&self, redirect_uri: &str, state: Option<&str>, parameters: &[(&str, &str)]) -> String {
        let mut parameters = parameters.to_vec();
        parameters.extend(state.map(|state| ("state", state)));
        parameters.push(("iss", &self.issuer));
        redirect::with_parameters(redirect_uri, &parameters)
    }
}

struct Asked {
    scopes: BTreeSet<Scope>,
    code_challenge: String,
    prompt: Option<Prompt>,
}

fn page(title: &'static str, message: impl Into<String>) -> AuthorizeError {
    AuthorizeError::Page { title, message: message.into() }
}

/// The redirect URI, if it is registered for the client.
fn callback(parameters: &Parameters<'_>, client: &Client) -> Result<String, AuthorizeError> {
    const TITLE: &str = "This agent cannot be sent back";
    let uri = parameters.good("redirect_uri").map_err(|error| page(TITLE, error.to_string()))?;
    let uri =
        uri.ok_or_else(|| page(TITLE, "the agent's request has no callback: the parameter redirect_uri is missing"))?;
    if redirect::is_registered(&client.verifier.redirect_uris, uri) {
        return Ok(uri.to_owned());
    }
    let problem = redirect::check(uri).err().map(|error| format!(": {error}")).unwrap_or_default();
    let shown: String = uri.chars().filter(|character| !character.is_control()).take(200).collect();
    let message = format!(
        "the callback {shown} is not registered for the agent{problem}; the administrator of this endpoint can add it to the agent's redirect URIs"
    );
    Err(page(TITLE, message))
}

fn state(parameters: &Parameters<'_>) -> Result<Option<String>, RequestError> {
    let state = parameters.good("state")?;
    if state.is_some_and(|state| state.len() > MAX_STATE) {
        return Err(RequestError::Invalid("the parameter state is longer than 3072 bytes"));
    }
    Ok(state.map(ToOwned::to_owned))
}

/// Parses `prompt`. Unknown values are ignored.
fn prompt(words: &str) -> Result<Option<Prompt>, RequestError> {
    let mut asked = None;
    for word in words.split_ascii_whitespace() {
        asked = match word {
            "none" => return Err(RequestError::Interaction),
            "login" => Some(Prompt::Login),
            "select_account" if asked != Some(Prompt::Login) => Some(Prompt::SelectAccount),
            "consent" if asked.is_none() => Some(Prompt::Consent),
            _ => asked,
        };
    }
    Ok(asked)
}

#[cfg(test)]
mod tests;
