//! The common parts of every sign-in at a provider: the secrets of a flow (RFC 7636, OpenID Connect Core §3.1.2.1) and
//! the query of the callback (RFC 6749 §4.1.2, RFC 9207).

use crate::error::SignInError;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_core::grant::LoginEvidence;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

/// The secrets of one flow.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Secrets {
    /// The PKCE code verifier.
    pub(super) verifier: String,
    /// The nonce that the ID token must contain.
    pub(super) nonce: String,
}

/// One flow, at its callback from a provider.
pub(super) struct Flow<'a> {
    pub(super) secrets: &'a Secrets,
    pub(super) callback_url: &'a str,
    /// The maximum age of the authentication at the provider, in seconds.
    pub(super) max_age: Option<i64>,
}

/// A provider's account that the login's rules admit.
pub(super) struct Account {
    /// The account's id at the provider.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) evidence: LoginEvidence,
    /// The token for rechecks.
    pub(super) token: Option<String>,
    /// The id of the session at the provider (`sid`).
    pub(super) session: Option<String>,
}

impl Secrets {
    pub(super) fn generate(rng: &mut dyn CryptoRng) -> Self {
        let (mut verifier, mut nonce) = ([0_u8; 32], [0_u8; 16]);
        rng.fill_bytes(&mut verifier);
        rng.fill_bytes(&mut nonce);
        Self { verifier: URL_SAFE_NO_PAD.encode(verifier), nonce: URL_SAFE_NO_PAD.encode(nonce) }
    }

    /// The code challenge for the method `S256`.
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }
}

/// The query of the provider's redirect to the callback. A repeated parameter invalidates it.
#[derive(Default)]
pub(super) struct Callback {
    code: Option<String>,
    error: Option<String>,
    /// The issuer of the response (RFC 9207).
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

    /// The code, or the error of the response.
    pub(super) fn code(&self, provider: &str) -> Result<&str, SignInError> {
        if self.repeated {
            return Err(SignInError::mismatch(provider, "a parameter of the callback is repeated"));
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

/// The meaning of an `error` in the callback (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6). The message does not
/// repeat unknown error codes, since anyone can create a link that contains one.
fn refusal(provider: &str, error: &str) -> SignInError {
    let misconfigured =
        |what: &str| SignInError::Misconfigured { provider: provider.to_owned(), what: what.to_owned() };
    match error {
        "access_denied" => SignInError::Cancelled { provider: provider.to_owned() },
        "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
            SignInError::Expired
        }
        "server_error" | "temporarily_unavailable" => {
            SignInError::unreachable(provider, "the provider reports an internal error")
        }
        "redirect_uri_mismatch" => misconfigured(
            "the callback URL is not registered there (redirect_uri_mismatch); register the issuer's /login/NAME/callback",
        ),
        "unauthorized_client" | "invalid_client" | "application_suspended" => misconfigured(
            "its client may not sign users in there (unauthorized_client); check the client in the provider's settings",
        ),
        "invalid_scope" => misconfigured(
            "a scope is not known there (invalid_scope); correct scopes of this login in the McpEndpoint, or set offlineAccess: Never if the client may not have offline_access",
        ),
        _ => SignInError::unexpected(provider, "the provider refused the authorization request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    #[test]
    fn secrets_are_as_rfc_7636_wants_them_and_differ_each_time() {
        let known =
            Secrets { verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned(), nonce: String::new() };
        assert_eq!(known.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let mut rng = StdRng::seed_from_u64(1);
        let (one, other) = (Secrets::generate(&mut rng), Secrets::generate(&mut rng));
        assert_eq!((one.verifier.len(), one.nonce.len()), (43, 22));
        assert!(one.verifier != other.verifier && one.nonce != other.nonce);
    }

    #[test]
    fn what_comes_back_is_a_code_or_a_reason() {
        let outcome = |query: &str| match Callback::parse(query).code("Idp") {
            Ok(code) => code.to_owned(),
            Err(error) => error.reason().to_owned(),
        };
        for (query, found) in [
            ("code=a%2Bb&state=s", "a+b"),
            ("", "mismatch"),
            ("code=", "mismatch"),
            ("code=a&code=b", "mismatch"),
            ("code=a&error=access_denied", "cancelled"),
            ("error=access_denied&error=server_error", "mismatch"),
            ("error=access_denied&error_description=x", "cancelled"),
            ("error=temporarily_unavailable", "provider_unreachable"),
            ("error=redirect_uri_mismatch", "provider_misconfigured"),
            ("error=unauthorized_client", "provider_misconfigured"),
            ("error=invalid_scope", "provider_misconfigured"),
            ("error=login_required", "expired"),
            ("error=%3Cscript%3E", "provider_unexpected"),
        ] {
            assert_eq!(outcome(query), found, "{query}");
        }
        let shown = Callback::parse("error=%3Cscript%3E").code("Idp").unwrap_err().to_string();
        assert!(!shown.contains("script"), "{shown}");
    }

    proptest! {
        #[test]
        fn whatever_comes_back_a_code_counts_only_if_it_is_there_once(query in "[a-z=&%0-9]{0,40}|code=\\PC{0,20}&(code|iss|error)=x") {
            let names = || form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "code");
            if let Ok(code) = Callback::parse(&query).code("GitHub") {
                prop_assert_eq!(names().count(), 1);
                prop_assert!(!code.is_empty());
            }
        }
    }
}
