//! The verification of ID tokens and logout tokens (OpenID Connect Core §3.1.3.7, OpenID Connect Back-Channel Logout
//! 1.0 §2.6, RFC 8725).

use crate::oidc::claims::UserClaims as _;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey};
use portcullis_oauth::external_jwt::{Claims, Format, JwtError, LEEWAY, Policy, Token};
use serde_json::Value;

/// All asymmetric algorithms.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The format of ID tokens and logout tokens.
pub(super) const FORMAT: Format = Format { max_length: 64 << 10, algorithms: &ALGORITHMS };

/// The expected claims of an ID token.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// The nonce of the sign-in; `None` for a token from a refresh, which may lack it (OpenID Connect Core §12.2).
    pub(super) nonce: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// Why an ID token is refused. The messages are for administrators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IdTokenError {
    #[error("the token is malformed")]
    Malformed,
    #[error("the token is not signed with a supported public-key algorithm")]
    Algorithm,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("the token comes from another issuer (iss)")]
    Issuer,
    #[error("the token is for another client (aud)")]
    Audience,
    #[error("the token is for several clients, or was issued to another one (azp)")]
    AuthorizedParty,
    #[error("the token has expired, or has no exp; check both clocks")]
    Expired,
    #[error("the token was issued in the future, or has no iat (iat, nbf); check both clocks")]
    TooEarly,
    #[error("the token belongs to another sign-in, or is an ID token where a logout token is expected (nonce)")]
    Nonce,
    #[error("the token is not a logout token (events)")]
    Event,
    #[error("the logout token has no id (jti)")]
    Id,
    #[error("the logout token names neither a session nor a user (sid, sub)")]
    Nobody,
}

impl From<JwtError> for IdTokenError {
    fn from(error: JwtError) -> Self {
        match error {
            JwtError::Algorithm => Self::Algorithm,
            JwtError::Signature => Self::Signature,
            JwtError::Issuer => Self::Issuer,
            JwtError::Audience => Self::Audience,
            JwtError::Expired | JwtError::MissingClaim("exp") => Self::Expired,
            JwtError::TooEarly | JwtError::MissingClaim("iat") => Self::TooEarly,
            _ => Self::Malformed,
        }
    }
}

/// Verifies an ID token and returns its claims.
pub(super) fn verify(token: &Token<'_>, key: &DecodingKey, expected: &Expected<'_>) -> Result<Claims, IdTokenError> {
    let claims: Claims = token.claims(key)?;
    let policy = Policy {
        issuer: expected.issuer,
        audience: expected.client_id,
        ignores_trailing_slash: false,
        expiry_leeway: LEEWAY,
        requires_issued_at: true,
    };
    claims.check(&policy, expected.now)?;
    let party_is_us = claims.get("azp").map(|party| party == expected.client_id);
    if party_is_us == Some(false) || (claims.audiences().len() > 1 && party_is_us.is_none()) {
        return Err(IdTokenError::AuthorizedParty);
    }
    if expected.nonce.is_some() && claims.text("nonce") != expected.nonce {
        return Err(IdTokenError::Nonce);
    }
    Ok(claims)
}

/// The member of `events` that makes a JWT a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Verifies a logout token and returns its claims (§2.6). The checks of an ID token apply, and in addition the event
/// and a `jti` are required and a `nonce` is forbidden, so that neither kind of token passes for the other. The token
/// names a session (`sid`), a user (`sub`) or both.
pub(super) fn verify_logout(
    token: &Token<'_>,
    key: &DecodingKey,
    expected: &Expected<'_>,
) -> Result<Claims, IdTokenError> {
    let claims = verify(token, key, expected)?;
    let event = claims.get("events").and_then(|events| events.get(LOGOUT_EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(IdTokenError::Event);
    }
    if claims.get("nonce").is_some() {
        return Err(IdTokenError::Nonce);
    }
    if claims.text("jti").is_none() {
        return Err(IdTokenError::Id);
    }
    if claims.subject().is_none() && claims.text("sid").is_none() {
        return Err(IdTokenError::Nobody);
    }
    Ok(claims)
}
