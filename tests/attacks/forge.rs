//! Tokens made by hand: any header, any claims, any signature.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer as _},
    pkcs8::{DecodePrivateKey as _, EncodePublicKey as _, LineEnding},
};
use portcullis_config::SigningKeys;
use serde_json::{Value, json};
use sha2::Sha256;

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token in its parts.
#[derive(Clone)]
pub struct Parts {
    pub header: Value,
    pub claims: Value,
}

impl Parts {
    /// Those of a real token.
    pub fn of(token: &str) -> Self {
        let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
        Self { header: next(), claims: next() }
    }

    pub fn header(mut self, name: &str, value: Value) -> Self {
        self.header[name] = value;
        self
    }

    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims[name] = value;
        self
    }

    /// What is signed.
    pub fn message(&self) -> String {
        message(&self.header.to_string(), &self.claims.to_string())
    }

    /// Signed with this key, whatever the header says.
    pub fn signed(&self, key: &SigningKey) -> String {
        sign(&self.message(), key)
    }

    /// With an HMAC under these bytes.
    pub fn with_mac(&self, key: &[u8]) -> String {
        let message = self.message();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", encode(mac.finalize().into_bytes()))
    }
}

pub fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", encode(header), encode(claims))
}

pub fn sign(message: &str, key: &SigningKey) -> String {
    let signature: Signature = key.sign(message.as_bytes());
    format!("{message}.{}", encode(signature.to_bytes()))
}

/// The key that an endpoint signs with. An attacker has not got it: with it one shows that it is the claim alone for
/// which a token is refused.
pub fn own_key(keys: &SigningKeys) -> SigningKey {
    SigningKey::from_pkcs8_pem(&keys.keys[0].pem).unwrap()
}

/// A key of the attacker's own.
pub fn other_key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

/// The public key of one, as JWK with this id.
pub fn jwk(key: &SigningKey, kid: &Value) -> Value {
    let point = key.verifying_key().to_sec1_point(false);
    json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
        "x": encode(point.x().unwrap()), "y": encode(point.y().unwrap())})
}

/// The public key of one in the forms that somebody could take for an HMAC's key.
pub fn public_texts(key: &SigningKey) -> Vec<Vec<u8>> {
    let public = key.verifying_key();
    vec![
        public.to_public_key_pem(LineEnding::LF).unwrap().into_bytes(),
        public.to_public_key_der().unwrap().into_vec(),
        public.to_sec1_point(false).as_bytes().to_vec(),
        public.to_sec1_point(true).as_bytes().to_vec(),
        Vec::new(),
    ]
}
