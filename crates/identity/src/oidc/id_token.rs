//! ID tokens and logout tokens: what must hold before one is believed (OpenID Connect Core §3.1.3.7, OpenID Connect
//! Back-Channel Logout 1.0 §2.6, RFC 8725).

use crate::oidc::claims::Claims;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, errors::ErrorKind};
use serde_json::Value;

/// How far the provider's clock and ours may be apart, in seconds.
pub(super) const LEEWAY: i64 = 60;
/// Longer ones are not even tried.
const MAX_LENGTH: usize = 64 << 10;

/// What an ID token has to say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// The nonce of the sign-in; `None` for a token from a refresh, which need not have one (OpenID Connect Core §12.2).
    pub(super) nonce: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// Why an ID token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rejection {
    #[error("the token is malformed")]
    Malformed,
    #[error("the token is not signed with an algorithm of public keys that is known here")]
    Algorithm,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("the token comes from another issuer (iss)")]
    Issuer,
    #[error("the token is for another client (aud)")]
    Audience,
    #[error("the token is for several clients, or was given to another one (azp)")]
    AuthorizedParty,
    #[error("the token has expired, or does not say when it does (exp); are both clocks right?")]
    Expired,
    #[error("the token is from the future, or does not say when it was made (iat, nbf); are both clocks right?")]
    TooEarly,
    #[error("the token belongs to another sign-in, or is an ID token where a logout token is expected (nonce)")]
    Nonce,
    #[error("the token is no logout token (events)")]
    Event,
    #[error("the logout token has no id (jti)")]
    Id,
    #[error("the logout token names neither a session nor a user (sid, sub)")]
    Nobody,
}

/// The header, if its algorithm is one of public keys: never `none`, and never HS256 and its like, for which the public
/// key or the client's secret would do.
pub(super) fn header(token: &str) -> Result<Header, Rejection> {
    if token.len() > MAX_LENGTH {
        return Err(Rejection::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        // The only field of a header that must have one of a few values is `alg`; `none` is not among them.
        ErrorKind::Json(error) if error.is_data() => Rejection::Algorithm,
        _ => Rejection::Malformed,
    })?;
    match header.alg {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::EdDSA => Ok(header),
        _ => Err(Rejection::Algorithm),
    }
}

/// The claims of a token that holds.
pub(super) fn verify(
    token: &str,
    header: &Header,
    key: &DecodingKey,
    expected: &Expected<'_>,
) -> Result<Claims, Rejection> {
    let claims = signed(token, header, key)?;
    check(&claims, expected)?;
    Ok(claims)
}

/// The claims of a token whose signature is right.
fn signed(token: &str, header: &Header, key: &DecodingKey) -> Result<Claims, Rejection> {
    let mut signature_only = Validation::new(header.alg);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Claims>(token, key, &signature_only);
    decoded.map(|decoded| decoded.claims).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => Rejection::Signature,
        ErrorKind::InvalidAlgorithm => Rejection::Algorithm,
        _ => Rejection::Malformed,
    })
}

fn check(claims: &Claims, expected: &Expected<'_>) -> Result<(), Rejection> {
    if claims.text("iss") != Some(expected.issuer) {
        return Err(Rejection::Issuer);
    }
    let audiences: Vec<&Value> = match claims.get("aud") {
        Some(Value::Array(several)) => several.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    if !audiences.iter().any(|audience| *audience == expected.client_id) {
        return Err(Rejection::Audience);
    }
    let party_is_us = claims.get("azp").map(|party| party == expected.client_id);
    if party_is_us == Some(false) || (audiences.len() > 1 && party_is_us.is_none()) {
        return Err(Rejection::AuthorizedParty);
    }
    let now = expected.now.as_second();
    if claims.seconds("exp").is_none_or(|end| now >= end.saturating_add(LEEWAY)) {
        return Err(Rejection::Expired);
    }
    let in_future = |time: i64| time > now.saturating_add(LEEWAY);
    if claims.seconds("iat").is_none_or(in_future) || claims.seconds("nbf").is_some_and(in_future) {
        return Err(Rejection::TooEarly);
    }
    if expected.nonce.is_some() && claims.text("nonce") != expected.nonce {
        return Err(Rejection::Nonce);
    }
    Ok(())
}

/// The member of `events` that makes a JWT a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The claims of a logout token that holds (§2.6): as those of an ID token, with the event, a `jti`, and no `nonce`, so that
/// neither passes for the other. It names a session (`sid`), a user (`sub`) or both.
pub(super) fn verify_logout(
    token: &str,
    header: &Header,
    key: &DecodingKey,
    expected: &Expected<'_>,
) -> Result<Claims, Rejection> {
    let claims = verify(token, header, key, expected)?;
    let event = claims.get("events").and_then(|events| events.get(LOGOUT_EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(Rejection::Event);
    }
    if claims.get("nonce").is_some() {
        return Err(Rejection::Nonce);
    }
    if claims.text("jti").is_none() {
        return Err(Rejection::Id);
    }
    if claims.subject().is_none() && claims.text("sid").is_none() {
        return Err(Rejection::Nobody);
    }
    Ok(claims)
}
