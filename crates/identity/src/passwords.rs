//! Local users: the bcrypt and argon2 hashes of an htpasswd file.
//!
//! Hashing is deliberately slow. It runs on blocking threads with limited concurrency, so that a flood of attempts can
//! occupy neither all processors nor all memory. An unknown user name costs as much as a known one: the password is
//! verified against the hash of another user, and the result is ignored.

use crate::error::SignInError;
use arc_swap::ArcSwapOption;
use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use portcullis_budget::{Holders, Pool};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// The maximum length of a password, in bytes. Longer ones are rejected without hashing.
const MAX_PASSWORD: usize = 1024;
/// The number of permits for concurrent hashing.
const AT_ONCE: u32 = 2;
/// The memory, in KiB, above which an argon2 hash takes all permits.
const HEAVY: u32 = 32 * 1024;
/// The timeout of an attempt that waits for a permit or for memory.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The permits for hashing, shared by all logins and kept at a reload.
#[derive(Debug)]
pub(super) struct HashPermits {
    semaphore: Arc<Semaphore>,
    timeout: Duration,
    /// The memory that hashing shares with requests.
    memory: ArcSwapOption<Pool>,
}

impl Default for HashPermits {
    fn default() -> Self {
        let semaphore = Arc::new(Semaphore::new(AT_ONCE as usize));
        Self { semaphore, timeout: PERMIT_TIMEOUT, memory: ArcSwapOption::empty() }
    }
}

impl HashPermits {
    /// Charges the memory of hashing to this pool from now on.
    pub(super) fn charge(&self, memory: &Arc<Pool>) {
        self.memory.store(Some(Arc::clone(memory)));
    }
}

/// The users of one login.
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// The secret that selects the hash for an unknown name: a digest of the users, so that it changes only with them.
    stand_in: [u8; 32],
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Self {
        let mut digest = Sha256::new();
        for (name, hash) in &hashes {
            digest.update((name.len() as u64).to_be_bytes());
            digest.update(name);
            digest.update(hash);
        }
        Self { hashes, stand_in: digest.finalize().into() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.hashes.contains_key(name)
    }

    /// Whether the password is the user's.
    pub(super) async fn check(&self, permits: &HashPermits, name: &str, password: String) -> Result<bool, SignInError> {
        let known = self.has(name);
        let Some(hash) = self.hashes.get(name).or_else(|| self.hash_for_unknown_user(name)).cloned() else {
            return Ok(false);
        };
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let semaphore = Arc::clone(&permits.semaphore).acquire_many_owned(weight(&hash));
        let permit =
            timeout(permits.timeout, semaphore).await.map_err(|_| SignInError::Busy { wait: PERMIT_TIMEOUT })?;
        let permit = permit.map_err(|error| SignInError::Internal(error.into()))?;
        let memory = match permits.memory.load_full() {
            Some(pool) => {
                // A hash that needs more than the whole budget takes the whole budget. The operator reports hashes that
                // cost too much.
                let taken = pool.take(memory(&hash).min(pool.total()), Holders::default());
                Some(timeout(permits.timeout, taken).await.map_err(|_| SignInError::Busy { wait: PERMIT_TIMEOUT })?)
            }
            None => None,
        };
        let right = spawn_blocking(move || {
            let right = verify(&hash, password.as_bytes());
            drop((permit, memory));
            right
        });
        Ok(right.await.map_err(|error| SignInError::Internal(error.into()))? && known)
    }

    /// The hash for an unknown name: always that of the same user, so that repeated attempts take the same time, and
    /// with the same distribution of costs as known users.
    fn hash_for_unknown_user(&self, name: &str) -> Option<&String> {
        let digest: [u8; 32] = Sha256::new().chain_update(self.stand_in).chain_update(name).finalize().into();
        let number =
            digest.iter().fold(0_usize, |number, byte| number.wrapping_mul(256).wrapping_add(usize::from(*byte)));
        self.hashes.values().nth(number.checked_rem(self.hashes.len())?)
    }
}

/// The number of permits that a hash takes.
fn weight(hash: &str) -> u32 {
    if memory(hash) > u64::from(HEAVY) << 10 { AT_ONCE } else { 1 }
}

/// The memory to verify a hash, in bytes.
fn memory(hash: &str) -> u64 {
    let kibibytes = PasswordHash::new(hash).ok().and_then(|hash| hash.params.get_decimal("m"));
    kibibytes.map_or(0, |kibibytes| u64::from(kibibytes) << 10)
}

/// A hash that cannot be parsed matches no password.
fn verify(hash: &str, password: &[u8]) -> bool {
    if hash.starts_with("$argon2") {
        // The hash names its variant (argon2i, argon2d or argon2id) and its cost.
        return PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok());
    }
    // bcrypt truncates the password after 72 bytes, as `htpasswd -B` does.
    bcrypt::verify(password, hash).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::{Algorithm, Params, PasswordHasher as _, Version};

    fn bcrypted(password: &str) -> String {
        bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string()
    }

    fn argon2ed(algorithm: Algorithm, memory: u32, password: &str) -> String {
        let argon2 = Argon2::new(algorithm, Version::V0x13, Params::new(memory, 1, 1, None).unwrap());
        argon2.hash_password_with_salt(password.as_bytes(), &[7; 16]).unwrap().to_string()
    }

    fn users(hashes: &[(&str, String)]) -> Users {
        Users::new(hashes.iter().map(|(name, hash)| ((*name).to_owned(), hash.clone())).collect())
    }

    async fn check(users: &Users, name: &str, password: &str) -> bool {
        users.check(&HashPermits::default(), name, password.to_owned()).await.unwrap()
    }

    #[tokio::test]
    async fn every_kind_of_hash_knows_its_password() {
        let bcrypt = bcrypted("right");
        let kinds = [
            ("htpasswd", bcrypt.replacen("$2b$", "$2y$", 1)),
            ("old", bcrypt.replacen("$2b$", "$2a$", 1)),
            ("bcrypt", bcrypt),
            ("argon2i", argon2ed(Algorithm::Argon2i, 64, "right")),
            ("argon2d", argon2ed(Algorithm::Argon2d, 64, "right")),
            ("argon2id", argon2ed(Algorithm::Argon2id, 64, "right")),
        ];
        let users = users(&kinds);
        for (name, hash) in &kinds {
            assert!(check(&users, name, "right").await, "{hash}");
            for wrong in ["wrong", "", "right ", "Right"] {
                assert!(!check(&users, name, wrong).await, "{hash} {wrong:?}");
            }
        }
    }

    #[tokio::test]
    async fn nobody_is_let_in_by_a_name_a_damaged_hash_or_a_long_password() {
        let users = users(&[
            ("ada", bcrypted("right")),
            ("broken", "$2y$05$short".to_owned()),
            ("odd", "$argon2id$?".to_owned()),
        ]);
        let long = "x".repeat(MAX_PASSWORD + 1);
        // A password is valid only for its own user.
        for (name, password) in [("grace", "right"), ("ADA", "right"), ("broken", ""), ("odd", "right"), ("ada", &long)]
        {
            assert!(!check(&users, name, password).await, "{name}");
        }
        assert!(!check(&Users::new(BTreeMap::new()), "ada", "right").await);
    }

    #[test]
    fn nobody_costs_what_somebody_costs() {
        let kinds: Vec<(String, String)> = (4..8)
            .map(|cost| (format!("user-{cost}"), bcrypt::hash_with_salt("x", cost, [1; 16]).unwrap().to_string()))
            .collect();
        let users = Users::new(kinds.iter().cloned().collect());
        let stand_in = |name: &str| users.hash_for_unknown_user(name).unwrap().clone();
        let drawn: std::collections::BTreeSet<String> = (0..200).map(|n| stand_in(&format!("nobody-{n}"))).collect();
        assert_eq!(drawn.len(), 4, "each user stands in for somebody");
        assert_eq!(stand_in("grace"), stand_in("grace"), "always the same one");
    }

    #[test]
    fn heavy_hashes_are_checked_alone() {
        assert_eq!(weight(&bcrypted("x")), 1);
        assert_eq!(weight("$argon2id$v=19$m=32768,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo"), 1);
        assert_eq!(weight("$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo"), AT_ONCE);
    }

    #[tokio::test]
    async fn who_finds_no_room_is_told_to_come_back() {
        let users = users(&[("ada", bcrypted("right"))]);
        let permits = HashPermits { timeout: Duration::from_millis(1), ..HashPermits::default() };
        let all = permits.semaphore.acquire_many(AT_ONCE).await.unwrap();
        let refused = users.check(&permits, "ada", "right".to_owned()).await.unwrap_err();
        assert_eq!(refused.retry_after(), Some(PERMIT_TIMEOUT));
        drop(all);
        assert!(users.check(&permits, "ada", "right".to_owned()).await.unwrap());
    }

    #[tokio::test]
    async fn hashes_take_their_memory_of_the_budget() {
        let users = users(&[("ada", argon2ed(Algorithm::Argon2id, 1024, "right"))]);
        let permits = HashPermits { timeout: Duration::from_millis(1), ..HashPermits::default() };
        let pool = Pool::new(2 << 20);
        permits.charge(&pool);
        let all = pool.try_take((1 << 20) + 1, Holders::default()).unwrap();
        let refused = users.check(&permits, "ada", "right".to_owned()).await.unwrap_err();
        assert_eq!(refused.retry_after(), Some(PERMIT_TIMEOUT));
        drop(all);
        assert!(users.check(&permits, "ada", "right".to_owned()).await.unwrap());
        assert_eq!(pool.free(), 2 << 20);
    }
}
