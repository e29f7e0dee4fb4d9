//! The compact form of a JSON Web Token (RFC 7515 §3.1): header and signature.

use crate::external_jwt::JwtError;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, errors::ErrorKind};
use serde::de::DeserializeOwned;

/// The limits on tokens that are parsed.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The maximum length of a token, in bytes.
    pub max_length: usize,
    /// Asymmetric algorithms only: never `none` or an HMAC such as HS256, for which the public key or a client's secret
    /// would suffice to sign.
    pub algorithms: &'static [Algorithm],
}

/// A token whose signature is not verified yet.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    text: &'a str,
    /// The header. Keys in it, or URLs of keys, are never used.
    pub header: Header,
}

impl<'a> Token<'a> {
    /// Parses the header.
    pub fn parse(text: &'a str, format: &Format) -> Result<Self, JwtError> {
        if text.len() > format.max_length {
            return Err(JwtError::Malformed);
        }
        let header = jsonwebtoken::decode_header(text).map_err(|error| match error.kind() {
            // `alg` is the only member of a header with a fixed set of values; `none` is not one of them.
            ErrorKind::Json(error) if error.is_data() => JwtError::Algorithm,
            _ => JwtError::Malformed,
        })?;
        if !format.algorithms.contains(&header.alg) {
            return Err(JwtError::Algorithm);
        }
        Ok(Self { text, header })
    }

    /// The `typ` of the header, in lower case. A leading `application/` is removed (RFC 7515 §4.1.9).
    #[must_use]
    pub fn typ(&self) -> Option<String> {
        let typ = self.header.typ.as_ref()?.to_ascii_lowercase();
        Some(typ.strip_prefix("application/").map_or_else(|| typ.clone(), ToOwned::to_owned))
    }

    /// The claims, if `key` verifies the signature. Checks no claim.
    pub fn claims<T: DeserializeOwned>(&self, key: &DecodingKey) -> Result<T, JwtError> {
        let mut signature_only = Validation::new(self.header.alg);
        signature_only.required_spec_claims.clear();
        // Claims are checked with the clock that is passed in.
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        let decoded = jsonwebtoken::decode::<T>(self.text, key, &signature_only);
        decoded.map(|decoded| decoded.claims).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => JwtError::Signature,
            ErrorKind::InvalidAlgorithm => JwtError::Algorithm,
            _ => JwtError::Malformed,
        })
    }
}
