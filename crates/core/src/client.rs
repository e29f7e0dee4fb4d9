//! The properties of OAuth clients of every kind of registration: client type, grant types and public keys.

use crate::schema::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a client can keep a secret (RFC 6749 §2.1). Default in a manifest: the preset's; `custom` is Confidential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientType {
    /// It authenticates with its secret.
    Confidential,
    /// It runs on users' machines, and authenticates by PKCE only.
    Public,
}

/// How a client obtains tokens (RFC 6749 §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// A user signs in and consents.
    AuthorizationCode,
    /// The client renews its tokens after a user's consent.
    RefreshToken,
    /// The client acts on its own behalf, unattended.
    ClientCredentials,
}

impl Grant {
    /// The spelling of `grant_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
        }
    }
}

/// The public keys of a client: exactly one of `jwks` and `jwksUri`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new("has(self.jwks) != has(self.jwksUri)", "must have exactly one of jwks and jwksUri")]))]
#[serde(rename_all = "camelCase")]
pub struct PrivateKeyJwt {
    /// The keys themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JsonWebKeySet>,
    /// The URL of the keys. It is fetched when needed, and never from private addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[schemars(extend("x-kubernetes-validations" = [Rule::new("self.matches('^https://([a-z0-9]([a-z0-9-]*[a-z0-9])?[.])+[a-z][a-z0-9-]*[a-z0-9](/[^#]*)?$')", "must be an https:// URL of a host by its full name, without port, fragment or user information")]))]
    pub jwks_uri: Option<String>,
}

/// A JSON Web Key Set (RFC 7517) of public keys.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonWebKeySet {
    /// ES256, EdDSA, RS256 or PS256 keys.
    #[schemars(length(min = 1, max = 16))]
    pub keys: Vec<JsonWebKey>,
}

/// A public key (RFC 7517), of the kinds EC, OKP and RSA.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new("self.kty != 'EC' || (has(self.crv) && self.crv in ['P-256', 'P-384'] && has(self.x) && has(self.y))", "an EC key must have x, y and crv, P-256 or P-384"), Rule::new("self.kty != 'OKP' || (has(self.crv) && self.crv == 'Ed25519' && has(self.x))", "an OKP key must have x and crv, Ed25519"), Rule::new("self.kty != 'RSA' || (has(self.n) && has(self.e))", "an RSA key must have n and e")]))]
pub struct JsonWebKey {
    /// `EC`, `OKP` or `RSA`.
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-validations" = [Rule::new("self in ['EC', 'OKP', 'RSA']", "must be EC, OKP or RSA")]))]
    pub kty: String,
    /// The id of the key in the header of assertions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub kid: Option<String>,
    /// The curve of an EC or OKP key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub crv: Option<String>,
    /// The x coordinate of an EC or OKP key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub x: Option<String>,
    /// The y coordinate of an EC key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub y: Option<String>,
    /// The modulus of an RSA key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub n: Option<String>,
    /// The exponent of an RSA key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub e: Option<String>,
    /// The algorithm that the key is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub alg: Option<String>,
    /// `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub usage: Option<String>,
}
