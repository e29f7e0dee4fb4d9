//! The public keys of clients (RFC 7517), as verifiers: each for exactly the algorithms that its kind is good for, so
//! that no header can choose another (RFC 8725 §3.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use portcullis_core::client::{JsonWebKey, JsonWebKeySet};

/// The algorithms that assertions may be signed with, as metadata list them.
pub const ALGORITHMS: [&str; 5] = ["ES256", "ES384", "EdDSA", "RS256", "PS256"];

/// The fewest and most bytes of an RSA modulus: 2048 bits (RFC 7518 §3.3), and what is still verified fast.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=512;
/// The most bytes of an RSA exponent; all in use have three.
const RSA_EXPONENT: std::ops::RangeInclusive<usize> = 1..=4;

/// The keys of `set` that may have signed something with this `alg` and `kid`, prepared. Without a `kid`, all that fit.
pub(super) fn candidates(set: &JsonWebKeySet, alg: Algorithm, kid: Option<&str>) -> Vec<DecodingKey> {
    set.keys
        .iter()
        .filter(|key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)))
        .filter(|key| key.usage.as_deref().is_none_or(|usage| usage == "sig"))
        .filter(|key| key.alg.as_deref().is_none_or(|only| only == name_of(alg)))
        .filter_map(|key| prepared(key, alg))
        .collect()
}

/// Whether an algorithm is one of [`ALGORITHMS`].
pub(super) fn is_known(alg: Algorithm) -> bool {
    ALGORITHMS.contains(&name_of(alg))
}

fn name_of(alg: Algorithm) -> &'static str {
    match alg {
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::EdDSA => "EdDSA",
        Algorithm::RS256 => "RS256",
        Algorithm::PS256 => "PS256",
        _ => "",
    }
}

/// `None` where the key is not one for `alg`, or no key at all.
fn prepared(key: &JsonWebKey, alg: Algorithm) -> Option<DecodingKey> {
    let (x, y) = (key.x.as_deref(), key.y.as_deref());
    match (key.kty.as_str(), key.crv.as_deref(), alg) {
        ("EC", Some("P-256"), Algorithm::ES256) => point(x?, y?, 32),
        ("EC", Some("P-384"), Algorithm::ES384) => point(x?, y?, 48),
        ("OKP", Some("Ed25519"), Algorithm::EdDSA) => {
            (size(x?)? == 32).then(|| DecodingKey::from_ed_components(x?).ok()).flatten()
        }
        ("RSA", _, Algorithm::RS256 | Algorithm::PS256) => {
            let (n, e) = (key.n.as_deref()?, key.e.as_deref()?);
            let sound = RSA_MODULUS.contains(&size(n)?) && RSA_EXPONENT.contains(&size(e)?);
            sound.then(|| DecodingKey::from_rsa_components(n, e).ok()).flatten()
        }
        _ => None,
    }
}

fn point(x: &str, y: &str, bytes: usize) -> Option<DecodingKey> {
    let sound = size(x)? == bytes && size(y)? == bytes;
    sound.then(|| DecodingKey::from_ec_components(x, y).ok()).flatten()
}

/// How many bytes an encoded number has, leading zeros included.
fn size(encoded: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode(encoded).ok().map(|bytes| bytes.len())
}
