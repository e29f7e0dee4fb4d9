//! Message authentication codes (RFC 2104) under keys that all servers of an endpoint share, one key for each purpose.

use hmac::{Hmac, Mac as _};
use portcullis_config::{KeyError, SigningKeys};
use sha2::Sha256;

/// A key or a MAC.
pub(super) type Secret = [u8; 32];

/// The HMAC-SHA-256 of the concatenated parts.
pub(super) fn hmac(key: &Secret, message: &[&[u8]]) -> Secret {
    // The key fits into one block, so it needs no hashing, and the construction cannot fail.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    if let Some(begin) = block.get_mut(..key.len()) {
        begin.copy_from_slice(key);
    }
    let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block);
    for part in message {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Applies `derive` to each sealing key. The first result is for new values. Fails if there is no key.
pub(super) fn of_each<K>(keys: &SigningKeys, derive: impl Fn(&Secret) -> K) -> Result<Vec<K>, KeyError> {
    let keys: Vec<K> =
        keys.sealing.iter().map(|key| key.bytes().map(|bytes| derive(&bytes))).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeyError::MissingSealing) } else { Ok(keys) }
}
