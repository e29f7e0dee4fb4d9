//! Authenticates requests: from the `Authorization` header to a [`Caller`] (RFC 6750 §2.1).
//!
//! Verifying a signature takes longer than the rest of the call, so a verified token is cached by its SHA-256 until it
//! expires. The cache is dropped when the endpoint's own keys change. An external issuer does not announce that it
//! withdrew a key, so its tokens are verified again after [`REVERIFY`]. Whether the client still exists, what it may do
//! at present, and whether the user's grant is still valid is looked up on every request, in memory: a revocation takes
//! effect at the next request.

use crate::{
    AuthorizationServer, Caller, external,
    external_jwt::JwtError,
    generations::Generations,
    grant::{Grant, GrantLookup, Grants},
    jwt::AccessTokenError,
    user_rules::Ended,
    users::UserStatus,
    workload::Workload,
};
use http::{HeaderMap, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp};
use portcullis_config::OPERATOR_CLIENT_ID;
use portcullis_core::{Scope, report::chain};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use tokio::sync::OnceCell;

/// The maximum number of cached tokens. When it is reached, the oldest half is dropped.
const CAPACITY: usize = 4096;

/// How long the verification of an external issuer's token is valid. After that, the token is verified with the keys
/// that the issuer then publishes, which are at most five minutes old.
const REVERIFY: SignedDuration = SignedDuration::from_mins(5);

/// The maximum age of a token for which an unknown grant or client is read from the store: another server may have
/// created it a moment ago.
const FRESH: SignedDuration = SignedDuration::from_secs(10);

type TokenHash = [u8; 32];

/// Verified tokens. Survives a reload that does not change the keys and the URL.
pub struct TokenCache {
    callers: RwLock<Generations<TokenHash, Verified>>,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self { callers: RwLock::new(Generations::new(CAPACITY)) }
    }
}

/// A caller, and when the token's signature was verified.
#[derive(Clone)]
struct Verified {
    caller: Arc<Caller>,
    at: Timestamp,
}

impl Verified {
    /// Whether the token must be verified again.
    fn is_stale(&self, now: Timestamp) -> bool {
        self.caller.subject.starts_with(external::USER_PREFIX) && now.duration_since(self.at).abs() >= REVERIFY
    }
}

/// Why a request is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// The request has no `Authorization` header.
    #[error("this endpoint needs an access token in the Authorization header")]
    Missing,
    /// The header has another scheme than Bearer.
    #[error("this endpoint accepts access tokens only: \"Bearer\" and the token in the Authorization header")]
    OtherScheme,
    /// The header is not a single Bearer token.
    #[error("the Authorization header must be \"Bearer\" and one access token")]
    NotBearer,
    /// The token is invalid.
    #[error(transparent)]
    Rejected(#[from] AccessTokenError),
    /// The token of an external issuer is invalid.
    #[error(transparent)]
    External(JwtError),
    /// An administrator ended the access of the token's user.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The validity could not be determined. Nothing is wrong with the token.
    #[error("the access token cannot be checked at the moment; try again shortly")]
    Unavailable,
}

impl Unauthenticated {
    /// The reason as one word, for metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::OtherScheme => "other_scheme",
            Self::NotBearer => "not_bearer",
            Self::Rejected(error) => error.reason(),
            Self::External(error) => error.reason(),
            Self::Ended(ended) => ended.reason(),
            Self::Unavailable => "unavailable",
        }
    }
}

impl AuthorizationServer {
    /// Authenticates a request by its headers. Does I/O only to read a grant or a client that another server may have
    /// created a moment ago, and to fetch the keys of an external issuer.
    pub async fn caller(&self, headers: &HeaderMap, now: Timestamp) -> Result<Arc<Caller>, Unauthenticated> {
        self.bearer_of(bearer(headers)?, now).await
    }

    /// Whether the token of these headers is cached as verified: then [`Self::caller`] verifies no signature.
    #[must_use]
    pub fn remembers(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let hash = |token: &str| TokenHash::from(Sha256::digest(token.as_bytes()));
        let verified = bearer(headers).ok().and_then(|token| self.cache.get(&hash(token)));
        verified.is_some_and(|verified| now < verified.caller.expires_at && !verified.is_stale(now))
    }

    /// The caller that this access token authenticates.
    pub(super) async fn bearer_of(&self, token: &str, now: Timestamp) -> Result<Arc<Caller>, Unauthenticated> {
        let hash: TokenHash = Sha256::digest(token.as_bytes()).into();
        let caller = match self.cache.get(&hash) {
            Some(verified) if now >= verified.caller.expires_at => return Err(AccessTokenError::Expired.into()),
            Some(verified) if !verified.is_stale(now) => verified.caller,
            _ => self.cache.insert(hash, self.verified(token, now).await?, now),
        };
        if caller.subject.starts_with(external::USER_PREFIX) && self.external.is_some() {
            return match self.ended(&caller.subject, caller.issued_at) {
                Some(ended) => Err(ended.into()),
                None => Ok(caller),
            };
        }
        if let Some(workload) = Workload::parse(&caller.client_id) {
            let scopes = workload.scopes(&self.workload_rules);
            return if scopes.is_empty() {
                Err(AccessTokenError::Client.into())
            } else {
                Ok(narrowed(&caller, &scopes, None))
            };
        }
        let fresh = now.duration_since(caller.issued_at) < FRESH;
        let Some(name) = caller.grant.as_deref() else {
            let client = self.directory.valid_client(&caller.client_id, now).ok_or(AccessTokenError::Client)?;
            if client.registered_at().is_some_and(|since| caller.issued_at < since) {
                return Err(AccessTokenError::Client.into());
            }
            return Ok(narrowed(&caller, client.scopes(), None));
        };
        let grant = match self.grants.find(name) {
            GrantLookup::Present(grant) => grant,
            GrantLookup::Unknown if fresh => self.fresh.read(&*self.grants, name, now).await?,
            GrantLookup::Deleted | GrantLookup::Unknown => return Err(AccessTokenError::Revoked.into()),
        };
        if grant.client_id != caller.client_id || grant.user.id != caller.subject {
            return Err(AccessTokenError::Revoked.into());
        }
        // Checked before the grant, which is revoked a moment later, so that the client gets the reason.
        if let Some(ended) = self.ended(&grant.user.id, grant.signed_in_at) {
            return Err(ended.into());
        }
        if !grant.is_active(now) {
            return Err(AccessTokenError::Revoked.into());
        }
        match self.users.status_of(&grant.user.id, grant.evidence.as_ref()) {
            // If memory is not sufficient to decide, the next refresh decides.
            UserStatus::Valid | UserStatus::Unproven | UserStatus::Unavailable => {}
            UserStatus::Ended(_) | UserStatus::Missing => return Err(AccessTokenError::Revoked.into()),
        }
        let caller = match self.directory.valid_client(&caller.client_id, now) {
            Some(client) => narrowed(&caller, client.scopes(), Some(&grant.scopes)),
            None if fresh => {
                let client = self.directory.find(&caller.client_id, now).await.map_err(|_| AccessTokenError::Client)?;
                narrowed(&caller, &client.verifier.scopes, Some(&grant.scopes))
            }
            None => return Err(AccessTokenError::Client.into()),
        };
        self.grants.used(name, now);
        Ok(caller)
    }
}

impl AuthorizationServer {
    /// Verifies a token that is not in the cache.
    async fn verified(&self, token: &str, now: Timestamp) -> Result<Caller, Unauthenticated> {
        let Some(external) = &self.external else { return Ok(self.tokens.verify(token, now)?) };
        // The operator's own tokens, with which it checks the servers, are the only ones that are still issued here.
        match self.tokens.verify(token, now) {
            Ok(caller) if caller.client_id == OPERATOR_CLIENT_ID => Ok(caller),
            _ => Ok(external.verify(token, now).await?),
        }
    }
}

impl From<JwtError> for Unauthenticated {
    fn from(error: JwtError) -> Self {
        if error == JwtError::Unavailable { Self::Unavailable } else { Self::External(error) }
    }
}

/// The caller, limited to the scopes that its client may have and that the user approves at present.
fn narrowed(caller: &Arc<Caller>, client: &BTreeSet<Scope>, grant: Option<&BTreeSet<Scope>>) -> Arc<Caller> {
    let allowed = |scope: &Scope| client.contains(scope) && grant.is_none_or(|grant| grant.contains(scope));
    if caller.scopes.iter().all(allowed) {
        return Arc::clone(caller);
    }
    let scopes = caller.scopes.iter().copied().filter(allowed).collect();
    Arc::new(Caller { scopes, ..Caller::clone(caller) })
}

fn bearer(headers: &HeaderMap) -> Result<&str, Unauthenticated> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Unauthenticated::Missing)?;
    let text = value.to_str().map_err(|_| Unauthenticated::NotBearer)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if values.next().is_some() {
        return Err(Unauthenticated::NotBearer);
    }
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Unauthenticated::OtherScheme);
    }
    let token = token.trim_matches(' ');
    if token.is_empty() || token.contains(' ') {
        return Err(Unauthenticated::NotBearer);
    }
    Ok(token)
}

/// Reads of grants that are not in memory yet: one read at a time for each grant, however many requests wait for it,
/// and no second read of a missing grant.
#[derive(Default)]
pub(super) struct FreshGrants {
    reads: Mutex<HashMap<String, (Timestamp, Arc<FreshRead>)>>,
}

/// The result of a read.
type FreshRead = OnceCell<Result<Arc<Grant>, Unauthenticated>>;

impl FreshGrants {
    async fn read(&self, grants: &dyn Grants, name: &str, now: Timestamp) -> Result<Arc<Grant>, Unauthenticated> {
        let read = self.begin(name, now);
        let told = read.get_or_init(async || match grants.read(name).await {
            Ok(Some(grant)) => Ok(grant),
            Ok(None) => Err(AccessTokenError::Revoked.into()),
            Err(error) => {
                tracing::warn!(grant = name, error = chain(&error), "a grant could not be read");
                Err(Unauthenticated::Unavailable)
            }
        });
        let told = told.await.clone();
        // A missing grant stays missing, since names are never reused. Any other result may change.
        if told != Err(AccessTokenError::Revoked.into()) {
            self.end(name, &read);
        }
        told
    }

    fn begin(&self, name: &str, now: Timestamp) -> Arc<FreshRead> {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads.retain(|_, (since, _)| now.duration_since(*since) < FRESH);
        let (_, read) = reads.entry(name.to_owned()).or_insert_with(|| (now, Arc::default()));
        Arc::clone(read)
    }

    fn end(&self, name: &str, read: &Arc<FreshRead>) {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.get(name).is_some_and(|(_, known)| Arc::ptr_eq(known, read)) {
            reads.remove(name);
        }
    }
}

impl TokenCache {
    fn get(&self, hash: &TokenHash) -> Option<Verified> {
        // A poisoned map is consistent: no code panics between two writes to it.
        self.callers.read().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    fn insert(&self, hash: TokenHash, caller: Caller, now: Timestamp) -> Arc<Caller> {
        let caller = Arc::new(caller);
        let mut callers = self.callers.write().unwrap_or_else(PoisonError::into_inner);
        let forgotten = callers.insert(hash, Verified { caller: Arc::clone(&caller), at: now });
        drop(callers);
        drop(forgotten);
        caller
    }
}

#[cfg(test)]
mod tests;
