//! The required claims of an external issuer's tokens, whatever key signs them, and the behaviour while the issuer is
//! down.

use crate::external::*;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::{
    SecretKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _},
};
use portcullis_config::SigningKey;
use portcullis_outbound::Outbound;
use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::json;
use std::sync::{Arc, Mutex};

const ISSUER: &str = "https://idp.example.com/realms/a";
const NOW: i64 = 1_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn key(seed: u64) -> SigningKey {
    SigningKey::generate(at(0), &mut StdRng::seed_from_u64(seed)).unwrap()
}

/// An issuer in memory that can be down, and counts its requests.
#[derive(Clone, Debug, Default)]
struct Issuer(Arc<Mutex<(Option<Vec<Value>>, usize)>>);

impl Issuer {
    fn publishes(&self, keys: &[&SigningKey]) {
        self.0.lock().unwrap().0 = Some(keys.iter().map(|key| key.public_jwk().unwrap()).collect());
    }

    fn goes_down(&self) {
        self.0.lock().unwrap().0 = None;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

#[async_trait]
impl KeySource for Issuer {
    fn name(&self) -> String {
        ISSUER.to_owned()
    }

    async fn fetch(&self) -> Result<Published, Box<dyn Error + Send + Sync>> {
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        let keys = state.0.clone().ok_or("it is down")?;
        Ok(Published { issuer: ISSUER.to_owned(), keys })
    }
}

fn tokens(issuer: &Issuer) -> ExternalTokens {
    ExternalTokens {
        audience: "https://h/mcp".to_owned(),
        username_claim: "preferred_username".to_owned(),
        keys: IssuerKeys::new(issuer.clone()),
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": ["account", "https://h/mcp"], "sub": "7", "azp": "claude", "scope": "openid files:read",
        "preferred_username": "ada", "typ": "Bearer", "iat": NOW - 10, "exp": NOW + 300})
}

fn sign(key: &SigningKey, typ: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.typ = typ.map(ToOwned::to_owned);
    header.kid = Some(key.kid.clone());
    let der = SecretKey::from_pkcs8_pem(&key.pem).unwrap().to_pkcs8_der().unwrap();
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(der.as_bytes())).unwrap()
}

#[tokio::test]
async fn what_a_token_must_say() {
    let (issuer, key) = (Issuer::default(), key(1));
    issuer.publishes(&[&key]);
    let tokens = tokens(&issuer);
    let verify = async |typ, claims: &Value| tokens.verify(&sign(&key, typ, claims), at(NOW)).await;

    let caller = verify(Some("JWT"), &claims()).await.unwrap();
    assert_eq!((caller.client_id.as_str(), caller.subject.as_str()), ("claude", "external:7"));
    assert_eq!(caller.user_name.as_deref(), Some("ada"));
    assert_eq!(portcullis_core::scope::join(&caller.scopes), "files:read");

    let without = Value::Null;
    let rows = [
        (
            "RFC 9068",
            Some("at+jwt"),
            vec![("typ", without.clone()), ("azp", without.clone()), ("client_id", json!("claude"))],
            None,
        ),
        ("RFC 9068, with the media type's prefix", Some("application/AT+JWT"), vec![], None),
        ("no typ in the header", None, vec![], None),
        ("scp as a list", Some("JWT"), vec![("scope", without.clone()), ("scp", json!(["files:read"]))], None),
        ("scp as a text", Some("JWT"), vec![("scope", without.clone()), ("scp", json!("files:read"))], None),
        ("one audience, with a slash", Some("JWT"), vec![("aud", json!("https://h/mcp/"))], None),
        ("another audience", Some("JWT"), vec![("aud", json!("https://h/mcp2"))], Some(JwtError::Audience)),
        ("no audience", Some("JWT"), vec![("aud", without.clone())], Some(JwtError::Audience)),
        (
            "another issuer",
            Some("JWT"),
            vec![("iss", json!("https://idp.example.com/realms/b"))],
            Some(JwtError::Issuer),
        ),
        ("the issuer with a slash", Some("JWT"), vec![("iss", json!(format!("{ISSUER}/")))], Some(JwtError::Issuer)),
        ("expired", Some("JWT"), vec![("exp", json!(NOW))], Some(JwtError::Expired)),
        ("no expiry", Some("JWT"), vec![("exp", without.clone())], Some(JwtError::MissingClaim("exp"))),
        ("not yet", Some("JWT"), vec![("nbf", json!(NOW + 61))], Some(JwtError::TooEarly)),
        ("Keycloak's ID token", Some("JWT"), vec![("typ", json!("ID"))], Some(JwtError::Type)),
        ("Keycloak's refresh token", Some("JWT"), vec![("typ", json!("Refresh"))], Some(JwtError::Type)),
        ("an ID token", Some("JWT"), vec![("at_hash", json!("x"))], Some(JwtError::Type)),
        ("no scope, as an ID token", Some("JWT"), vec![("scope", without.clone())], Some(JwtError::Type)),
        ("another typ", Some("logout+jwt"), vec![], Some(JwtError::Type)),
        (
            "no client",
            Some("JWT"),
            vec![("azp", without.clone())],
            Some(JwtError::Claim("it has neither client_id nor azp")),
        ),
        ("no user", Some("JWT"), vec![("sub", without.clone())], Some(JwtError::MissingClaim("sub"))),
    ];
    for (what, typ, changes, refusal) in rows {
        let mut claims = claims();
        for (claim, value) in changes {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(claim);
            } else {
                claims[claim] = value;
            }
        }
        assert_eq!(verify(typ, &claims).await.err(), refusal, "{what}");
    }

    let good = sign(&key, Some("JWT"), &claims());
    let (message, _) = good.rsplit_once('.').unwrap();
    let other = sign(&self::key(2), Some("JWT"), &claims());
    let swapped = format!("{message}.{}", other.rsplit_once('.').unwrap().1);
    assert_eq!(tokens.verify(&swapped, at(NOW)).await.err(), Some(JwtError::Signature));
    assert_eq!(tokens.verify(&other, at(NOW)).await.err(), Some(JwtError::Key));
    let mut hmac = Header::new(Algorithm::HS256);
    hmac.kid = Some(key.kid.clone());
    let public = key.public_jwk().unwrap().to_string();
    let confused =
        jsonwebtoken::encode(&hmac, &claims(), &EncodingKey::from_secret(public.as_bytes()).unwrap()).unwrap();
    assert_eq!(tokens.verify(&confused, at(NOW)).await.err(), Some(JwtError::Algorithm));
    for junk in ["", "a.b", "a.b.c", &"x".repeat(20_000)] {
        assert_eq!(tokens.verify(junk, at(NOW)).await.err(), Some(JwtError::Malformed));
    }
}

#[tokio::test]
async fn known_keys_go_on_while_the_issuer_is_down_and_unknown_ones_are_asked_for_now_and_then() {
    let (issuer, old, new) = (Issuer::default(), key(1), key(2));
    let tokens = tokens(&issuer);
    let claims =
        json!({"iss": ISSUER, "aud": "https://h/mcp", "sub": "7", "azp": "c", "scope": "", "exp": NOW + 100_000});
    let (by_old, by_new) = (sign(&old, None, &claims), sign(&new, None, &claims));
    let verify = async |token: &str, after: i64| tokens.verify(token, at(NOW + after)).await.map(drop);

    assert_eq!(verify(&by_old, 0).await, Err(JwtError::Unavailable), "down from the start");
    issuer.publishes(&[&old]);
    assert_eq!((verify(&by_old, 9).await, issuer.asked()), (Err(JwtError::Unavailable), 1), "not asked again so soon");
    assert_eq!((verify(&by_old, 10).await, issuer.asked()), (Ok(()), 2));
    assert_eq!((verify(&by_old, 60).await, issuer.asked()), (Ok(()), 2), "remembered");

    for _ in 0..5 {
        assert_eq!(verify(&by_new, 60).await, Err(JwtError::Key));
    }
    assert_eq!(issuer.asked(), 3, "made-up keys do not flood the issuer");
    issuer.publishes(&[&new, &old]);
    assert_eq!((verify(&by_new, 71).await, issuer.asked()), (Ok(()), 4), "the issuer rotated");

    issuer.goes_down();
    assert_eq!((verify(&by_old, 5000).await, verify(&by_new, 5001).await), (Ok(()), Ok(())));
    assert_eq!(issuer.asked(), 5, "asked in vain, once");
    let unknown = sign(&key(3), None, &claims);
    assert_eq!(verify(&unknown, 5020).await, Err(JwtError::Unavailable));

    issuer.publishes(&[&new]);
    assert_eq!(verify(&by_new, 5040).await, Ok(()));
    assert_eq!(verify(&by_old, 5041).await, Err(JwtError::Key), "withdrawn");
}

/// Metadata and keys with all required values, but in arrays instead of objects.
#[tokio::test]
async fn an_issuers_documents_have_names_not_positions() {
    use axum::{Router, routing::get};
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = key(1).public_jwk().unwrap();
    for (metadata_by_name, keys_by_name, good) in [(true, true, true), (false, true, false), (true, false, false)] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let jwks_uri = format!("{issuer}/keys");
        let metadata =
            if metadata_by_name { json!({"issuer": issuer, "jwks_uri": jwks_uri}) } else { json!([issuer, jwks_uri]) };
        let keys = if keys_by_name { json!({"keys": [key]}) } else { json!([[key]]) };
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", get(async move || metadata.to_string()))
            .route("/keys", get(async move || keys.to_string()));
        let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let client = Outbound::new().unwrap().trusted(None).unwrap();
        let fetched = IssuerClient::new(issuer, client).fetch().await;
        assert_eq!(fetched.is_ok(), good, "{:?}", fetched.map(|published| published.keys));
        served.abort();
    }
}

proptest! {
    /// Holds even for a token with the issuer's own signature.
    #[test]
    fn whatever_an_issuer_elsewhere_signs_must_be_for_us_and_now(claims in portcullis_testing::strategies::changed(claims(), &[
        "iss", "aud", "sub", "azp", "client_id", "scope", "scp", "exp", "iat", "nbf", "typ", "preferred_username",
    ])) {
        let (issuer, key) = (Issuer::default(), key(1));
        issuer.publishes(&[&key]);
        let token = sign(&key, Some("at+jwt"), &claims);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let verified = runtime.block_on(async { tokens(&issuer).verify(&token, at(NOW)).await });
        if let Ok(caller) = verified {
            prop_assert_eq!(&claims["iss"], ISSUER);
            prop_assert!(caller.expires_at > at(NOW));
            prop_assert!(claims["aud"].to_string().contains("https://h/mcp"));
        }
    }
}
