//! `signing-keys.json`: the keys that sign access tokens (ES256, RFC 7518 §3.4), and the keys that encrypt values for
//! the servers themselves.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use p256::{
    SecretKey,
    elliptic_curve::sec1::ToSec1Point as _,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding},
};
use portcullis_core::hex;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt;

/// An endpoint's signing keys. The first one signs; all verify.
///
/// A new key is first published behind the others, then becomes the first, and is removed some time after its successor
/// became the first. `plan` has the schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigningKeys {
    /// At least one.
    pub keys: Vec<SigningKey>,
    /// At least one. The first one seals; all open.
    pub sealing: Vec<SealingKey>,
}

/// A key of 256 random bits for authorization codes, sessions and other encrypted values that round-trip through the
/// client.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealingKey {
    /// When the key was generated.
    pub created_at: Timestamp,
    /// Its 32 bytes, base64url without padding.
    pub key: String,
    /// When the key is no longer needed; `None` for the first key, and for its successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl SealingKey {
    /// Generates a new key.
    pub fn generate(now: Timestamp, rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0_u8; 32];
        rng.fill_bytes(&mut bytes);
        let created_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Self { created_at, key: URL_SAFE_NO_PAD.encode(bytes), expires_at: None }
    }

    /// The decoded key.
    pub fn bytes(&self) -> Result<[u8; 32], KeyError> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.key).map_err(|_| KeyError::MalformedSealing)?;
        bytes.try_into().map_err(|_| KeyError::MalformedSealing)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("created_at", &self.created_at).finish_non_exhaustive()
    }
}

/// One P-256 key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigningKey {
    /// The id of the key in token headers and in the JWK set: the beginning of the RFC 7638 thumbprint.
    pub kid: String,
    /// When the key was generated.
    pub created_at: Timestamp,
    /// The private key, PKCS #8 in PEM.
    pub pem: String,
    /// When the key is no longer needed; `None` for the first key, and for its successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// Why keys cannot be used. Never contains key material.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// The list is empty.
    #[error("there is no signing key")]
    Missing,
    /// A key is not a PKCS #8 P-256 key.
    #[error("signing key {0:?} is not a P-256 private key in PKCS #8 PEM")]
    Malformed(String),
    /// There is no sealing key.
    #[error("there is no sealing key")]
    MissingSealing,
    /// A sealing key is not 32 bytes.
    #[error("a sealing key is not 32 bytes in base64url")]
    MalformedSealing,
}

impl SigningKey {
    /// Generates a new key.
    pub fn generate(now: Timestamp, rng: &mut dyn CryptoRng) -> Result<Self, KeyError> {
        // Almost every 32-byte number is a valid key; the loop handles the one in 2^32 that is not.
        for _ in 0..8 {
            let mut scalar = [0_u8; 32];
            rng.fill_bytes(&mut scalar);
            let Ok(secret) = SecretKey::from_slice(&scalar) else { continue };
            let pem = secret.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Malformed("new".to_owned()))?;
            let created_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
            return Ok(Self { kid: thumbprint(&secret), created_at, pem: pem.to_string(), expires_at: None });
        }
        Err(KeyError::Malformed("new".to_owned()))
    }

    /// The public half as a JSON Web Key (RFC 7517).
    pub fn public_jwk(&self) -> Result<serde_json::Value, KeyError> {
        let (x, y) = coordinates(&self.secret()?);
        Ok(json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid, "alg": "ES256", "use": "sig"}))
    }

    /// Whether the private key can be parsed.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.secret().is_ok()
    }

    fn secret(&self) -> Result<SecretKey, KeyError> {
        SecretKey::from_pkcs8_pem(&self.pem).map_err(|_| KeyError::Malformed(self.kid.clone()))
    }
}

impl SigningKeys {
    /// Generates one key of each kind.
    pub fn generate(now: Timestamp, rng: &mut dyn CryptoRng) -> Result<Self, KeyError> {
        Ok(Self { keys: vec![SigningKey::generate(now, rng)?], sealing: vec![SealingKey::generate(now, rng)] })
    }

    /// Checks that there is a key of each kind and that all are usable.
    pub fn validate(&self) -> Result<(), KeyError> {
        if self.keys.is_empty() {
            return Err(KeyError::Missing);
        }
        if self.sealing.is_empty() {
            return Err(KeyError::MissingSealing);
        }
        self.keys.iter().try_for_each(|key| key.secret().map(drop))?;
        self.sealing.iter().try_for_each(|key| key.bytes().map(drop))
    }
}

fn coordinates(secret: &SecretKey) -> (String, String) {
    let point = secret.public_key().to_sec1_point(false);
    let encode = |coordinate: Option<&p256::FieldBytes>| {
        coordinate.map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default()
    };
    (encode(point.x()), encode(point.y()))
}

fn thumbprint(secret: &SecretKey) -> String {
    let (x, y) = coordinates(secret);
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    hex(&Sha256::digest(canonical.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    #[test]
    fn a_generated_key_is_usable_and_shows_no_secret() {
        let keys = SigningKeys::generate(Timestamp::UNIX_EPOCH, &mut StdRng::seed_from_u64(1)).unwrap();
        keys.validate().unwrap();
        let key = &keys.keys[0];
        assert_eq!(key.public_jwk().unwrap()["kid"], key.kid.as_str());
        assert!(key.public_jwk().unwrap().get("d").is_none());
        let shown = format!("{keys:?}");
        assert!(!shown.contains("PRIVATE") && !shown.contains(&keys.sealing[0].key));
    }

    #[test]
    fn damaged_keys_are_refused_by_name() {
        let good = SigningKeys::generate(Timestamp::UNIX_EPOCH, &mut StdRng::seed_from_u64(1)).unwrap();
        assert_eq!(SigningKeys { keys: Vec::new(), ..good.clone() }.validate(), Err(KeyError::Missing));
        assert_eq!(SigningKeys { sealing: Vec::new(), ..good.clone() }.validate(), Err(KeyError::MissingSealing));
        let damaged = SigningKey {
            kid: "k".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            pem: "junk".to_owned(),
            expires_at: None,
        };
        let damaged = SigningKeys { keys: vec![damaged], ..good.clone() };
        assert_eq!(damaged.validate(), Err(KeyError::Malformed("k".to_owned())));
        let short = SealingKey { created_at: Timestamp::UNIX_EPOCH, key: "YWI".to_owned(), expires_at: None };
        assert_eq!(SigningKeys { sealing: vec![short], ..good }.validate(), Err(KeyError::MalformedSealing));
    }
}
