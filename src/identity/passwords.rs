//! Local users: the bcrypt and argon2 hashes of an htpasswd file.
//!
//! Hashing is slow on purpose, so it happens off the async threads, and only so many at once: a flood of tries can
//! neither take all processors nor the memory that argon2 asks for. A name that nobody has costs as much as one that
//! somebody has: its password is held against some user's hash, and the outcome ignored.

use super::error::SignInError;
use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// Longer ones are wrong without looking: nobody types them, and hashing them costs.
const MAX_PASSWORD: usize = 1024;
/// How many are hashed at once.
const AT_ONCE: u32 = 2;
/// An argon2 hash that takes more memory than this (in KiB) is checked alone.
const HEAVY: u32 = 32 * 1024;
/// How long a try waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Room for hashing: one for all logins, however often they are loaded.
#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE as usize)))
    }
}

/// The users of one login.
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// What decides whose hash stands in for nobody's: secret, and the same while the users are.
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

    /// Whether this is the user's password.
    pub(super) async fn check(&self, room: &Room, name: &str, password: String) -> Result<bool, SignInError> {
        let known = self.has(name);
        let Some(hash) = self.hashes.get(name).or_else(|| self.hash_for_nobody(name)).cloned() else {
            return Ok(false);
        };
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let places = Arc::clone(&room.0).acquire_many_owned(weight(&hash));
        let place = timeout(PATIENCE, places).await.map_err(|_| SignInError::Busy { wait: PATIENCE })?;
        let place = place.map_err(|error| SignInError::Internal(error.into()))?;
        let right = spawn_blocking(move || {
            let right = verify(&hash, password.as_bytes());
            drop(place);
            right
        });
        Ok(right.await.map_err(|error| SignInError::Internal(error.into()))? && known)
    }

    /// The same user's for the same name, so that two tries do not differ; as likely to be costly as a real one.
    fn hash_for_nobody(&self, name: &str) -> Option<&String> {
        let digest: [u8; 32] = Sha256::new().chain_update(self.stand_in).chain_update(name).finalize().into();
        let number =
            digest.iter().fold(0_usize, |number, byte| number.wrapping_mul(256).wrapping_add(usize::from(*byte)));
        self.hashes.values().nth(number.checked_rem(self.hashes.len())?)
    }
}

/// How many places a hash takes.
fn weight(hash: &str) -> u32 {
    let memory = PasswordHash::new(hash).ok().and_then(|hash| hash.params.get_decimal("m"));
    if memory.is_some_and(|kibibytes| kibibytes > HEAVY) { AT_ONCE } else { 1 }
}

/// A hash that cannot be read matches nothing.
fn verify(hash: &str, password: &[u8]) -> bool {
    if hash.starts_with("$argon2") {
        // The hash says which of argon2i, argon2d and argon2id it is, and at which cost.
        return PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok());
    }
    // Cut off after 72 bytes, as `htpasswd -B` does.
    bcrypt::verify(password, hash).unwrap_or(false)
}
