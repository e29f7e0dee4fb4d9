//! JSON Web Tokens (RFC 7519, RFC 8725) and the keys that verify them. Only this module reads headers, selects keys,
//! verifies signatures, and checks the claims that all issuers' tokens have.
//!
//! Each kind of token has its [`Format`] and, if another issuer signs it, its [`Policy`]. Rules for one kind of token,
//! such as the nonce of an ID token, stay with that kind.

mod claims;
mod issuer;
mod jwk;
mod key_cache;
mod token;

pub use claims::{Claims, Policy};
pub use issuer::{IssuerKeys, KeySource, Verified};
pub use jwk::{KeySet, VerifyingKey};
pub use key_cache::{FetchFailure, IssuerKey, KeyCache, NoKey, Published};
pub use token::{Format, Token};

use jsonwebtoken::Algorithm;

/// How far the clock of an issuer may be ahead, in seconds.
pub const LEEWAY: i64 = 60;

/// The algorithms for tokens and assertions.
pub const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

/// Why a token is refused. The messages are for the client that presents an access token or a service account's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// The token cannot be parsed.
    #[error("the token is malformed")]
    Malformed,
    /// The format does not allow the algorithm, or there is none.
    #[error("the token must be signed with RS256, PS256, ES256, ES384 or EdDSA")]
    Algorithm,
    /// The token is not an access token.
    #[error("the token is not an access token")]
    Type,
    /// The issuer does not publish the key.
    #[error("the token is signed with a key that its issuer does not publish; request a new one")]
    Key,
    /// The signature does not match.
    #[error("the signature of the token is wrong")]
    Signature,
    /// The token was issued by another issuer.
    #[error("the token comes from another issuer")]
    Issuer,
    /// The token is for another audience.
    #[error("the token is for another audience")]
    Audience,
    /// The token has expired (`exp`).
    #[error("the token has expired; request a new one")]
    Expired,
    /// `iat` or `nbf` is in the future.
    #[error("the token is not valid yet; check the issuer's clock")]
    TooEarly,
    /// A required claim is missing or has the wrong type.
    #[error("the token is not valid: it has no {0}")]
    MissingClaim(&'static str),
    /// A claim has a value that is not accepted.
    #[error("the token is not valid: {0}")]
    Claim(&'static str),
    /// The key is unknown, and the issuer cannot be reached.
    #[error("the token cannot be verified at the moment, since its issuer cannot be reached; try again shortly")]
    Unavailable,
}

impl JwtError {
    /// The reason as one word, for metrics.
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
            Self::MissingClaim(_) | Self::Claim(_) => "claim",
            Self::Unavailable => "issuer_unavailable",
        }
    }
}
