//! Refresh tokens: their format, their rotation, and the validation of presented tokens (OAuth 2.1 §4.3, RFC 9700
//! §4.14.2). Pure; the token endpoint does the I/O.
//!
//! `prt2.GRANT.GENERATION.SECRET.MAC`. The secret of the first token is random; each following secret is derived from
//! the previous one with a key of the servers, so that a client that lost a response and retries gets the same token,
//! from any server. A token without a valid MAC is rejected at once: a guess costs no read of the store and ends no
//! grant, and an `OAuthGrant` that is written by hand, with a chosen hash, issues nothing. An old token with a valid
//! MAC shows that there is a copy. A grant stores only the generation and the hash of the newest token.
//!
//! The first half of the MAC covers the token. The second half binds the token to its client and user: an `OAuthGrant`
//! that is written by hand for another user, with the name and hash of an existing grant, issues nothing. Tokens of
//! older servers (`prt1`) are not bound. They are accepted while their key is kept; the next token is bound.
//!
//! The keys are kept for the lifetime of a grant (`plan::keys`), so a key rotation ends no token.

use crate::{
    grant::Grant,
    mac::{Secret, hmac, of_each},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use portcullis_config::{KeyError, SigningKeys};
use portcullis_core::{grant::RefreshState, hex};
use rand::CryptoRng;
use sha2::{Digest as _, Sha256};
use std::{fmt, time::Duration};
use subtle::ConstantTimeEq as _;

/// How long after a rotation the previous token returns the same response again, if its successor was not used: for
/// responses that were lost. Clients were observed to retry after 39 seconds.
pub(crate) const GRACE: SignedDuration = SignedDuration::from_mins(2);

const PREFIX: &str = "prt2";
/// The prefix of tokens that are not bound to a client and a user.
const OLD_PREFIX: &str = "prt1";
/// The length of each half of a MAC, in bytes.
const HALF: usize = 16;
/// The maximum length of a token, in bytes.
const MAX_TOKEN: usize = 256;

/// Issues and reads the refresh tokens of one endpoint.
pub(crate) struct RefreshTokens {
    /// The first key issues tokens; all keys read them.
    keys: Vec<Key>,
    idle: Duration,
}

struct Key {
    mac: Secret,
    bind: Secret,
    next: Secret,
}

/// A presented token, in its parts. Its MAC is valid.
pub(crate) struct Presented {
    grant: String,
    generation: i64,
    secret: Secret,
    hash: String,
    /// The token without the MAC.
    message: String,
    /// The half of the MAC that binds the token to client and user; `None` for a token of an older server.
    bound: Option<[u8; HALF]>,
}

/// The client and the user of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    /// The client's id.
    pub client_id: &'a str,
    /// The user's id.
    pub user_id: &'a str,
}

impl<'a> From<&'a Grant> for Owner<'a> {
    fn from(grant: &'a Grant) -> Self {
        Self { client_id: &grant.client_id, user_id: &grant.user.id }
    }
}

/// A token to issue. Only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    text: String,
    generation: i64,
}

/// The result of validating a presented token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The token is the newest one. Its successor is issued once the grant is updated.
    Rotate(RefreshToken),
    /// The token is the previous one, and the response with this newest token may have been lost.
    Repeat(RefreshToken),
    /// The token is an old one: there is a copy of it.
    Replayed,
    /// The token is invalid.
    Invalid(Invalid),
}

/// Why a refresh token is invalid. The messages are for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The token was not issued here, or not for this grant.
    #[error("the refresh token is unknown; let the user approve again")]
    Unknown,
    /// The consent was revoked.
    #[error("the user's consent was revoked; let the user approve again")]
    Revoked,
    /// The consent has expired.
    #[error("the user's consent has ended; let the user approve again")]
    Ended,
    /// The token was not used for too long.
    #[error("the refresh token was not used for too long; let the user approve again")]
    Idle,
}

impl Invalid {
    /// The reason as one word, for audit events.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "refresh_token_unknown",
            Self::Revoked => "grant_revoked",
            Self::Ended => "grant_expired",
            Self::Idle => "refresh_token_idle",
        }
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("grant", &self.grant)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl RefreshToken {
    /// The text of the token.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The state to store in the grant.
    #[must_use]
    pub(crate) fn state(&self, now: Timestamp) -> RefreshState {
        RefreshState { generation: self.generation, hash: hash(&self.text), rotated_at: now }
    }
}

impl Presented {
    /// The name of the grant.
    #[must_use]
    pub(crate) fn grant(&self) -> &str {
        &self.grant
    }

    fn is(&self, state: &RefreshState) -> bool {
        let same = self.hash.as_bytes().ct_eq(state.hash.as_bytes());
        self.generation == state.generation && bool::from(same)
    }
}

impl RefreshTokens {
    /// Derives the keys from the sealing keys. A token expires after `idle` without use.
    pub(crate) fn new(keys: &SigningKeys, idle: Duration) -> Result<Self, KeyError> {
        let derive = |bytes: &Secret| Key {
            mac: hmac(bytes, &[b"portcullis refresh token mac v1"]),
            bind: hmac(bytes, &[b"portcullis refresh token owner v1"]),
            next: hmac(bytes, &[b"portcullis refresh token next v1"]),
        };
        Ok(Self { keys: of_each(keys, derive)?, idle })
    }

    /// The first token of a grant.
    pub(crate) fn first(&self, grant: &str, owner: Owner<'_>, rng: &mut dyn CryptoRng) -> Option<RefreshToken> {
        let mut secret = Secret::default();
        rng.fill_bytes(&mut secret);
        self.keys.first().map(|key| key.token(grant, owner, 0, &secret))
    }

    /// Parses a presented token. `None` if it is malformed or its MAC is invalid.
    #[must_use]
    pub(crate) fn read(&self, text: &str) -> Option<Presented> {
        if text.len() > MAX_TOKEN {
            return None;
        }
        let (message, mac) = text.rsplit_once('.')?;
        let mut parts = message.split('.');
        let (prefix, grant, generation, secret) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if !matches!(prefix, PREFIX | OLD_PREFIX) || parts.next().is_some() || !is_grant_name(grant) {
            return None;
        }
        let (generation, secret, mac) = (count(generation)?, bytes(secret)?, bytes(mac)?);
        let (own, bound) = match (prefix, mac.split_first_chunk::<HALF>()) {
            (PREFIX, Some((own, bound))) => (own.as_slice(), Some(bound.try_into().ok()?)),
            _ => (mac.as_slice(), None),
        };
        let is_of = |key: &Key| bool::from(hmac(&key.mac, &[message.as_bytes()])[..own.len()].ct_eq(own));
        let (grant, hash, message) = (grant.to_owned(), hash(text), message.to_owned());
        self.keys.iter().any(is_of).then_some(Presented { grant, generation, secret, hash, message, bound })
    }

    /// Whether a token was issued for `grant`, now or earlier.
    #[must_use]
    pub(crate) fn belongs(&self, presented: &Presented, grant: &Grant) -> bool {
        let bound = presented.bound.as_ref().is_none_or(|bound| {
            self.keys.iter().any(|key| bool::from(key.bound(&presented.message, grant.into()).ct_eq(bound)))
        });
        presented.grant == grant.name && bound
    }

    /// Validates `presented` for `grant` at `now`.
    #[must_use]
    pub(crate) fn decide(&self, presented: &Presented, grant: &Grant, now: Timestamp) -> Decision {
        let Some(state) = grant.refresh.as_ref().filter(|_| self.belongs(presented, grant)) else {
            return Decision::Invalid(Invalid::Unknown);
        };
        if grant.revoked.is_some() {
            return Decision::Invalid(Invalid::Revoked);
        }
        if !grant.is_active(now) {
            return Decision::Invalid(Invalid::Ended);
        }
        if presented.is(state) {
            return if now >= self.idle_at(state) {
                Decision::Invalid(Invalid::Idle)
            } else {
                self.rotate(presented, grant)
            };
        }
        // The token was issued for this grant, but is not the newest one that the grant records.
        if presented.generation > state.generation {
            // The grant is from a backup, or this copy is outdated, which the write will detect.
            return self.rotate(presented, grant);
        }
        // The successor is the newest token, so it has not been used.
        let follows = || presented.generation.checked_add(1) == Some(state.generation);
        if follows() && now.duration_since(state.rotated_at) < GRACE {
            // Try every key: the keys may have been rotated since.
            let same = |token: &RefreshToken| bool::from(hash(&token.text).as_bytes().ct_eq(state.hash.as_bytes()));
            if let Some(token) = self.keys.iter().filter_map(|key| key.after(presented, grant)).find(same) {
                return Decision::Repeat(token);
            }
        }
        if presented.generation == state.generation {
            return Decision::Invalid(Invalid::Unknown);
        }
        Decision::Replayed
    }

    /// When the newest token expires if it is not used.
    #[must_use]
    pub(crate) fn idle_at(&self, state: &RefreshState) -> Timestamp {
        state.rotated_at.saturating_add(self.idle).unwrap_or(Timestamp::MAX)
    }

    fn rotate(&self, presented: &Presented, grant: &Grant) -> Decision {
        let next = self.keys.first().and_then(|key| key.after(presented, grant));
        next.map_or(Decision::Invalid(Invalid::Unknown), Decision::Rotate)
    }
}

impl Key {
    fn token(&self, grant: &str, owner: Owner<'_>, generation: i64, secret: &Secret) -> RefreshToken {
        let message = format!("{PREFIX}.{grant}.{generation}.{}", URL_SAFE_NO_PAD.encode(secret));
        let own = hmac(&self.mac, &[message.as_bytes()]);
        let mac = URL_SAFE_NO_PAD.encode([&own[..HALF], &self.bound(&message, owner)].concat());
        RefreshToken { text: format!("{message}.{mac}"), generation }
    }

    fn bound(&self, message: &str, owner: Owner<'_>) -> [u8; HALF] {
        let length = owner.client_id.len().to_be_bytes();
        let parts = [message.as_bytes(), &length, owner.client_id.as_bytes(), owner.user_id.as_bytes()];
        let mut half = [0; HALF];
        half.copy_from_slice(&hmac(&self.bind, &parts)[..HALF]);
        half
    }

    fn after(&self, token: &Presented, grant: &Grant) -> Option<RefreshToken> {
        let secret = hmac(&self.next, &[b"next", token.grant.as_bytes(), &token.secret]);
        Some(self.token(&token.grant, grant.into(), token.generation.checked_add(1)?, &secret))
    }
}

/// Whether this is a name that [`Code::grant_name`](super::code::Code::grant_name) can return.
fn is_grant_name(text: &str) -> bool {
    text.strip_prefix("g-").is_some_and(|digits| {
        digits.len() == 24 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A non-negative number in its canonical form.
fn count(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number: &i64| *number >= 0 && number.to_string() == text)
}

fn bytes(text: &str) -> Option<Secret> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn hash(token: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"portcullis refresh token\0");
    hash.update(token.as_bytes());
    format!("sha256:{}", hex(&hash.finalize()))
}

#[cfg(test)]
mod tests;
