//! What every sign-in at a provider has in common: the secrets of one flow (RFC 7636, OpenID Connect Core §3.1.2.1) and
//! the query that comes back (RFC 6749 §4.1.2, RFC 9207).

use super::error::SignInError;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

/// What only this endpoint knows of one flow.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Secrets {
    /// The PKCE code verifier.
    pub(super) verifier: String,
    /// What the ID token has to repeat.
    pub(super) nonce: String,
}

impl Secrets {
    pub(super) fn generate(rng: &mut dyn CryptoRng) -> Self {
        let (mut verifier, mut nonce) = ([0_u8; 32], [0_u8; 16]);
        rng.fill_bytes(&mut verifier);
        rng.fill_bytes(&mut nonce);
        Self { verifier: URL_SAFE_NO_PAD.encode(verifier), nonce: URL_SAFE_NO_PAD.encode(nonce) }
    }

    /// The code challenge, method `S256`.
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }
}

/// The query that a provider sent the browser back with. Of a parameter that is there twice, nothing counts.
#[derive(Default)]
pub(super) struct Callback {
    code: Option<String>,
    error: Option<String>,
    /// Who answers (RFC 9207).
    pub(super) issuer: Option<String>,
    repeated: bool,
}

impl Callback {
    pub(super) fn parse(query: &str) -> Self {
        let mut callback = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = match &*name {
                "code" => &mut callback.code,
                "error" => &mut callback.error,
                "iss" => &mut callback.issuer,
                _ => continue,
            };
            callback.repeated |= field.replace(value.into_owned()).is_some();
        }
        callback
    }

    /// The code, or what the provider said instead.
    pub(super) fn code(&self, provider: &str) -> Result<&str, SignInError> {
        if self.repeated {
            return Err(SignInError::mismatch(provider, "a parameter of the callback is there twice"));
        }
        if let Some(error) = &self.error {
            return Err(refusal(provider, error));
        }
        self.code
            .as_deref()
            .filter(|code| !code.is_empty())
            .ok_or_else(|| SignInError::mismatch(provider, "the callback has neither code nor error"))
    }
}

/// What an `error` in the callback means (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6). Words that are not known are
/// not repeated: anybody can make a link with them.
fn refusal(provider: &str, error: &str) -> SignInError {
    let misconfigured =
        |what: &str| SignInError::Misconfigured { provider: provider.to_owned(), what: what.to_owned() };
    match error {
        "access_denied" => SignInError::Cancelled { provider: provider.to_owned() },
        "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
            SignInError::Expired
        }
        "server_error" | "temporarily_unavailable" => {
            SignInError::unreachable(provider, "the provider has trouble of its own")
        }
        "redirect_uri_mismatch" => misconfigured(
            "the callback URL is not registered there (redirect_uri_mismatch); register the issuer's /login/NAME/callback",
        ),
        "unauthorized_client" | "invalid_client" | "application_suspended" => misconfigured(
            "its client may not sign people in there (unauthorized_client); check the client in the provider's settings",
        ),
        "invalid_scope" => {
            misconfigured("a scope is not known there (invalid_scope); correct scopes of this login in the McpEndpoint")
        }
        _ => SignInError::unexpected(provider, "the provider refused the authorization request"),
    }
}
