//! Message authentication codes (RFC 2104) under keys that all servers of an endpoint share, one key for each purpose.

use hmac::{Hmac, Mac as _};
use portcullis_config::{KeyError, SigningKeys};
use sha2::Sha256;

/// A key, or a code.
pub(super) type Secret = [u8; 32];

/// The HMAC-SHA-256 of the parts, one after the other.
pub(super) fn hmac(key: &Secret, message: &[&[u8]]) -> Secret {
    // One block holds the whole key, so it needs no hashing and cannot be refused.
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

/// What `derive` makes of each sealing key. The first is the one to write with; at least one.
pub(super) fn of_each<K>(keys: &SigningKeys, derive: impl Fn(&Secret) -> K) -> Result<Vec<K>, KeyError> {
    let keys: Vec<K> =
        keys.sealing.iter().map(|key| key.bytes().map(|bytes| derive(&bytes))).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeyError::MissingSealing) } else { Ok(keys) }
}
