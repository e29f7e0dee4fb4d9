//! JSON Web Keys (RFC 7517) as verifiers, each for exactly the algorithms of its type, so that a header cannot select
//! another one (RFC 8725 §3.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde_json::Value;
use std::{ops::RangeInclusive, sync::Arc};

/// The size of an RSA modulus, in bits: the minimum of RFC 7518 §3.3, and the maximum that is still verified fast.
const RSA_MODULUS: RangeInclusive<usize> = 2048..=4096;
/// The size of an RSA exponent, in bits; nearly all in use have 17.
const RSA_EXPONENT: RangeInclusive<usize> = 2..=32;

/// The algorithms of RSA keys.
const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// The keys that an issuer or a client publishes.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<VerifyingKey>);

/// A public key.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    /// The key id (`kid`).
    pub id: Option<String>,
    algorithms: Vec<Algorithm>,
    /// The key that verifies signatures.
    pub verifier: Arc<DecodingKey>,
}

impl KeySet {
    /// Reads keys. Unknown, unsuitable and weak keys are ignored (RFC 7517 §5).
    #[must_use]
    pub fn read(keys: impl IntoIterator<Item = Value>) -> Self {
        Self(keys.into_iter().filter_map(VerifyingKey::read).collect())
    }

    /// The key that signed a token with this header. A token without a `kid` is accepted only if exactly one key is
    /// possible.
    #[must_use]
    pub fn find(&self, header: &Header) -> Option<&VerifyingKey> {
        let mut candidates = self.candidates(header);
        let first = candidates.next();
        if header.kid.is_some() { first } else { first.filter(|_| candidates.next().is_none()) }
    }

    /// The keys that may have signed a token with this header: those with its `kid`, or all if it has none.
    pub fn candidates(&self, header: &Header) -> impl Iterator<Item = &VerifyingKey> {
        let suitable = self.0.iter().filter(|key| key.algorithms.contains(&header.alg));
        suitable.filter(|key| header.kid.is_none() || key.id == header.kid)
    }
}

impl VerifyingKey {
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        let mut algorithms = algorithms(&jwk.algorithm)?;
        if let Some(only) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == only);
        }
        let verifier = Arc::new(DecodingKey::from_jwk(&jwk).ok()?);
        (!algorithms.is_empty()).then_some(Self { id: jwk.common.key_id, algorithms, verifier })
    }
}

/// The algorithms of a key; `None` if the key is malformed, too weak, or of another type.
fn algorithms(key: &AlgorithmParameters) -> Option<Vec<Algorithm>> {
    match key {
        AlgorithmParameters::RSA(key) => {
            let sound = RSA_MODULUS.contains(&bits(&key.n)?) && RSA_EXPONENT.contains(&bits(&key.e)?);
            sound.then(|| RSA.to_vec())
        }
        AlgorithmParameters::EllipticCurve(key) => {
            let (bytes, algorithm) = match key.curve {
                EllipticCurve::P256 => (32, Algorithm::ES256),
                EllipticCurve::P384 => (48, Algorithm::ES384),
                _ => return None,
            };
            let sound = decoded(&key.x)?.len() == bytes && decoded(&key.y)?.len() == bytes;
            sound.then(|| vec![algorithm])
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (decoded(&key.x)?.len() == 32).then(|| vec![Algorithm::EdDSA])
        }
        _ => None,
    }
}

fn decoded(number: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(number).ok()
}

/// The length of a number in bits, without leading zeros.
fn bits(number: &str) -> Option<usize> {
    let bytes = decoded(number)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let first = bytes.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    Some((bytes.len() - zeros) * 8 - first)
}
