//! Tests of ID tokens and keys: all accepted algorithms, and invalid tokens.

use crate::oidc::{
    claims::UserClaims as _,
    discovery::Metadata,
    id_token::{self, Expected, FORMAT, IdTokenError},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, jwk::Jwk};
use portcullis_oauth::external_jwt::{Claims, KeySet, Token};
use portcullis_outbound::issuer::IssuerClient;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: i64 = 10_000;

/// Keys for tests only. `{NAME: {jwk: the public half, der: the private one}}`.
fn test_keys() -> Value {
    serde_json::from_str(include_str!("test_keys.json")).unwrap()
}

fn private(name: &str) -> EncodingKey {
    let der = STANDARD.decode(test_keys()[name]["der"].as_str().unwrap()).unwrap();
    match name {
        "rsa" => EncodingKey::from_rsa_der(&der),
        "ed25519" => EncodingKey::from_ed_der(&der),
        _ => EncodingKey::from_ec_der(&der),
    }
}

fn public(name: &str) -> Jwk {
    serde_json::from_value(test_keys()[name]["jwk"].clone()).unwrap()
}

/// The public half, with the name as its `kid`.
fn identified(name: &str) -> Value {
    let mut jwk = test_keys()[name]["jwk"].clone();
    jwk["kid"] = json!(name);
    jwk
}

fn claims() -> Value {
    json!({"iss": "https://idp.example", "sub": "7", "aud": "us", "exp": NOW + 300, "iat": NOW, "nonce": "n"})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

fn verify(token: &str, key: &DecodingKey) -> Result<Claims, IdTokenError> {
    let now = Timestamp::from_second(NOW).unwrap();
    let expected = Expected { issuer: "https://idp.example", client_id: "us", nonce: Some("n"), now };
    id_token::verify(&Token::parse(token, &FORMAT)?, key, &expected)
}

/// Verifies claims that are signed with P-256.
fn outcome(claims: &Value) -> Result<Claims, IdTokenError> {
    let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &private("p256")).unwrap();
    verify(&token, &DecodingKey::from_jwk(&public("p256")).unwrap())
}

#[test]
fn every_algorithm_of_public_keys_counts() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let all = [
        ("rsa", [RS256, RS384, RS512, PS256, PS384, PS512].as_slice()),
        ("p256", &[ES256]),
        ("p384", &[ES384]),
        ("ed25519", &[EdDSA]),
    ];
    for (name, algorithms) in all {
        for &algorithm in algorithms {
            let token = jsonwebtoken::encode(&Header::new(algorithm), &claims(), &private(name)).unwrap();
            let header = Token::parse(&token, &FORMAT).unwrap().header;
            let set = KeySet::read(all.map(|(name, _)| identified(name)));
            let found = set.find(&header).unwrap_or_else(|| panic!("{algorithm:?}"));
            assert_eq!(found.id.as_deref(), Some(name), "{algorithm:?}");
            let verified = verify(&token, &found.verifier).unwrap();
            assert_eq!(verified.subject().as_deref(), Some("7"), "{algorithm:?}");
        }
    }
}

#[test]
fn a_signature_that_anybody_could_make_does_not_count() {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let key = DecodingKey::from_jwk(&public("p256")).unwrap();
    let body = encode(&claims());
    for alg in ["none", "None", "HS256", "HS512", "unheard-of"] {
        let secret = EncodingKey::from_secret(test_keys()["p256"]["jwk"].to_string().as_bytes()).unwrap();
        let message = format!("{}.{body}", encode(&json!({"alg": alg})));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
        for token in [format!("{message}.{signature}"), format!("{message}.")] {
            assert_eq!(verify(&token, &key), Err(IdTokenError::Algorithm), "{alg}");
        }
    }
    let signed = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims(), &private("p256")).unwrap();
    let (message, signature) = signed.rsplit_once('.').unwrap();
    let (head, _) = message.split_once('.').unwrap();
    let other = format!("{head}.{}.{signature}", encode(&with("sub", json!("8"))));
    assert_eq!(verify(&other, &key), Err(IdTokenError::Signature));
    assert_eq!(verify(&format!("{message}."), &key), Err(IdTokenError::Signature));
    for broken in ["", "a", "a.b.c", &format!("{signed}.x"), &"x".repeat(100_000)] {
        assert_eq!(verify(broken, &key), Err(IdTokenError::Malformed), "{}", broken.len());
    }
}

#[test]
fn claims_that_are_not_for_us_now_do_not_count() {
    use IdTokenError::{Audience, AuthorizedParty, Expired, Issuer, Nonce, TooEarly};
    for (claim, value, rejection) in [
        ("iss", json!("https://idp.example/"), Issuer),
        ("iss", json!(["https://idp.example"]), Issuer),
        ("iss", Value::Null, Issuer),
        ("aud", json!("them"), Audience),
        ("aud", json!(["them"]), Audience),
        ("aud", json!([]), Audience),
        ("aud", Value::Null, Audience),
        ("aud", json!(["us", "them"]), AuthorizedParty),
        ("azp", json!("them"), AuthorizedParty),
        ("azp", json!(7), AuthorizedParty),
        ("exp", json!(NOW - 60), Expired),
        ("exp", json!("soon"), Expired),
        ("exp", Value::Null, Expired),
        ("iat", json!(NOW + 61), TooEarly),
        ("iat", Value::Null, TooEarly),
        ("nbf", json!(NOW + 61), TooEarly),
        ("nonce", json!("m"), Nonce),
        ("nonce", Value::Null, Nonce),
    ] {
        assert_eq!(outcome(&with(claim, value.clone())), Err(rejection), "{claim} {value}");
    }
}

#[test]
fn claims_that_are_a_little_off_count() {
    for (claim, value) in [
        ("aud", json!(["us"])),
        ("azp", json!("us")),
        ("exp", json!(NOW - 59)),
        ("exp", json!(10_300.75)),
        ("iat", json!(NOW + 60)),
        ("nbf", json!(NOW + 60)),
    ] {
        assert!(outcome(&with(claim, value.clone())).is_ok(), "{claim} {value}");
    }
    let mut several = with("aud", json!(["them", "us"]));
    several["azp"] = json!("us");
    assert!(outcome(&several).is_ok());
}

#[test]
fn a_key_is_found_by_its_name_and_only_for_what_it_is_for() {
    let key = |change: Value| {
        let mut jwk = test_keys()["rsa"]["jwk"].clone();
        jwk.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        jwk
    };
    let header = |kid: Option<&str>| Header { kid: kid.map(ToOwned::to_owned), ..Header::new(Algorithm::RS256) };
    let find = |keys: &[&Value], header: &Header| {
        KeySet::read(keys.iter().copied().cloned()).find(header).map(|key| key.id.clone().unwrap())
    };
    let (a, b) = (key(json!({"kid": "a"})), key(json!({"kid": "b"})));
    let both = [&a, &b];
    assert_eq!(find(&both, &header(Some("b"))).as_deref(), Some("b"));
    assert_eq!(find(&both, &header(Some("c"))), None);
    assert_eq!(find(&both, &header(None)), None, "which one?");
    assert_eq!(find(&both[..1], &header(None)).as_deref(), Some("a"));
    let mut of_another_kind = identified("p256");
    of_another_kind["kid"] = json!("a");
    for unfit in [
        key(json!({"kid": "a", "use": "enc"})),
        key(json!({"kid": "a", "alg": "RS512"})),
        key(json!({"kid": "a", "alg": "RSA-OAEP"})),
        key(json!({"kid": "a", "n": &test_keys()["rsa"]["jwk"]["n"].as_str().unwrap()[..171]})),
        of_another_kind,
    ] {
        assert_eq!(find(&[&unfit], &header(Some("a"))), None, "{unfit:?}");
    }
    assert!(find(&[&key(json!({"kid": "a", "use": "sig", "alg": "RS256"}))], &header(Some("a"))).is_some());
}

#[test]
fn people_are_called_by_the_first_claim_that_there_is() {
    let claims = |value: Value| serde_json::from_value::<Claims>(value).unwrap();
    for (value, name) in [
        (json!({"nick": "a", "preferred_username": "b"}), Some("a")),
        (json!({"nick": " ", "preferred_username": "b", "email": "c"}), Some("b")),
        (json!({"nick": 7, "email": "c", "name": "d"}), Some("c")),
        (json!({"name": "d"}), Some("d")),
        (json!({"sub": "7"}), None),
    ] {
        assert_eq!(claims(value.clone()).name("nick").as_deref(), name, "{value}");
    }
    for (value, groups) in [
        (json!({"groups": ["a", 7, "b"]}), vec!["a", "b"]),
        (json!({"groups": "a b"}), vec!["a b"]),
        (json!({"groups": {"a": true}}), vec![]),
        (json!({}), vec![]),
    ] {
        assert_eq!(claims(value.clone()).groups("groups").into_iter().collect::<Vec<_>>(), groups, "{value}");
    }
    let mut first = claims(json!({"sub": "7", "email": "a"}));
    first.complete(claims(json!({"sub": "8", "email": "b", "groups": ["c"]})));
    assert_eq!(first, claims(json!({"sub": "7", "email": "a", "groups": ["c"]})), "the ID token's word counts");
}

fn any_claims() -> impl Strategy<Value = Value> {
    portcullis_testing::strategies::changed(
        claims(),
        &["iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "groups"],
    )
}

fn any_key() -> impl Strategy<Value = Value> {
    let names = &["kty", "crv", "x", "y", "n", "e", "kid", "use", "alg", "k", "key_ops"];
    portcullis_testing::strategies::changed(test_keys()["p256"]["jwk"].clone(), names)
}

proptest! {
    /// Holds even for a token with the provider's own signature.
    #[test]
    fn whatever_an_id_token_says_it_must_be_for_us_and_now(claims in any_claims()) {
        if outcome(&claims).is_ok() {
            prop_assert_eq!(&claims["iss"], "https://idp.example");
            prop_assert_eq!(&claims["nonce"], "n");
            prop_assert!(claims["aud"] == "us" || claims["aud"].as_array().is_some_and(|all| all.contains(&json!("us"))));
        }
    }

    #[test]
    fn no_id_token_panics(text in "\\PC{0,100}|[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}") {
        prop_assert!(verify(&text, &DecodingKey::from_jwk(&public("p256")).unwrap()).is_err());
    }

    #[test]
    fn whatever_keys_a_provider_publishes_none_panics(key in any_key()) {
        let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims(), &private("p256")).unwrap();
        if let Some(key) = KeySet::read([key]).find(&Header::new(Algorithm::ES256)) {
            // The result does not matter: the key may not match the signature.
            drop(verify(&token, &key.verifier));
        }
    }

    #[test]
    fn whatever_a_provider_says_of_itself_its_endpoints_are_safe(document in portcullis_testing::strategies::changed(json!({
        "issuer": "https://idp.example", "authorization_endpoint": "https://idp.example/authorize",
        "token_endpoint": "https://idp.example/token", "jwks_uri": "https://idp.example/jwks",
    }), &["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint",
        "token_endpoint_auth_methods_supported"])) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = portcullis_outbound::Outbound::new().unwrap().trusted(None).unwrap();
        let issuer = IssuerClient::new("https://idp.example".to_owned(), client);
        if let Ok(metadata) = serde_json::from_value::<Metadata>(document)
            && issuer.check(&metadata).is_ok()
        {
            prop_assert_eq!(&metadata.issuer, "https://idp.example");
            for endpoint in [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri] {
                prop_assert!(url::Url::parse(endpoint).unwrap().scheme() == "https");
            }
        }
    }
}
