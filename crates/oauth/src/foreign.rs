//! JSON Web Tokens that another issuer signs (RFC 7519, RFC 8725): what has to hold of all of them.

use crate::issuer_keys::{IssuerKeys, NoKey};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use serde_json::{Map, Value};

/// Longer ones are not even tried.
const MAX_LENGTH: usize = 16 << 10;
/// How far ahead of ours the issuer's clock may be, in seconds.
const LEEWAY: i64 = 60;
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

/// Why a token of another issuer does not count. The messages are for whoever presents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error("the token is malformed")]
    Malformed,
    /// An algorithm that is not for public keys, or none.
    #[error("the token must be signed with RS256, PS256, ES256, ES384 or EdDSA")]
    Algorithm,
    /// Something else than an access token.
    #[error("the token is no access token")]
    Type,
    /// The issuer has no such key.
    #[error("the token is signed with a key that its issuer does not publish; request a new one")]
    Key,
    /// The signature does not match.
    #[error("the signature of the token is wrong")]
    Signature,
    /// Another issuer.
    #[error("the token comes from another issuer")]
    Issuer,
    /// For something else.
    #[error("the token is for another audience")]
    Audience,
    /// Its time is over.
    #[error("the token has expired; request a new one")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet; is the issuer's clock right?")]
    TooEarly,
    /// A claim is missing, or not as it has to be.
    #[error("the token does not count: {0}")]
    Claim(&'static str),
    /// Its key is not known, and the issuer cannot be asked for it.
    #[error("the token cannot be verified at the moment, since its issuer cannot be reached; try again shortly")]
    Unavailable,
}

impl Refusal {
    /// One word, for metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::TooEarly => "too_early",
            Self::Claim(_) => "claim",
            Self::Unavailable => "issuer_unavailable",
        }
    }
}

/// What a token says whose signature holds.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The header's `typ`, in lower case and without `application/`; `jwt` where there is none (RFC 7519 §5.1).
    pub typ: String,
    /// What the issuer whose key it is calls itself.
    pub issuer: std::sync::Arc<str>,
    claims: Map<String, Value>,
}

impl Signed {
    /// Checks the signature of `token`, and that its time has come and is not over.
    pub async fn read(token: &str, keys: &IssuerKeys, now: Timestamp) -> Result<Self, Refusal> {
        if token.len() > MAX_LENGTH {
            return Err(Refusal::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
            // The only field of a header that must have one of a few values is `alg`; `none` is not among them.
            ErrorKind::Json(error) if error.is_data() => Refusal::Algorithm,
            _ => Refusal::Malformed,
        })?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Refusal::Algorithm);
        }
        let found = keys.find(&header, now).await.map_err(|none| match none {
            NoKey::Unknown => Refusal::Key,
            NoKey::Unavailable(_) => Refusal::Unavailable,
        })?;
        let mut signature_only = Validation::new(header.alg);
        signature_only.required_spec_claims.clear();
        // Checked below, by the clock that is passed in.
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &found.key, &signature_only);
        let claims = claims.map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => Refusal::Signature,
            _ => Refusal::Malformed,
        })?;
        let typ = header.typ.unwrap_or_else(|| "jwt".to_owned()).to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ).to_owned();
        let signed = Self { typ, issuer: found.issuer, claims: claims.claims };
        if signed.text("iss") != Some(&*signed.issuer) {
            return Err(Refusal::Issuer);
        }
        if now >= signed.time("exp").ok_or(Refusal::Claim("it has no exp"))? {
            return Err(Refusal::Expired);
        }
        let begins = [signed.seconds("nbf"), signed.seconds("iat")].into_iter().flatten().max();
        if begins.is_some_and(|begin| begin > now.as_second().saturating_add(LEEWAY)) {
            return Err(Refusal::TooEarly);
        }
        Ok(signed)
    }

    /// Whether it is for `audience`. Issuers differ about the slash at the end of a URL.
    pub fn is_for(&self, audience: &str) -> Result<(), Refusal> {
        let same = |value: &Value| {
            value.as_str().is_some_and(|one| one.strip_suffix('/').unwrap_or(one) == audience.trim_end_matches('/'))
        };
        let listed = match self.claims.get("aud") {
            Some(Value::Array(several)) => several.iter().any(same),
            Some(one) => same(one),
            None => false,
        };
        if listed { Ok(()) } else { Err(Refusal::Audience) }
    }

    /// Any claim.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// A claim that is a text with something in it.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// A claim that is a point in time. Fractions are allowed (RFC 7519 §2).
    #[must_use]
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        Timestamp::from_second(self.seconds(name)?).ok()
    }

    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no time is that far away")]
    fn seconds(&self, name: &str) -> Option<i64> {
        let value = self.claims.get(name)?;
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }
}
