//! Who makes a request: from the `Authorization` header to a [`Caller`] (RFC 6750 §2.1).
//!
//! A signature costs more than the whole call behind it, so a verified token is remembered by its SHA-256 until it
//! expires; whether its client still exists, and what that client may do now, is looked up on every request.

use super::{
    Caller,
    jwt::{AccessTokens, Rejection},
};
use crate::config::{ClientVerifier, Clients};
use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// How many verified tokens are remembered; beyond, the one that expires first is forgotten.
const CAPACITY: usize = 4096;

type TokenHash = [u8; 32];

/// Verified tokens. Outlives a reload that leaves the keys and the URL as they were.
#[derive(Default)]
pub struct TokenCache {
    callers: RwLock<HashMap<TokenHash, Arc<Caller>>>,
}

/// Why a request has no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// It presents nothing.
    #[error("this endpoint needs an access token in the Authorization header")]
    Missing,
    /// Something else than one Bearer token.
    #[error("the Authorization header must be \"Bearer\" and one access token")]
    NotBearer,
    /// The token does not count.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Unauthenticated {
    /// One word, for metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotBearer => "not_bearer",
            Self::Rejected(rejection) => rejection.reason(),
        }
    }
}

/// The caller of a request with these headers.
pub fn caller(
    headers: &HeaderMap,
    tokens: &AccessTokens,
    clients: &Clients,
    cache: &TokenCache,
    now: Timestamp,
) -> Result<Arc<Caller>, Unauthenticated> {
    let token = bearer(headers)?;
    let hash: TokenHash = Sha256::digest(token.as_bytes()).into();
    let caller = match cache.get(&hash) {
        Some(caller) if now < caller.expires_at => caller,
        Some(_) => return Err(Rejection::Expired.into()),
        None => cache.insert(hash, tokens.verify(token, now)?, now),
    };
    let client = clients
        .get(&caller.client_id)
        .filter(|client| client.registered_at.is_none_or(|since| caller.issued_at >= since))
        .ok_or(Rejection::Client)?;
    Ok(narrowed(caller, client))
}

/// The caller with no more than what its client may have now.
fn narrowed(caller: Arc<Caller>, client: &ClientVerifier) -> Arc<Caller> {
    if caller.scopes.is_subset(&client.scopes) {
        return caller;
    }
    let scopes = caller.scopes.intersection(&client.scopes).copied().collect();
    Arc::new(Caller { scopes, ..Caller::clone(&caller) })
}

fn bearer(headers: &HeaderMap) -> Result<&str, Unauthenticated> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Unauthenticated::Missing)?;
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Unauthenticated::NotBearer)?;
    let token = token.trim_matches(' ');
    if values.next().is_some() || !scheme.eq_ignore_ascii_case("Bearer") || token.is_empty() || token.contains(' ') {
        return Err(Unauthenticated::NotBearer);
    }
    Ok(token)
}

impl TokenCache {
    fn get(&self, hash: &TokenHash) -> Option<Arc<Caller>> {
        // A poisoned map is whole: nothing panics between two writes to it.
        self.callers.read().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    fn insert(&self, hash: TokenHash, caller: Caller, now: Timestamp) -> Arc<Caller> {
        let caller = Arc::new(caller);
        let mut callers = self.callers.write().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CAPACITY {
            callers.retain(|_, caller| now < caller.expires_at);
        }
        if callers.len() >= CAPACITY {
            let first = callers.iter().min_by_key(|(_, caller)| caller.expires_at).map(|(hash, _)| *hash);
            first.map(|hash| callers.remove(&hash));
        }
        callers.insert(hash, Arc::clone(&caller));
        caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{ClientType, Grant, Scope},
        config::SigningKeys,
        oauth::jwt::Subject,
    };
    use http::HeaderValue;
    use rand::{SeedableRng as _, rngs::StdRng};
    use std::{collections::BTreeSet, time::Duration};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn tokens() -> AccessTokens {
        let keys = SigningKeys::generate(at(0), &mut StdRng::seed_from_u64(1)).unwrap();
        AccessTokens::new(&"https://h/mcp".parse().unwrap(), Duration::from_mins(15), &keys).unwrap()
    }

    fn clients(scopes: &[Scope]) -> Clients {
        Clients {
            clients: vec![ClientVerifier {
                client_id: "claude".to_owned(),
                display_name: "Claude".to_owned(),
                client_type: ClientType::Confidential,
                grants: vec![Grant::ClientCredentials],
                scopes: scopes.iter().copied().collect(),
                registered_at: None,
                redirect_uris: Vec::new(),
                secrets: Vec::new(),
                private_key_jwt: None,
            }],
        }
    }

    fn issue(tokens: &AccessTokens, seed: u64, now: i64) -> HeaderMap {
        let scopes = BTreeSet::from([Scope::FilesRead, Scope::WorkspacesExec]);
        let token =
            tokens.issue(&Subject::client("claude", &scopes), at(now), &mut StdRng::seed_from_u64(seed)).unwrap();
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())])
    }

    #[test]
    fn a_remembered_token_still_depends_on_its_client_and_the_time() {
        let (tokens, cache) = (tokens(), TokenCache::default());
        let headers = issue(&tokens, 1, 0);
        let both = clients(&[Scope::FilesRead, Scope::WorkspacesExec]);
        let first = caller(&headers, &tokens, &both, &cache, at(1)).unwrap();
        let second = caller(&headers, &tokens, &both, &cache, at(2)).unwrap();
        assert!(Arc::ptr_eq(&first, &second), "the second comes from the cache");

        let one = caller(&headers, &tokens, &clients(&[Scope::FilesRead]), &cache, at(3)).unwrap();
        assert_eq!(one.scopes, BTreeSet::from([Scope::FilesRead]), "scopes taken away count at once");
        assert_eq!(caller(&headers, &tokens, &Clients::default(), &cache, at(3)), Err(Rejection::Client.into()));
        assert_eq!(caller(&headers, &tokens, &both, &cache, at(900)), Err(Rejection::Expired.into()));

        let mut namesake = both;
        for (registered_at, accepted) in [(0, true), (1, false)] {
            namesake.clients[0].registered_at = Some(at(registered_at));
            assert_eq!(caller(&headers, &tokens, &namesake, &cache, at(3)).is_ok(), accepted, "{registered_at}");
        }
    }

    #[test]
    fn only_one_bearer_token_in_the_header_counts() {
        let (tokens, cache) = (tokens(), TokenCache::default());
        for (value, expected) in [
            ("Basic YTpi", Unauthenticated::NotBearer),
            ("Bearer", Unauthenticated::NotBearer),
            ("Bearer ", Unauthenticated::NotBearer),
            ("Bearer a b", Unauthenticated::NotBearer),
            ("Bearer abc", Unauthenticated::Rejected(Rejection::Malformed)),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            assert_eq!(caller(&headers, &tokens, &Clients::default(), &cache, at(0)), Err(expected), "{value}");
        }
        assert_eq!(
            caller(&HeaderMap::new(), &tokens, &Clients::default(), &cache, at(0)),
            Err(Unauthenticated::Missing)
        );
        let mut twice = issue(&tokens, 1, 0);
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert_eq!(caller(&twice, &tokens, &Clients::default(), &cache, at(0)), Err(Unauthenticated::NotBearer));
    }

    #[test]
    fn the_memory_of_tokens_is_bounded() {
        let cache = TokenCache::default();
        let verified = |second: usize| Caller {
            client_id: "claude".to_owned(),
            subject: "client:claude".to_owned(),
            user_name: None,
            grant: None,
            scopes: BTreeSet::new(),
            issued_at: at(0),
            expires_at: at(i64::try_from(second).unwrap()),
        };
        let hash = |number: usize| TokenHash::from(Sha256::digest(number.to_be_bytes()));
        for number in 0..CAPACITY + 10 {
            cache.insert(hash(number), verified(number + 100), at(0));
        }
        assert_eq!(cache.callers.read().unwrap().len(), CAPACITY);
        assert!(cache.get(&hash(9)).is_none() && cache.get(&hash(10)).is_some(), "the first to expire went first");
        cache.insert(hash(0), verified(1_000_000), at(1_000));
        assert!(cache.callers.read().unwrap().len() < CAPACITY, "expired ones go when room is needed");
    }
}
