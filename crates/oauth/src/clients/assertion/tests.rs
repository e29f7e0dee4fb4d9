//! Valid assertions of every algorithm, and assertions with a single error each, with keys in the client's own
//! description. Keys by URI are tested in `tests/self_described`.

use crate::clients::assertion::*;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header as JwtHeader};
use portcullis_core::client::ClientType;
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData as _};
use rsa::{PrivateKey, pkcs1::DecodeRsaPrivateKey as _, traits::PublicKeyParts as _};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ISSUER: &str = "https://mcp.example.com";
const TOKEN_ENDPOINT: &str = "https://mcp.example.com/token";
const NOW: i64 = 1_800_000_000;

struct Signer {
    alg: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signer(alg: Algorithm, kid: &str) -> Signer {
    let (key, mut jwk) = match alg {
        Algorithm::ES256 | Algorithm::ES384 => {
            let (curve, crv) = match alg {
                Algorithm::ES256 => (&PKCS_ECDSA_P256_SHA256, "P-256"),
                _ => (&PKCS_ECDSA_P384_SHA384, "P-384"),
            };
            let pair = KeyPair::generate_for(curve).unwrap();
            let (x, y) = pair.der_bytes()[1..].split_at((pair.der_bytes().len() - 1) / 2);
            let jwk = json!({"kty": "EC", "crv": crv, "x": encoded(x), "y": encoded(y)});
            (EncodingKey::from_ec_der(&pair.serialize_der()), jwk)
        }
        Algorithm::EdDSA => {
            let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(pair.der_bytes())});
            (EncodingKey::from_ed_der(&pair.serialize_der()), jwk)
        }
        _ => {
            let text = include_str!("rsa-test-key.b64").replace('\n', "");
            let der = STANDARD.decode(text).unwrap();
            let key = PrivateKey::from_pkcs1_der(&der).unwrap();
            let jwk = json!({"kty": "RSA", "n": encoded(&key.n_bytes()), "e": encoded(&key.e_bytes())});
            (EncodingKey::from_rsa_der(&der), jwk)
        }
    };
    jwk["kid"] = json!(kid);
    Signer { alg, key, jwk }
}

impl Signer {
    fn header(&self) -> Value {
        json!({"alg": self.alg, "kid": self.jwk["kid"]})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header.to_string().as_bytes()), encoded(claims.to_string().as_bytes()));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.alg).unwrap();
        format!("{message}.{signature}")
    }
}

fn client(keys: &[Value]) -> ClientVerifier {
    ClientVerifier {
        client_id: "agent".to_owned(),
        display_name: "agent".to_owned(),
        client_type: ClientType::Confidential,
        grants: Vec::new(),
        scopes: BTreeSet::new(),
        registered_at: None,
        redirect_uris: Vec::new(),
        secrets: Vec::new(),
        private_key_jwt: Some(serde_json::from_value(json!({"jwks": {"keys": keys}})).unwrap()),
    }
}

fn claims(jti: &str) -> Value {
    json!({"iss": "agent", "sub": "agent", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": jti})
}

fn with(mut value: Value, name: &str, to: Value) -> Value {
    value[name] = to;
    value
}

fn assertions() -> Assertions {
    Assertions::new(Arc::new(Outbound::new().unwrap()))
}

async fn verify(assertions: &Assertions, assertion: &str, client: &ClientVerifier) -> Result<(), AssertionError> {
    let now = Timestamp::from_second(NOW).unwrap();
    assertions.verify(assertion, client, [ISSUER, TOKEN_ENDPOINT], now).await.map(drop)
}

#[tokio::test]
async fn every_algorithm_proves_with_its_own_kind_of_key_and_no_other() {
    let algorithms = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256];
    let signers: Vec<Signer> =
        algorithms.iter().enumerate().map(|(index, alg)| signer(*alg, &index.to_string())).collect();
    let all = client(&signers.iter().map(|signer| signer.jwk.clone()).collect::<Vec<_>>());
    let assertions = assertions();
    for (index, signer) in signers.iter().enumerate() {
        let good = signer.sign(&signer.header(), &claims(&format!("good {index}")));
        assert_eq!(verify(&assertions, &good, &all).await, Ok(()), "{:?}", signer.alg);
        let no_kid = signer.sign(&json!({"alg": signer.alg}), &claims(&format!("no kid {index}")));
        assert_eq!(verify(&assertions, &no_kid, &all).await, Ok(()), "{:?} without kid", signer.alg);
        for other in &signers {
            let crossed = signer.sign(&with(signer.header(), "alg", json!(other.alg)), &claims("crossed"));
            let rsa = |alg| matches!(alg, Algorithm::RS256 | Algorithm::PS256);
            let expected = match other.alg {
                alg if alg == signer.alg => continue,
                // The key supports both algorithms, but the signature does not match.
                alg if rsa(alg) && rsa(signer.alg) => AssertionError::Signature,
                _ => AssertionError::Key,
            };
            assert_eq!(verify(&assertions, &crossed, &all).await, Err(expected), "{:?} as {:?}", signer.alg, other.alg);
        }
        // A key with a restricted purpose is not used for another one.
        let only = client(&[with(with(signer.jwk.clone(), "alg", json!("RS512")), "use", json!("sig"))]);
        assert_eq!(verify(&assertions, &good, &only).await, Err(AssertionError::Key));
        let encrypts = client(&[with(signer.jwk.clone(), "use", json!("enc"))]);
        assert_eq!(verify(&assertions, &good, &encrypts).await, Err(AssertionError::Key));
    }
}

#[tokio::test]
async fn an_assertion_that_is_wrong_in_one_thing_is_refused() {
    use AssertionError::{
        Algorithm as Alg, Audience, Client, Early, Expired, Header as Head, Key, Malformed, Signature, TooLong,
    };
    let (ours, stranger) = (signer(Algorithm::ES256, "1"), signer(Algorithm::ES256, "1"));
    let client = client(std::slice::from_ref(&ours.jwk));
    let header = ours.header();
    let changed = |name: &str, to: Value| ours.sign(&header, &with(claims("x"), name, to));
    let under = |name: &str, to: Value| ours.sign(&with(header.clone(), name, to), &claims("x"));
    let good = ours.sign(&header, &claims("x"));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let public =
        jsonwebtoken::DecodingKey::from_ec_components(ours.jwk["x"].as_str().unwrap(), ours.jwk["y"].as_str().unwrap());
    let mut hs256 = JwtHeader::new(Algorithm::HS256);
    hs256.kid = Some("1".to_owned());
    let confused = jsonwebtoken::encode(
        &hs256,
        &claims("x"),
        &EncodingKey::from_secret(public.unwrap().try_get_as_bytes().unwrap()).unwrap(),
    );
    let unsigned = format!("{}.{}.", encoded(br#"{"alg":"none"}"#), encoded(claims("x").to_string().as_bytes()));
    let swapped = format!("{}.{signature}", under("typ", json!("JWT")).rsplit_once('.').unwrap().0);
    let rows = [
        ("another issuer", changed("iss", json!("other")), Client),
        ("another subject", changed("sub", json!("other")), Client),
        ("another audience", changed("aud", json!("https://other.example.com")), Audience),
        ("our resource as the audience", changed("aud", json!("https://mcp.example.com/mcp")), Audience),
        ("audiences without ours", changed("aud", json!(["https://a.example.com"])), Audience),
        ("no audience", changed("aud", Value::Null), Malformed),
        ("expired", changed("exp", json!(NOW)), Expired),
        ("expired long ago", changed("exp", json!(-1)), Expired),
        ("no expiry", changed("exp", Value::Null), Malformed),
        ("an expiry that is no time", changed("exp", json!(1e300)), Malformed),
        ("valid for too long", changed("exp", json!(NOW + 301)), TooLong),
        (
            "valid for too long since a while ago",
            ours.sign(&header, &with(with(claims("x"), "exp", json!(NOW + 301)), "iat", json!(NOW - 60))),
            TooLong,
        ),
        ("issued in the future", changed("iat", json!(NOW + 61)), Early),
        ("not yet valid", changed("nbf", json!(NOW + 61)), Early),
        ("no jti", changed("jti", Value::Null), Malformed),
        ("an empty jti", changed("jti", json!("")), Malformed),
        ("a critical header", under("crit", json!(["b64"])), Head),
        ("an access token", under("typ", json!("at+jwt")), Head),
        ("another kid", under("kid", json!("2")), Key),
        ("unsigned", unsigned, Alg),
        ("HS256 with the public key", confused.unwrap(), Alg),
        ("the signature left out", format!("{message}."), Signature),
        ("another header under a good signature", swapped, Signature),
        ("another's key under our kid", stranger.sign(&header, &claims("x")), Signature),
        (
            "another's key brought along",
            stranger.sign(&with(header.clone(), "jwk", stranger.jwk.clone()), &claims("x")),
            Signature,
        ),
        (
            "another's key linked to",
            stranger.sign(&with(header.clone(), "jku", json!("https://evil.com/jwks")), &claims("x")),
            Signature,
        ),
        ("no JWT", "abc".to_owned(), Malformed),
        ("empty parts", "..".to_owned(), Malformed),
        ("too long", good.clone() + &"A".repeat(FORMAT.max_length), Malformed),
    ];
    let assertions = assertions();
    for (what, assertion, expected) in rows {
        assert_eq!(verify(&assertions, &assertion, &client).await, Err(expected), "{what}");
    }
    assert_eq!(verify(&assertions, &good, &client).await, Ok(()), "none of those used up the jti");
    for (name, to) in [
        ("aud", json!(TOKEN_ENDPOINT)),
        ("aud", json!(["https://a.example.com", ISSUER])),
        ("exp", json!(NOW + 300)),
        ("exp", json!(f64::from(1_800_000_060) + 0.5)),
        ("iat", json!(NOW + 60)),
    ] {
        let jti = format!("{name} {to}");
        let assertion = ours.sign(&header, &with(claims(&jti), name, to));
        assert_eq!(verify(&assertions, &assertion, &client).await, Ok(()), "{jti}");
    }
    for typ in ["JWT", "jwt", "application/client-authentication+jwt"] {
        let assertion = ours.sign(&with(header.clone(), "typ", json!(typ)), &claims(typ));
        assert_eq!(verify(&assertions, &assertion, &client).await, Ok(()), "{typ}");
    }
}

#[tokio::test]
async fn an_assertion_is_good_once_until_it_expires() {
    let ours = signer(Algorithm::EdDSA, "1");
    let (agent, assertions) = (client(std::slice::from_ref(&ours.jwk)), assertions());
    let once = ours.sign(&ours.header(), &claims("once"));
    assert_eq!(verify(&assertions, &once, &agent).await, Ok(()));
    assert_eq!(verify(&assertions, &once, &agent).await, Err(AssertionError::Used));
    let again = ours.sign(&ours.header(), &with(claims("once"), "exp", json!(NOW + 100)));
    assert_eq!(verify(&assertions, &again, &agent).await, Err(AssertionError::Used), "the jti counts, not the text");

    let other = ClientVerifier { client_id: "other".to_owned(), ..client(std::slice::from_ref(&ours.jwk)) };
    let of_other = with(with(claims("once"), "iss", json!("other")), "sub", json!("other"));
    let of_other = ours.sign(&ours.header(), &of_other);
    assert_eq!(verify(&assertions, &of_other, &other).await, Ok(()), "each client has its own");

    let later = Timestamp::from_second(NOW + 60).unwrap();
    let next = ours.sign(&ours.header(), &with(claims("once"), "exp", json!(NOW + 120)));
    let answer = assertions.verify(&next, &agent, [ISSUER, TOKEN_ENDPOINT], later).await;
    assert!(answer.is_ok(), "after that it may come again: {answer:?}");
    assertions.forget(&answer.unwrap());
    let answer = assertions.verify(&next, &agent, [ISSUER, TOKEN_ENDPOINT], later).await;
    assert!(answer.is_ok(), "the store did not keep it: {answer:?}");
}

#[tokio::test]
async fn five_minutes_are_counted_by_a_clock_that_is_a_little_ahead() {
    let ours = signer(Algorithm::EdDSA, "1");
    let (agent, assertions) = (client(std::slice::from_ref(&ours.jwk)), assertions());
    for (ahead, expires, expected) in
        [(59, 359, Ok(())), (60, 361, Err(AssertionError::TooLong)), (61, 361, Err(AssertionError::Early))]
    {
        let claims = with(with(claims(&format!("{ahead}")), "iat", json!(NOW + ahead)), "exp", json!(NOW + expires));
        assert_eq!(verify(&assertions, &ours.sign(&ours.header(), &claims), &agent).await, expected, "{ahead}");
    }
}

#[test]
fn one_client_cannot_fill_the_memory_of_marks() {
    let mut used = Used::default();
    let at = |second| Timestamp::from_second(NOW + second).unwrap();
    let mark = |client: &str, jti: usize, until| Mark::assertion(ISSUER, client, &jti.to_string(), at(until));
    for jti in 0..PER_CLIENT {
        assert_eq!(used.take(&mark("busy", jti, 300), at(0)), Ok(()));
    }
    assert_eq!(used.take(&mark("busy", PER_CLIENT, 300), at(0)), Err(AssertionError::Busy));
    assert_eq!(used.take(&mark("busy", 0, 300), at(299)), Err(AssertionError::Used), "none is forgotten early");
    assert_eq!(used.take(&mark("other", 0, 300), at(0)), Ok(()), "others go on");
    assert_eq!(used.count, PER_CLIENT + 1);
    assert_eq!(used.take(&mark("busy", PER_CLIENT, 600), at(300)), Ok(()), "what has expired makes room");
    assert_eq!(used.count, 1);
}

#[tokio::test]
async fn clients_without_keys_and_keys_that_are_weak_prove_nothing() {
    let ours = signer(Algorithm::RS256, "1");
    let assertion = ours.sign(&ours.header(), &claims("x"));
    let with_secret = ClientVerifier { private_key_jwt: None, ..client(&[]) };
    assert_eq!(verify(&assertions(), &assertion, &with_secret).await, Err(AssertionError::NoKeys));
    for (what, name, to) in [
        ("1024 bits", "n", encoded(&[0xff; 128])),
        ("8192 bits", "n", encoded(&[0xff; 1024])),
        ("an exponent as long as a modulus", "e", encoded(&[0xff; 256])),
        ("no base64", "n", "%%%".to_owned()),
    ] {
        let weak = client(&[with(ours.jwk.clone(), name, json!(to))]);
        assert_eq!(verify(&assertions(), &assertion, &weak).await, Err(AssertionError::Key), "{what}");
    }
    let short = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "1"});
    let ec = signer(Algorithm::ES256, "1");
    let assertion = ec.sign(&ec.header(), &claims("x"));
    assert_eq!(verify(&assertions(), &assertion, &client(&[short])).await, Err(AssertionError::Key));
}

#[test]
fn metadata_list_the_algorithms_that_are_accepted() {
    let accepted: BTreeSet<String> = external_jwt::ALGORITHMS.iter().map(|alg| format!("{alg:?}")).collect();
    assert_eq!(accepted, ALGORITHMS.map(ToOwned::to_owned).into());
}

#[test]
fn the_subject_is_read_without_trust() {
    let ours = signer(Algorithm::ES256, "1");
    assert_eq!(subject(&ours.sign(&ours.header(), &claims("x"))).as_deref(), Some("agent"));
    for text in ["", "a", "a.b", "a.b.c", "a.e30.c"] {
        assert_eq!(subject(text), None, "{text}");
    }
}

fn any_assertion() -> impl Strategy<Value = (Value, Value)> {
    let header = portcullis_testing::strategies::changed(
        json!({"alg": "ES256"}),
        &["alg", "typ", "kid", "crit", "jwk", "jku", "x5c"],
    );
    let claims = json!({"iss": "agent", "sub": "agent", "aud": ISSUER, "exp": NOW + 60, "jti": "1"});
    let claims = portcullis_testing::strategies::changed(claims, &["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]);
    (header, claims)
}

proptest! {
    #[test]
    fn whatever_is_asserted_it_is_about_the_client_for_us_and_short((said, about) in any_assertion()) {
        let part = |value: &Value| encoded(value.to_string().as_bytes());
        let text = format!("{}.{}.AAAA", part(&said), part(&about));
        if let Ok(token) = header(&text) {
            prop_assert!(external_jwt::ALGORITHMS.contains(&token.header.alg));
        }
        let now = Timestamp::from_second(NOW).unwrap();
        if let Some(claims) = super::claims(&text)
            && let Ok(end) = claims.check("agent", &[ISSUER, TOKEN_ENDPOINT], now)
        {
            prop_assert!(end > now && end.duration_since(now) <= MAX_LIFETIME + SKEW);
            prop_assert_eq!((&about["iss"], &about["sub"]), (&json!("agent"), &json!("agent")));
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,100}|[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
        prop_assert!(header(&text).is_err() || super::claims(&text).is_none());
    }
}
