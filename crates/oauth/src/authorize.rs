//! `/authorize`: what a client asks for, and what it gets back (RFC 6749 §4.1, RFC 7636, RFC 8707, RFC 9207).
//!
//! Here are the rules; the pages that ask the user are elsewhere. Nobody is redirected before it is known that the
//! client is one of ours and the redirect URI is the client's (RFC 9700 §4.11).

use crate::{
    AuthorizationServer,
    challenge::plain,
    client::{Client, ClientError, Origin},
    code::{Code, Consent, ConsentTicket},
    grant::Known,
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

/// Longer requests are not read.
pub const MAX_REQUEST: usize = 12 << 10;
/// A longer `state` is refused: it is carried through sealed forms and redirects.
const MAX_STATE: usize = 3 << 10;
const MAX_DESCRIPTION: usize = 300;

/// The parameters that count here.
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

/// What a client asks a user for, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client_id: String,
    /// What it is called; its own word, unless it is configured.
    pub client_name: String,
    /// Where the client is described.
    pub origin: Origin,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// What it asks for, no more than it may have. Never empty.
    pub scopes: BTreeSet<Scope>,
    /// What goes back with the answer, unread.
    pub state: Option<String>,
    /// What the code's verifier is held against.
    pub code_challenge: String,
    /// What the tokens are for: this endpoint's URL.
    pub resource: String,
    /// How far the client wants the user to be asked.
    pub prompt: Option<Prompt>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How far the user is to be asked, beyond what is always asked (OpenID Connect Core §3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prompt {
    /// For consent, which is always asked for.
    Consent,
    /// Which account to use.
    SelectAccount,
    /// To sign in once more.
    Login,
}

/// Why a request is not put to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizeError {
    /// A page says so: there is nowhere that it would be safe to redirect to.
    Page {
        /// A few words.
        title: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// The client is told, by a redirect to this URL.
    Redirect(String),
    /// A page says so, and offers the way back to the client: nobody vouches for where a client that registered itself
    /// is called back, so nobody is sent there without a word (RFC 9700 §4.11.2).
    Offer {
        /// What is wrong.
        message: String,
        /// The way back, with the error.
        location: String,
    },
}

/// Why a consent does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApproveError {
    /// Nothing is allowed: deny instead.
    #[error("nothing was allowed; choose at least one permission, or deny")]
    Nothing,
    /// More is allowed than was on the page.
    #[error("more was allowed than was asked for; begin again at the agent")]
    Beyond,
    /// A code of this page was redeemed. Redeeming another one would revoke the grant.
    #[error("this request was answered already; begin again at the agent")]
    Answered,
    /// The code could not be made.
    #[error("the authorization code could not be made")]
    Seal(#[from] SealError),
}

/// An error for the client (RFC 6749 §4.1.2.1).
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
    #[error("the user is always asked here; leave prompt=none out")]
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
    /// Why the user was let in.
    pub evidence: Option<&'a LoginEvidence>,
}

impl AuthorizationServer {
    /// Checks the query, or the form, of a request to `/authorize`.
    pub async fn check(&self, query: &str, now: Timestamp) -> Result<AuthorizationRequest, AuthorizeError> {
        if query.len() > MAX_REQUEST {
            return Err(page("This request is too long", "begin again at the agent; its request is too long to read"));
        }
        let parameters = Parameters::read(query.as_bytes(), &NAMES);
        let client = self.asking(&parameters, now).await?;
        let redirect_uri = callback(&parameters, &client)?;
        // A state that is no good is not sent back either.
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
            (Err(error), _) => Err(self.told(&client, &redirect_uri, None, &error)),
            (Ok(state), Err(error)) => Err(self.told(&client, &redirect_uri, state.as_deref(), &error)),
        }
    }

    fn told(&self, client: &Client, redirect_uri: &str, state: Option<&str>, error: &RequestError) -> AuthorizeError {
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
        const TITLE: &str = "This agent is not known here";
        let id = parameters.good("client_id").map_err(|error| page(TITLE, error.to_string()))?;
        let id =
            id.ok_or_else(|| page(TITLE, "the agent did not say who it is: the parameter client_id is missing"))?;
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

    /// What the user allowed this client before, over all grants that still count: several machines may have one each.
    #[must_use]
    pub fn already_granted(&self, user_id: &str, client_id: &str, now: Timestamp) -> BTreeSet<Scope> {
        let grants = self.grants.of_user(user_id);
        let active = grants.iter().filter(|grant| grant.client_id == client_id && self.counts(grant, now));
        active.flat_map(|grant| grant.scopes.iter().copied()).collect()
    }

    /// The user allowed `chosen` on the page with this ticket: where to send the browser, with a code that is good for
    /// [`code::LIFETIME`]. A page whose code was redeemed gives no other.
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
        if !matches!(self.grants.find(&ticket.grant_name()), Known::Unknown) {
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

    /// The user did not allow it, or could not be asked: where to send the browser. `error` is a code of RFC 6749
    /// §4.1.2.1, such as `access_denied`.
    #[must_use]
    pub fn refuse(&self, request: &AuthorizationRequest, error: &'static str, description: &str) -> String {
        self.failed(&request.redirect_uri, request.state.as_deref(), error, description)
    }

    fn failed(&self, redirect_uri: &str, state: Option<&str>, error: &str, description: &str) -> String {
        let description: String = plain(description).chars().take(MAX_DESCRIPTION).collect();
        self.answer(redirect_uri, state, &[("error", error), ("error_description", &description)])
    }

    /// Every answer says who gives it (RFC 9207), so that no client takes it for another server's.
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

/// The redirect URI, if it is the client's.
fn callback(parameters: &Parameters<'_>, client: &Client) -> Result<String, AuthorizeError> {
    const TITLE: &str = "This agent cannot be sent back";
    let uri = parameters.good("redirect_uri").map_err(|error| page(TITLE, error.to_string()))?;
    let uri = uri.ok_or_else(|| {
        page(TITLE, "the agent did not say where to send you back: the parameter redirect_uri is missing")
    })?;
    if redirect::is_registered(&client.verifier.redirect_uris, uri) {
        return Ok(uri.to_owned());
    }
    let problem = redirect::check(uri).err().map(|error| format!(": {error}")).unwrap_or_default();
    let shown: String = uri.chars().filter(|character| !character.is_control()).take(200).collect();
    let message = format!(
        "the address {shown} is none of those registered for the agent{problem}; whoever manages this endpoint can add it to the agent's redirect URIs"
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

/// Words that this server does not know ask for nothing.
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
