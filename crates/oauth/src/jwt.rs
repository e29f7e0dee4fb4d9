//! Access tokens: JSON Web Tokens in the profile of RFC 9068, signed with ES256, issued and verified by the same
//! endpoint.
//!
//! The verification accepts exactly what the endpoint issues (RFC 8725): one algorithm, one type, one issuer, one
//! audience, and the keys of the endpoint. The caller passes the time.

use crate::{
    Caller,
    external_jwt::{Format, JwtError, Token},
};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use p256::{
    SecretKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _},
};
use portcullis_config::{KeyError, SigningKeys};
use portcullis_core::{PublicUrl, Scope, hex, scope};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeSet, time::Duration};

/// The header `typ` of an access token (RFC 9068 §2.1).
const TYPE: &str = "at+jwt";

const FORMAT: Format = Format { max_length: 16 << 10, algorithms: &[Algorithm::ES256] };

/// Issues and verifies the access tokens of one endpoint.
pub struct AccessTokens {
    issuer: String,
    audience: String,
    lifetime: Duration,
    signing_header: Header,
    signing_key: EncodingKey,
    verifying_keys: Vec<(String, DecodingKey)>,
}

/// The claims of an access token, in the order of RFC 9068 §2.2.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    exp: i64,
    aud: String,
    sub: String,
    client_id: String,
    iat: i64,
    /// Never issued here, but checked (RFC 7519 §4.1.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    jti: String,
    scope: String,
    /// The display name of the user (OpenID Connect Core §5.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The grant behind the token, through which it can be revoked. A private claim of Portcullis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
}

/// The subject of a token.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The client that will present the token.
    pub client_id: &'a str,
    /// The token's `sub`: the id of the user, or of the client if it acts on its own behalf.
    pub id: Cow<'a, str>,
    /// The display name of the user.
    pub name: Option<&'a str>,
    /// The name of the grant behind the token.
    pub grant: Option<&'a str>,
    /// The scopes of the token.
    pub scopes: &'a BTreeSet<Scope>,
}

impl<'a> Subject<'a> {
    /// A client that acts on its own behalf.
    #[must_use]
    pub fn client(client_id: &'a str, scopes: &'a BTreeSet<Scope>) -> Self {
        Self { client_id, id: format!("client:{client_id}").into(), name: None, grant: None, scopes }
    }
}

/// Why an access token is invalid. The messages are for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AccessTokenError {
    /// The token cannot be parsed.
    #[error("the access token is malformed")]
    Malformed,
    /// The `alg` is not ES256.
    #[error("the access token is not signed with ES256")]
    Algorithm,
    /// The `typ` is not that of an access token, but of an ID token, for instance.
    #[error("the token is not an access token: its typ is not at+jwt")]
    Type,
    /// The `kid` is unknown at this endpoint.
    #[error("the access token is signed with a key that this endpoint does not hold; request a new one")]
    Key,
    /// The signature does not match.
    #[error("the signature of the access token is wrong")]
    Signature,
    /// The token was issued by another issuer.
    #[error("the access token comes from another issuer")]
    Issuer,
    /// The token was issued for another endpoint.
    #[error("the access token is for another resource; request one with this endpoint's URL as the resource")]
    Audience,
    /// The token is not valid yet (`nbf`).
    #[error("the access token is not valid yet")]
    Early,
    /// The token has expired.
    #[error("the access token has expired; request a new one")]
    Expired,
    /// The client was deleted, or another one of the same name replaced it.
    #[error("the client of the access token is no longer registered")]
    Client,
    /// The grant behind the token was revoked, or has ended.
    #[error("the access token was revoked: the user's consent was revoked or has ended; let the user approve again")]
    Revoked,
}

impl AccessTokenError {
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
            Self::Early => "early",
            Self::Expired => "expired",
            Self::Client => "client",
            Self::Revoked => "revoked",
        }
    }
}

/// Only errors of the format and of the signature are converted: the claims are checked here.
impl From<JwtError> for AccessTokenError {
    fn from(error: JwtError) -> Self {
        match error {
            JwtError::Algorithm => Self::Algorithm,
            JwtError::Signature => Self::Signature,
            _ => Self::Malformed,
        }
    }
}

/// A token could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the access token could not be signed")]
pub struct SigningError(#[from] jsonwebtoken::errors::Error);

impl AccessTokens {
    /// Prepares the keys: the first one signs, all of them verify.
    pub fn new(url: &PublicUrl, lifetime: Duration, keys: &SigningKeys) -> Result<Self, KeyError> {
        let first = keys.keys.first().ok_or(KeyError::Missing)?;
        let malformed = |kid: &str| KeyError::Malformed(kid.to_owned());
        let private = SecretKey::from_pkcs8_pem(&first.pem)
            .and_then(|key| key.to_pkcs8_der())
            .map_err(|_| malformed(&first.kid))?;
        let verifying_keys = keys
            .keys
            .iter()
            .map(|key| {
                let jwk = key.public_jwk()?;
                let coordinate = |name: &str| jwk.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
                let public = DecodingKey::from_ec_components(coordinate("x"), coordinate("y"))
                    .map_err(|_| malformed(&key.kid))?;
                Ok((key.kid.clone(), public))
            })
            .collect::<Result<_, KeyError>>()?;

        let mut signing_header = Header::new(Algorithm::ES256);
        signing_header.typ = Some(TYPE.to_owned());
        signing_header.kid = Some(first.kid.clone());

        Ok(Self {
            issuer: url.issuer(),
            audience: url.resource(),
            lifetime,
            signing_header,
            signing_key: EncodingKey::from_ec_der(private.as_bytes()),
            verifying_keys,
        })
    }

    /// The lifetime of a new token.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Issues a new token.
    pub fn issue(
        &self,
        subject: &Subject<'_>,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<String, SigningError> {
        let mut id = [0_u8; 16];
        rng.fill_bytes(&mut id);
        let iat = now.as_second();
        let claims = Claims {
            iss: self.issuer.clone(),
            exp: iat.saturating_add_unsigned(self.lifetime.as_secs()),
            aud: self.audience.clone(),
            sub: subject.id.to_string(),
            client_id: subject.client_id.to_owned(),
            iat,
            nbf: None,
            jti: hex(&id),
            scope: scope::join(subject.scopes),
            name: subject.name.map(ToOwned::to_owned),
            grant: subject.grant.map(ToOwned::to_owned),
        };
        Ok(jsonwebtoken::encode(&self.signing_header, &claims, &self.signing_key)?)
    }

    /// Verifies a presented token.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, AccessTokenError> {
        let token = Token::parse(token, &FORMAT)?;
        if token.typ().as_deref() != Some(TYPE) {
            return Err(AccessTokenError::Type);
        }
        let kid = token.header.kid.as_deref().ok_or(AccessTokenError::Key)?;
        let (_, key) = self.verifying_keys.iter().find(|(known, _)| known == kid).ok_or(AccessTokenError::Key)?;
        let claims: Claims = token.claims(key)?;
        if claims.iss != self.issuer {
            return Err(AccessTokenError::Issuer);
        }
        if claims.aud != self.audience {
            return Err(AccessTokenError::Audience);
        }
        let expires_at = Timestamp::from_second(claims.exp).map_err(|_| AccessTokenError::Malformed)?;
        if now >= expires_at {
            return Err(AccessTokenError::Expired);
        }
        if claims.nbf.is_some_and(|begin| now.as_second() < begin) {
            return Err(AccessTokenError::Early);
        }
        Ok(Caller {
            client_id: claims.client_id,
            subject: claims.sub,
            user_name: claims.name,
            grant: claims.grant,
            // A scope that this version does not know grants nothing.
            scopes: claims.scope.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect(),
            issued_at: Timestamp::from_second(claims.iat).map_err(|_| AccessTokenError::Malformed)?,
            expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use portcullis_config::{SealingKey, SigningKey};
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};
    use serde_json::{Value, json};

    const LIFETIME: Duration = Duration::from_mins(15);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn keys(seeds: &[u64]) -> SigningKeys {
        let key = |seed: &u64| SigningKey::generate(at(0), &mut StdRng::seed_from_u64(*seed)).unwrap();
        let sealing = vec![SealingKey::generate(at(0), &mut StdRng::seed_from_u64(0))];
        SigningKeys { keys: seeds.iter().map(key).collect(), sealing }
    }

    fn tokens(url: &str, seeds: &[u64]) -> AccessTokens {
        AccessTokens::new(&url.parse().unwrap(), LIFETIME, &keys(seeds)).unwrap()
    }

    fn issue(tokens: &AccessTokens) -> String {
        let scopes = BTreeSet::from([Scope::FilesRead]);
        let subject =
            Subject { id: "sso:7".into(), name: Some("Ada"), grant: Some("g"), ..Subject::client("claude", &scopes) };
        tokens.issue(&subject, at(100), &mut StdRng::seed_from_u64(9)).unwrap()
    }

    fn header_of(tokens: &AccessTokens) -> Value {
        serde_json::to_value(&tokens.signing_header).unwrap()
    }

    /// Signs any header and claims with a key of the endpoint.
    fn forge(tokens: &AccessTokens, header: &Value, claims: &Value) -> String {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &tokens.signing_key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    }

    fn claims() -> Value {
        json!({"iss": "https://h", "exp": 1000, "aud": "https://h/mcp", "sub": "client:claude", "client_id": "claude",
            "iat": 100, "jti": "1", "scope": "files:read future:scope"})
    }

    fn with(mut value: Value, name: &str, to: Value) -> Value {
        value[name] = to;
        value
    }

    #[test]
    fn a_token_counts_until_it_expires() {
        let tokens = tokens("https://h/mcp", &[1]);
        let token = issue(&tokens);
        let verified = tokens.verify(&token, at(999)).unwrap();
        assert_eq!(
            verified,
            Caller {
                client_id: "claude".to_owned(),
                subject: "sso:7".to_owned(),
                user_name: Some("Ada".to_owned()),
                grant: Some("g".to_owned()),
                scopes: BTreeSet::from([Scope::FilesRead]),
                issued_at: at(100),
                expires_at: at(1000),
            }
        );
        assert_eq!(tokens.verify(&token, at(1000)), Err(AccessTokenError::Expired));
    }

    #[test]
    fn tokens_outlive_the_rotation_of_their_key_while_it_is_kept() {
        let token = issue(&tokens("https://h/mcp", &[1]));
        assert!(tokens("https://h/mcp", &[2, 1]).verify(&token, at(100)).is_ok());
        assert_eq!(tokens("https://h/mcp", &[2]).verify(&token, at(100)), Err(AccessTokenError::Key));
    }

    #[test]
    fn forged_tokens_and_those_of_other_issuers_are_refused() {
        let ours = tokens("https://h/mcp", &[1]);
        let header = header_of(&ours);
        let kid = header["kid"].as_str().unwrap();
        assert!(ours.verify(&forge(&ours, &header, &claims()), at(100)).is_ok(), "the forge itself works");

        // The public key as an HMAC secret: an algorithm confusion attack.
        let public = ours.verifying_keys[0].1.try_get_as_bytes().unwrap();
        let mut hs256 = Header::new(Algorithm::HS256);
        hs256.kid = Some(kid.to_owned());
        hs256.typ = Some(TYPE.to_owned());
        let confused = jsonwebtoken::encode(&hs256, &claims(), &EncodingKey::from_secret(public).unwrap()).unwrap();

        let good = issue(&ours);
        let (message, signature) = good.rsplit_once('.').unwrap();
        let unsigned = forge(&ours, &with(header.clone(), "alg", json!("none")), &claims());
        let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
        let rows = [
            (
                "other endpoint on the same issuer",
                forge(&ours, &header, &with(claims(), "aud", json!("https://h/other"))),
                AccessTokenError::Audience,
            ),
            (
                "other issuer",
                forge(&ours, &header, &with(claims(), "iss", json!("https://evil"))),
                AccessTokenError::Issuer,
            ),
            ("no audience", forge(&ours, &header, &with(claims(), "aud", Value::Null)), AccessTokenError::Malformed),
            ("not yet", forge(&ours, &header, &with(claims(), "nbf", json!(101))), AccessTokenError::Early),
            ("no expiry", forge(&ours, &header, &with(claims(), "exp", Value::Null)), AccessTokenError::Malformed),
            ("unsigned", unsigned, AccessTokenError::Algorithm),
            ("signature left out", format!("{message}."), AccessTokenError::Signature),
            ("HS256 with the public key", confused, AccessTokenError::Algorithm),
            (
                "other algorithm in the header",
                forge(&ours, &with(header.clone(), "alg", json!("ES384")), &claims()),
                AccessTokenError::Algorithm,
            ),
            (
                "unknown key",
                forge(&ours, &with(header.clone(), "kid", json!("other")), &claims()),
                AccessTokenError::Key,
            ),
            ("no key named", forge(&ours, &with(header.clone(), "kid", Value::Null), &claims()), AccessTokenError::Key),
            (
                "another's key under our kid",
                forge(&tokens("https://h/mcp", &[2]), &header, &claims()),
                AccessTokenError::Signature,
            ),
            ("ID token", forge(&ours, &with(header.clone(), "typ", json!("JWT")), &claims()), AccessTokenError::Type),
            ("no type", forge(&ours, &with(header.clone(), "typ", Value::Null), &claims()), AccessTokenError::Type),
            (
                "claims swapped under a good signature",
                format!("{}.{signature}", forge(&ours, &header, &claims()).rsplit_once('.').unwrap().0),
                AccessTokenError::Signature,
            ),
            ("no JWT", "abc".to_owned(), AccessTokenError::Malformed),
            ("empty", String::new(), AccessTokenError::Malformed),
        ];
        for (name, token, expected) in rows {
            assert_eq!(ours.verify(&token, at(100)), Err(expected), "{name}");
        }
    }

    fn signed(header: &Value, claims: &Value) -> String {
        use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
        let key = SigningKey::from_pkcs8_pem(&keys(&[1]).keys[0].pem).unwrap();
        let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature: Signature = key.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    fn any_header() -> impl Strategy<Value = Value> {
        let kid = &keys(&[1]).keys[0].kid;
        let names = &["alg", "typ", "kid", "crit", "jwk", "jku", "x5c", "x5u", "b64", "zip"];
        portcullis_testing::strategies::changed(json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}), names)
    }

    fn any_claims() -> impl Strategy<Value = Value> {
        let url: PublicUrl = "https://h/mcp".parse().unwrap();
        let base = json!({"iss": url.issuer(), "aud": url.resource(), "exp": 200, "iat": 100, "sub": "local:ada",
            "client_id": "a", "jti": "1", "scope": "files:read"});
        portcullis_testing::strategies::changed(
            base,
            &["iss", "aud", "exp", "iat", "nbf", "sub", "client_id", "jti", "scope", "name", "grant"],
        )
    }

    proptest! {
        /// Holds even for a token with the endpoint's own signature.
        #[test]
        fn whatever_is_signed_only_what_is_made_here_counts(header in any_header(), claims in any_claims()) {
            let url: PublicUrl = "https://h/mcp".parse().unwrap();
            let tokens = AccessTokens::new(&url, LIFETIME, &keys(&[1])).unwrap();
            if let Ok(caller) = tokens.verify(&signed(&header, &claims), at(150)) {
                prop_assert_eq!(&header["alg"], "ES256");
                prop_assert_eq!(&header["typ"], "at+jwt");
                prop_assert_eq!(&claims["iss"], &json!(url.issuer()));
                prop_assert!(caller.expires_at > at(150));
                prop_assert_eq!(claims["sub"].as_str(), Some(&*caller.subject));
            }
        }
    }
}
