//! `private_key_jwt`: a client proves itself with a JWT that it signed (RFC 7521 §4.2, RFC 7523 §3), and keeps its key to
//! itself.
//!
//! An assertion is from and about the client, for this authorization server, short-lived, and good once: its `jti` becomes a
//! [`Mark`], which is remembered here and created in the store, so that no other server and no restart lets it count again.
//! Tokens of service accounts (`grant_type` jwt-bearer) are another matter: they are made to be presented more than once. The keys are those that the client's own description names, in
//! it or at its `jwks_uri`; whatever the assertion's header brings along counts for nothing.

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

/// The algorithms that assertions may be signed with, as metadata list them.
pub const ALGORITHMS: [&str; 5] = ["ES256", "ES384", "EdDSA", "RS256", "PS256"];

const FORMAT: Format = Format { max_length: 8 << 10, algorithms: &external_jwt::ALGORITHMS };
/// How long an assertion may be valid: it must be remembered for so long.
const MAX_LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// How far ahead the client's clock may be.
const SKEW: SignedDuration = SignedDuration::from_mins(1);
/// How many used ones are remembered. If there were more, new ones would be refused rather than old ones forgotten.
const CAPACITY: usize = 1 << 16;
/// How many of one client. Each is also an object in the store, so this limits how fast one client can fill that: to 1024 in
/// five minutes, enough for the refreshes of 3000 users.
const PER_CLIENT: usize = 1 << 10;
/// How long a key set is used without looking again. A key that the client withdraws counts no longer than this, unless its
/// server cannot be reached.
const KEYS_FRESH: Duration = Duration::from_mins(5);
/// The most bytes of a key set.
const MAX_KEY_SET: usize = 64 << 10;
/// How often, at most, a key set is fetched again because it lacks a key.
const REFETCH: SignedDuration = SignedDuration::from_secs(30);
/// The types that the header may say: none, the general one, and the special one of RFC 7523's revision.
const TYPES: [&str; 3] = ["", "jwt", "client-authentication+jwt"];

/// What verifies assertions. Outlives reloads of the configuration.
pub struct Assertions {
    keys: FetchCache<KeySet>,
    used: Mutex<Used>,
}

/// The marks that count, by client and name, with their ends.
#[derive(Default)]
struct Used {
    by_client: HashMap<String, HashMap<String, Timestamp>>,
    count: usize,
}

/// Why an assertion does not count.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AssertionError {
    /// No JWT, or one without a claim that it must have.
    #[error("client_assertion must be a signed JWT with iss, sub, aud, exp and jti")]
    Malformed,
    /// `none`, HMAC, or another.
    #[error("client_assertion must be signed with one of ES256, ES384, EdDSA, RS256 and PS256")]
    Algorithm,
    /// Another `typ`, or a header that must be understood and is not.
    #[error("the header of client_assertion must have the typ JWT or client-authentication+jwt, or none, and no crit")]
    Header,
    /// Not from or not about the client.
    #[error("iss and sub of client_assertion must both be the client's id")]
    Client,
    /// For somebody else.
    #[error("aud of client_assertion must be the issuer or the token endpoint")]
    Audience,
    /// Its time is over.
    #[error("client_assertion has expired; sign a new one")]
    Expired,
    /// Its time has not come.
    #[error("iat or nbf of client_assertion is in the future; is the client's clock right?")]
    Early,
    /// It would have to be remembered for too long.
    #[error("exp of client_assertion must be at most 5 minutes ahead")]
    TooLong,
    /// It was presented before.
    #[error("client_assertion was used before; sign a new one with a jti of its own")]
    Used,
    /// The client does not prove itself so.
    #[error("the client does not authenticate with private_key_jwt")]
    NoKeys,
    /// None of its keys is the one.
    #[error("none of the client's keys has this kid and is for this algorithm")]
    Key,
    /// The signature is wrong.
    #[error("the signature of client_assertion is wrong")]
    Signature,
    /// The keys cannot be fetched.
    #[error("the client's keys cannot be used: {0}")]
    KeySet(String),
    /// Too many are remembered.
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

/// Whom an assertion is about, unverified: to look the client up where the request does not name it (RFC 7521 §4.2).
#[must_use]
pub fn subject(assertion: &str) -> Option<String> {
    claims(assertion).map(|claims| claims.sub)
}

impl Assertions {
    /// Nothing fetched and nothing used yet.
    #[must_use]
    pub fn new(outbound: Arc<Outbound>) -> Self {
        Self { keys: FetchCache::new(outbound, MAX_KEY_SET, KEYS_FRESH), used: Mutex::default() }
    }

    /// Whether `assertion` proves that `client` makes the request. `audiences` are the issuer and the token endpoint. The
    /// assertion counts once the store has created the mark that this returns.
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

    /// The store could not create this mark: the client may try again with the same assertion.
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
        // The client may have a new key.
        let recently = now.checked_sub(REFETCH).unwrap_or(Timestamp::MIN);
        Ok(candidates(&*fetch(Some(recently)).await?))
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // A poisoned map is whole: nothing panics between two writes to it.
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
    let set = serde_json::from_slice(body).map_err(|_| "its key set is no JSON".to_owned())?;
    public_keys(&set).map(|set| key_set(&set))
}

fn key_set(set: &JsonWebKeySet) -> KeySet {
    KeySet::read(set.keys.iter().filter_map(|key| serde_json::to_value(key).ok()))
}

/// The header. Keys that the header brings along, or says to fetch, are not read.
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
    /// Holds all of them against what they must be; answers with the time of expiry.
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
        // Five minutes by the client's clock, which may be a little ahead.
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
