//! `private_key_jwt`: a client authenticates with a JWT that it signed (RFC 7521 §4.2, RFC 7523 §3), and never sends
//! its private key.
//!
//! The client is both issuer and subject of an assertion, and this authorization server is the audience. An assertion
//! is short-lived and single-use: its `jti` becomes a [`Mark`], which is cached here and created in the store, so that
//! it is accepted only once by all servers, also after a restart. Tokens of service accounts (`grant_type` jwt-bearer)
//! are different: they may be presented more than once. The keys are those in the client's own description, inline or
//! at its `jwks_uri`; keys in the assertion's header are ignored.

use crate::clients::{
    document::public_keys,
    fetched::{FetchCache, Unusable},
};
use crate::{
    external_jwt::{self, Format, JwtError, KeySet, Token},
    single_use::Mark,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{DecodingKey, Header};
use portcullis_config::ClientVerifier;
use portcullis_core::{
    client::{JsonWebKeySet, PrivateKeyJwt},
    json,
};
use portcullis_outbound::Outbound;
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The value of `client_assertion_type`.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The algorithms that assertions may be signed with, as listed in the metadata.
pub const ALGORITHMS: [&str; 5] = ["ES256", "ES384", "EdDSA", "RS256", "PS256"];

const FORMAT: Format = Format { max_length: 8 << 10, algorithms: &external_jwt::ALGORITHMS };
/// The maximum remaining lifetime of an assertion, for which its mark must be kept.
const MAX_LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// How far the client's clock may be ahead.
const SKEW: SignedDuration = SignedDuration::from_mins(1);
/// The maximum number of cached marks. When it is reached, new assertions are refused; no old mark is dropped.
const CAPACITY: usize = 1 << 16;
/// The maximum number of cached marks of one client. Each is also an object in the store, so this limits the rate of a
/// client to 1024 objects in five minutes, enough for the refreshes of 3000 users.
const PER_CLIENT: usize = 1 << 10;
/// How long a key set is used without another fetch. A key that the client withdraws is accepted no longer than this,
/// unless the client's server cannot be reached.
const KEYS_FRESH: Duration = Duration::from_mins(5);
/// The maximum size of a key set, in bytes.
const MAX_KEY_SET: usize = 64 << 10;
/// The minimum interval between fetches of a key set because a key is missing.
const REFETCH: SignedDuration = SignedDuration::from_secs(30);
/// The accepted `typ` of the header: absent, the general one, and the specific one of the revision of RFC 7523.
const TYPES: [&str; 3] = ["", "jwt", "client-authentication+jwt"];

/// Verifies assertions. Survives reloads of the configuration.
pub struct Assertions {
    keys: FetchCache<KeySet>,
    used: Mutex<Used>,
}

/// The valid marks by client and name, with their expiry.
#[derive(Default)]
struct Used {
    by_client: HashMap<String, HashMap<String, Timestamp>>,
    count: usize,
}

/// Why an assertion is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AssertionError {
    /// The assertion is not a JWT, or lacks a required claim.
    #[error("client_assertion must be a signed JWT with iss, sub, aud, exp and jti")]
    Malformed,
    /// The algorithm is `none`, HMAC, or another one that is not accepted.
    #[error("client_assertion must be signed with one of ES256, ES384, EdDSA, RS256 and PS256")]
    Algorithm,
    /// The `typ` is not accepted, or the header has a `crit`.
    #[error("the header of client_assertion must have the typ JWT or client-authentication+jwt, or none, and no crit")]
    Header,
    /// The issuer or the subject is not the client.
    #[error("iss and sub of client_assertion must both be the client's id")]
    Client,
    /// The audience is not this server.
    #[error("aud of client_assertion must be the issuer or the token endpoint")]
    Audience,
    /// The assertion has expired.
    #[error("client_assertion has expired; sign a new one")]
    Expired,
    /// `iat` or `nbf` is in the future.
    #[error("iat or nbf of client_assertion is in the future; check the client's clock")]
    Early,
    /// The assertion expires too late: its mark would have to be kept for too long.
    #[error("exp of client_assertion must be at most 5 minutes ahead")]
    TooLong,
    /// The assertion was used before.
    #[error("client_assertion was used before; sign a new one with a unique jti")]
    Used,
    /// The client does not use `private_key_jwt`.
    #[error("the client does not authenticate with private_key_jwt")]
    NoKeys,
    /// No key of the client matches the header.
    #[error("none of the client's keys has this kid and is for this algorithm")]
    Key,
    /// The signature is wrong.
    #[error("the signature of client_assertion is wrong")]
    Signature,
    /// The keys cannot be fetched.
    #[error("the client's keys cannot be used: {0}")]
    KeySet(String),
    /// Too many marks are cached.
    #[error(
        "too many assertions were used in the last minutes; use access tokens until they expire, and try again shortly"
    )]
    Busy,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    iat: Option<f64>,
    nbf: Option<f64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// The subject of an assertion, unverified: finds the client if the request does not name it (RFC 7521 §4.2).
#[must_use]
pub fn subject(assertion: &str) -> Option<String> {
    claims(assertion).map(|claims| claims.sub)
}

impl Assertions {
    /// A verifier without cached keys and marks.
    #[must_use]
    pub fn new(outbound: Arc<Outbound>) -> Self {
        Self { keys: FetchCache::new(outbound, MAX_KEY_SET, KEYS_FRESH), used: Mutex::default() }
    }

    /// Verifies that `client` signed `assertion` for one of `audiences`, which are the issuer and the token endpoint.
    /// The assertion is accepted once the store has created the returned mark.
    pub async fn verify(
        &self,
        assertion: &str,
        client: &ClientVerifier,
        audiences: [&str; 2],
        now: Timestamp,
    ) -> Result<Mark, AssertionError> {
        let token = header(assertion)?;
        let claims = claims(assertion).ok_or(AssertionError::Malformed)?;
        let expires_at = claims.check(&client.client_id, &audiences, now)?;
        let keys = client.private_key_jwt.as_ref().ok_or(AssertionError::NoKeys)?;
        let candidates = self.candidates(keys, &token.header, now).await?;
        if candidates.is_empty() {
            return Err(AssertionError::Key);
        }
        if !candidates.iter().any(|key| token.claims::<Claims>(key).is_ok()) {
            return Err(AssertionError::Signature);
        }
        let mark = Mark::assertion(audiences[0], &claims.sub, &claims.jti, expires_at);
        self.used().take(&mark, now)?;
        Ok(mark)
    }

    /// Forgets a mark that the store could not create: the client may retry with the same assertion.
    pub fn forget(&self, mark: &Mark) {
        self.used().forget(mark);
    }

    async fn candidates(
        &self,
        keys: &PrivateKeyJwt,
        header: &Header,
        now: Timestamp,
    ) -> Result<Vec<Arc<DecodingKey>>, AssertionError> {
        let candidates = |set: &KeySet| set.candidates(header).map(|key| Arc::clone(&key.verifier)).collect::<Vec<_>>();
        if let Some(set) = &keys.jwks {
            return Ok(candidates(&key_set(set)));
        }
        let uri = keys.jwks_uri.as_deref().ok_or(AssertionError::NoKeys)?;
        let fetch = async |not_before| {
            let found = self.keys.get(uri, now, not_before, read_keys).await;
            found.map_err(|Unusable(why)| AssertionError::KeySet(why))
        };
        let found = candidates(&*fetch(None).await?);
        if !found.is_empty() {
            return Ok(found);
        }
        // The client may have published a new key.
        let recently = now.checked_sub(REFETCH).unwrap_or(Timestamp::MIN);
        Ok(candidates(&*fetch(Some(recently)).await?))
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // A poisoned map is consistent: no code panics between two writes to it.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn take(&mut self, mark: &Mark, now: Timestamp) -> Result<(), AssertionError> {
        let known = self.by_client.get(&mark.client_id);
        if known.and_then(|marks| marks.get(&mark.name)).is_some_and(|until| now < *until) {
            return Err(AssertionError::Used);
        }
        if known.is_some_and(|marks| marks.len() >= PER_CLIENT) || self.count >= CAPACITY {
            self.by_client.retain(|_, marks| {
                marks.retain(|_, until| now < *until);
                !marks.is_empty()
            });
            self.count = self.by_client.values().map(HashMap::len).sum();
        }
        let full = self.by_client.get(&mark.client_id).is_some_and(|marks| marks.len() >= PER_CLIENT);
        if full || self.count >= CAPACITY {
            return Err(AssertionError::Busy);
        }
        let marks = self.by_client.entry(mark.client_id.clone()).or_default();
        if marks.insert(mark.name.clone(), mark.until).is_none() {
            self.count += 1;
        }
        Ok(())
    }

    fn forget(&mut self, mark: &Mark) {
        if self.by_client.get_mut(&mark.client_id).is_some_and(|marks| marks.remove(&mark.name).is_some()) {
            self.count -= 1;
        }
    }
}

fn read_keys(body: &[u8]) -> Result<KeySet, String> {
    let set = serde_json::from_slice(body).map_err(|_| "its key set is not JSON".to_owned())?;
    public_keys(&set).map(|set| key_set(&set))
}

fn key_set(set: &JsonWebKeySet) -> KeySet {
    KeySet::read(set.keys.iter().filter_map(|key| serde_json::to_value(key).ok()))
}

/// Parses the header. Keys in it, or URLs of keys, are not read.
fn header(assertion: &str) -> Result<Token<'_>, AssertionError> {
    let token = Token::parse(assertion, &FORMAT).map_err(|error| match error {
        JwtError::Algorithm => AssertionError::Algorithm,
        _ => AssertionError::Malformed,
    })?;
    if token.header.crit.is_some() || !TYPES.contains(&token.typ().unwrap_or_default().as_str()) {
        return Err(AssertionError::Header);
    }
    Ok(token)
}

/// The claims, unverified.
fn claims(assertion: &str) -> Option<Claims> {
    if assertion.len() > FORMAT.max_length {
        return None;
    }
    let payload = assertion.split('.').nth(1)?;
    json::object(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

impl Claims {
    /// Checks all claims. Returns the time of expiry.
    fn check(&self, client_id: &str, audiences: &[&str], now: Timestamp) -> Result<Timestamp, AssertionError> {
        if self.iss != client_id || self.sub != client_id {
            return Err(AssertionError::Client);
        }
        let ours = |audience: &String| audiences.contains(&audience.as_str());
        let for_us = match &self.aud {
            Audience::One(audience) => ours(audience),
            Audience::Several(list) => list.iter().any(ours),
        };
        if !for_us {
            return Err(AssertionError::Audience);
        }
        if self.jti.is_empty() {
            return Err(AssertionError::Malformed);
        }
        let expires_at = time(self.exp)?;
        if now >= expires_at {
            return Err(AssertionError::Expired);
        }
        for begin in [self.iat, self.nbf].into_iter().flatten() {
            if time(begin)?.duration_since(now) > SKEW {
                return Err(AssertionError::Early);
            }
        }
        // Five minutes by the client's clock, which may be slightly ahead.
        let begins = self.iat.map(time).transpose()?.map_or(now, |issued| issued.max(now));
        if expires_at.duration_since(begins) > MAX_LIFETIME {
            return Err(AssertionError::TooLong);
        }
        Ok(expires_at)
    }
}

/// A NumericDate (RFC 7519 §2).
fn time(seconds: f64) -> Result<Timestamp, AssertionError> {
    let since = SignedDuration::try_from_secs_f64(seconds).map_err(|_| AssertionError::Malformed)?;
    Timestamp::from_duration(since).map_err(|_| AssertionError::Malformed)
}

#[cfg(test)]
mod tests;
