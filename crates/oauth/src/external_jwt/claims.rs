//! The claims of a token (RFC 7519 §4), and the policy that they must satisfy.

use crate::external_jwt::{JwtError, LEEWAY};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Claims by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Claims(Map<String, Value>);

/// The requirements on the claims of a token.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The required value of `iss`.
    pub issuer: &'a str,
    /// The required value of `aud`, or one of its values.
    pub audience: &'a str,
    /// Whether a trailing slash of an audience is ignored. Issuers of access tokens differ about it.
    pub ignores_trailing_slash: bool,
    /// How long a token is accepted after `exp`, in seconds.
    pub expiry_leeway: i64,
    /// Whether a token must have `iat`.
    pub requires_issued_at: bool,
}

impl Claims {
    /// Checks `iss`, `exp`, `iat`, `nbf` and `aud`, in this order.
    pub fn check(&self, policy: &Policy<'_>, now: Timestamp) -> Result<(), JwtError> {
        if self.text("iss") != Some(policy.issuer) {
            return Err(JwtError::Issuer);
        }
        let now = now.as_second();
        let end = self.seconds("exp").ok_or(JwtError::MissingClaim("exp"))?;
        if now >= end.saturating_add(policy.expiry_leeway) {
            return Err(JwtError::Expired);
        }
        let issued_at = self.seconds("iat");
        if policy.requires_issued_at && issued_at.is_none() {
            return Err(JwtError::MissingClaim("iat"));
        }
        let begin = issued_at.into_iter().chain(self.seconds("nbf")).max();
        if begin.is_some_and(|begin| begin > now.saturating_add(LEEWAY)) {
            return Err(JwtError::TooEarly);
        }
        if self.audiences().iter().any(|audience| policy.is_audience(audience)) {
            Ok(())
        } else {
            Err(JwtError::Audience)
        }
    }

    /// The values of `aud`: a list, or a single value.
    #[must_use]
    pub fn audiences(&self) -> &[Value] {
        match self.0.get("aud") {
            Some(Value::Array(several)) => several,
            Some(one) => std::slice::from_ref(one),
            None => &[],
        }
    }

    /// A claim of any type.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that is a string and not blank.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.trim().is_empty())
    }

    /// A claim that is a point in time, in seconds since 1970. Fractions are allowed (RFC 7519 §2), and truncated.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no time is that far away")]
    pub fn seconds(&self, name: &str) -> Option<i64> {
        let value = self.0.get(name)?;
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }

    /// A claim that is a point in time.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        Timestamp::from_second(self.seconds(name)?).ok()
    }

    /// Adds claims. Existing claims are kept.
    pub fn complete(&mut self, more: Self) {
        for (claim, value) in more.0 {
            self.0.entry(claim).or_insert(value);
        }
    }
}

impl Policy<'_> {
    fn is_audience(&self, value: &Value) -> bool {
        let Some(audience) = value.as_str() else { return false };
        if self.ignores_trailing_slash {
            audience.strip_suffix('/').unwrap_or(audience) == self.audience.trim_end_matches('/')
        } else {
            audience == self.audience
        }
    }
}
