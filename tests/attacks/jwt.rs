//! Access tokens that were made by somebody else, for somewhere else, or for another time. Some are signed with the
//! endpoint's own key, which no attacker has: so it is seen that one thing alone is enough to refuse them.

use crate::{
    agent::Tokens,
    forge::{Parts, encode, jwk, message, other_key, own_key, public_texts, sign},
    stage::{SECRET, Stage, after},
    web::Web,
};
use p256::ecdsa::{Signature, signature::Signer as _};
use serde_json::{Value, json};

/// A stage, and a real token to begin with.
async fn begin() -> (Stage, Tokens, Parts) {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    assert_eq!(stage.status(&tokens.access).await, 200);
    let parts = Parts::of(&tokens.access);
    assert_eq!(stage.status(&parts.signed(&own_key(&stage.keys))).await, 200, "the forge works");
    (stage, tokens, parts)
}

async fn refused(stage: &Stage, token: &str, what: &str) {
    let answer = stage.call(token).await;
    assert_eq!(answer.status, 401, "{what}: {}", answer.text);
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
}

/// The algorithm is `none`, in any spelling, with or without a signature → refused.
#[tokio::test]
async fn the_algorithm_none() {
    let (stage, _, parts) = begin().await;
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let parts = parts.clone().header("alg", json!(alg));
        refused(&stage, &format!("{}.", parts.message()), alg).await;
        refused(&stage, &parts.message(), alg).await;
        refused(&stage, &parts.signed(&own_key(&stage.keys)), alg).await;
    }
    let mut without = parts.clone();
    without.header.as_object_mut().unwrap().remove("alg");
    refused(&stage, &without.signed(&own_key(&stage.keys)), "no algorithm").await;
    stage.stop().await;
}

/// The algorithm is HS256 with the published public key as its secret → refused.
#[tokio::test]
async fn an_hmac_with_the_public_key() {
    let (stage, _, parts) = begin().await;
    for alg in ["HS256", "HS384", "HS512"] {
        for key in public_texts(&own_key(&stage.keys)) {
            refused(&stage, &parts.clone().header("alg", json!(alg)).with_mac(&key), alg).await;
        }
    }
    for key in public_texts(&own_key(&stage.keys)) {
        refused(&stage, &parts.with_mac(&key), "an HMAC that says ES256").await;
    }
    stage.stop().await;
}

/// The algorithm is swapped for RSA, another curve, or one that nobody knows → refused, though the key signed it.
#[tokio::test]
async fn another_algorithm() {
    let (stage, _, parts) = begin().await;
    for alg in ["RS256", "PS256", "ES384", "EdDSA", "es256", "ES256K", "A128KW"] {
        refused(&stage, &parts.clone().header("alg", json!(alg)).signed(&own_key(&stage.keys)), alg).await;
    }
    for alg in [json!(["ES256"]), json!(null), json!(256), json!({"alg": "ES256"})] {
        refused(&stage, &parts.clone().header("alg", alg.clone()).signed(&own_key(&stage.keys)), "no text").await;
    }
    stage.stop().await;
}

/// The `kid` is unknown, missing, a path, a URL or a query → refused, and nothing is read or fetched for it.
#[tokio::test]
async fn a_crafted_key_id() {
    let web = Web::start(&["evil.example.com"]).await;
    let stage = Stage::with(|setup| setup.outbound = web.outbound()).await;
    let parts = Parts::of(&stage.tokens().await.access);
    let kid = parts.header["kid"].as_str().unwrap().to_owned();
    for kid in [
        json!("unknown"),
        json!("/dev/null"),
        json!("../../../../../../dev/null"),
        json!("https://evil.example.com/jwks.json"),
        json!("' OR '1'='1"),
        json!(format!("{kid}\u{0}")),
        json!(format!("{kid} ")),
        json!(kid.to_uppercase()),
        json!(""),
        json!(0),
        json!([kid]),
        Value::Null,
    ] {
        let parts = parts.clone().header("kid", kid.clone());
        refused(&stage, &parts.signed(&own_key(&stage.keys)), &kid.to_string()).await;
        refused(&stage, &parts.with_mac(b""), &kid.to_string()).await;
    }
    assert!(web.lookups().is_empty());
    stage.stop().await;
}

/// The header brings its own key: `jwk`, `jku`, `x5u` or `x5c` → refused, and nothing is fetched.
#[tokio::test]
async fn a_key_in_the_header() {
    let web = Web::start(&["evil.example.com"]).await;
    let stage = Stage::with(|setup| setup.outbound = web.outbound()).await;
    let parts = Parts::of(&stage.tokens().await.access);
    let (evil, kid) = (other_key(), parts.header["kid"].clone());
    for kid in [kid, json!("evil")] {
        for (name, value) in [
            ("jwk", jwk(&evil, &kid)),
            ("jku", json!("https://evil.example.com/jwks.json")),
            ("x5u", json!("https://evil.example.com/cert.pem")),
            ("x5c", json!(["MIIB"])),
        ] {
            let token = parts.clone().header(name, value).header("kid", kid.clone()).signed(&evil);
            refused(&stage, &token, name).await;
        }
    }
    assert!(web.lookups().is_empty());
    stage.stop().await;
}

/// The token is signed with another key under the endpoint's `kid` → refused.
#[tokio::test]
async fn another_key() {
    let (stage, _, parts) = begin().await;
    refused(&stage, &parts.signed(&other_key()), "another key").await;
    stage.stop().await;
}

/// Something else that is a JWT, such as an ID token, by its `typ` → refused, though the key signed it.
#[tokio::test]
async fn another_type() {
    let (stage, _, parts) = begin().await;
    for typ in
        [json!("JWT"), json!("id_token"), json!("logout+jwt"), json!("at+jwt2"), json!(""), Value::Null, json!(1)]
    {
        let token = parts.clone().header("typ", typ.clone()).signed(&own_key(&stage.keys));
        refused(&stage, &token, &typ.to_string()).await;
    }
    let spelled = parts.clone().header("typ", json!("application/AT+JWT")).signed(&own_key(&stage.keys));
    assert_eq!(stage.status(&spelled).await, 200, "RFC 9068 lets it be spelled so");
    stage.stop().await;
}

/// The audience is another resource, a part of this one, or missing → refused.
#[tokio::test]
async fn another_audience() {
    let (stage, _, parts) = begin().await;
    let resource = parts.claims["aud"].as_str().unwrap().to_owned();
    for aud in [
        json!("https://elsewhere.example.com/mcp"),
        json!(stage.origin),
        json!(format!("{resource}/")),
        json!(format!("{resource}.evil.test")),
        json!(resource.to_uppercase()),
        json!([]),
        json!(""),
        Value::Null,
    ] {
        let token = parts.clone().claim("aud", aud.clone()).signed(&own_key(&stage.keys));
        refused(&stage, &token, &aud.to_string()).await;
    }
    stage.stop().await;
}

/// The issuer is another, or missing → refused.
#[tokio::test]
async fn another_issuer() {
    let (stage, _, parts) = begin().await;
    for iss in [json!("https://evil.test"), json!(format!("{}/", stage.origin)), json!([stage.origin]), Value::Null] {
        let token = parts.clone().claim("iss", iss.clone()).signed(&own_key(&stage.keys));
        refused(&stage, &token, &iss.to_string()).await;
    }
    stage.stop().await;
}

/// A token is used at the second in which it expires, and one without an end or with an absurd one → refused; a second
/// earlier it is good.
#[tokio::test]
async fn an_expired_token() {
    let (stage, tokens, parts) = begin().await;
    stage.clock.set(after(899));
    assert_eq!(stage.status(&tokens.access).await, 200);
    stage.clock.set(after(900));
    refused(&stage, &tokens.access, "in that very second, from the cache").await;
    stage.clock.set(after(899));
    for exp in [json!("1900000000"), json!(-1), json!(1e300), json!(i64::MAX), Value::Null, json!([1_900_000_000])] {
        let token = parts.clone().claim("exp", exp.clone()).signed(&own_key(&stage.keys));
        refused(&stage, &token, &exp.to_string()).await;
    }
    stage.stop().await;
}

/// A token is used before the second that its `nbf` names → refused; in that second it is good.
#[tokio::test]
async fn a_token_before_its_time() {
    let (stage, _, parts) = begin().await;
    for (nbf, good) in [(json!(at_second(0)), true), (json!(at_second(1)), false), (json!("soon"), false)] {
        let token = parts.clone().claim("nbf", nbf.clone()).signed(&own_key(&stage.keys));
        assert_eq!(stage.status(&token).await, if good { 200 } else { 401 }, "{nbf}");
    }
    stage.stop().await;
}

fn at_second(second: i64) -> i64 {
    after(second).as_second()
}

/// The signature's halves are swapped, it is in DER, cut, empty, zero, or of another token → refused.
#[tokio::test]
async fn a_malformed_signature() {
    let (stage, tokens, parts) = begin().await;
    let message = parts.message();
    let signature: Signature = own_key(&stage.keys).sign(message.as_bytes());
    let bytes = signature.to_bytes().to_vec();
    let swapped = [&bytes[32..], &bytes[..32]].concat();
    let theirs = stage.tokens().await.access;
    let theirs = theirs.rsplit_once('.').unwrap().1;
    for signature in [
        encode(&swapped),
        encode(signature.to_der().as_bytes()),
        encode(&bytes[..63]),
        encode([&bytes[..], &[0]].concat()),
        encode([0; 64]),
        encode([[0; 32], [1; 32]].concat()),
        encode([0xff; 64]),
        String::new(),
        theirs.to_owned(),
    ] {
        refused(&stage, &format!("{message}.{signature}"), &signature).await;
    }
    assert_eq!(stage.status(&tokens.access).await, 200);
    stage.stop().await;
}

/// Claims or header are exchanged under a good signature → refused, whichever byte is another.
#[tokio::test]
async fn changed_claims() {
    let (stage, tokens, parts) = begin().await;
    let signature = tokens.access.rsplit_once('.').unwrap().1;
    for (name, value) in [
        ("sub", json!("local:bob")),
        ("scope", json!("workspaces:exec")),
        ("exp", json!(2_000_000_000)),
        ("client_id", json!("other")),
        ("grant", Value::Null),
    ] {
        let token = format!("{}.{signature}", parts.clone().claim(name, value).message());
        refused(&stage, &token, name).await;
    }
    for at in (0..tokens.access.len()).step_by(11) {
        let mut bytes = tokens.access.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        refused(&stage, &String::from_utf8(bytes).unwrap(), &format!("at {at}")).await;
    }
    stage.stop().await;
}

/// A claim is there twice, so that two readers might differ → refused, though the key signed it.
#[tokio::test]
async fn doubled_claims() {
    let (stage, _, parts) = begin().await;
    let (header, claims) = (parts.header.to_string(), parts.claims.to_string());
    for more in [r#""sub":"local:bob""#, r#""aud":"https://evil.test""#, r#""scope":"workspaces:exec""#, r#""exp":1"#] {
        for claims in [format!("{{{more},{}", &claims[1..]), format!("{},{more}}}", &claims[..claims.len() - 1])] {
            let token = sign(&message(&header, &claims), &own_key(&stage.keys));
            refused(&stage, &token, more).await;
        }
    }
    let twice = format!(r#"{{"alg":"none",{}"#, &header[1..]);
    refused(&stage, &sign(&message(&twice, &claims), &own_key(&stage.keys)), "alg").await;
    stage.stop().await;
}

/// The token is cut, has more or fewer parts, padding, line breaks or another alphabet → refused.
#[tokio::test]
async fn malformed_tokens() {
    let (stage, tokens, _) = begin().await;
    let token = &tokens.access;
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    for malformed in [
        header.to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!(".{claims}.{signature}"),
        format!("{header}..{signature}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}==.{signature}"),
        format!("{header}.{claims}.{signature}="),
        token[..token.len() - 1].to_owned(),
        format!("\"{token}\""),
        format!("{token},{token}"),
        format!("{}.{}.{}", encode("null"), encode("null"), signature),
        format!("{}.{}.{}", encode("[]"), encode("[]"), signature),
    ] {
        refused(&stage, &malformed, &malformed).await;
    }
    stage.stop().await;
}

/// White space, a second token or a second header in `Authorization`, or the token in the query or a form → refused.
#[tokio::test]
async fn tokens_in_other_places() {
    let (stage, tokens, _) = begin().await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let url = format!("{}/mcp", stage.origin);
    let bearer = format!("Bearer {}", tokens.access);
    let request = || stage.http.post(&url).json(&body).header("Accept", "application/json, text/event-stream");
    for value in [
        format!("Bearer {0} {0}", tokens.access),
        format!("Bearer\t{}", tokens.access),
        format!("Basic {}", tokens.access),
        format!("Token {}", tokens.access),
        tokens.access.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
    ] {
        assert_eq!(stage.send(request().header("Authorization", &value)).await.status, 401, "{value}");
    }
    let twice = request().header("Authorization", &bearer).header("Authorization", &bearer);
    assert_eq!(stage.send(twice).await.status, 401);
    let query = stage.http.post(format!("{url}?access_token={}", tokens.access)).json(&body);
    assert_eq!(stage.send(query).await.status, 401);
    assert_eq!(stage.send(stage.form(0, "/mcp", &[("access_token", &tokens.access)])).await.status, 401);
    let cookie = request().header("Cookie", format!("access_token={}", tokens.access));
    assert_eq!(stage.send(cookie).await.status, 401);
    stage.stop().await;
}

/// A token of another endpoint with keys of its own → refused.
#[tokio::test]
async fn the_token_of_a_sibling_endpoint() {
    let (stage, _, _) = begin().await;
    let sibling = Stage::with(|setup| setup.seed = 2).await;
    refused(&stage, &sibling.tokens().await.access, "another endpoint").await;
    sibling.stop().await;
    stage.stop().await;
}

/// A token of another endpoint that has, by a mistake, the same keys under the same names → refused by its issuer and
/// audience.
#[tokio::test]
async fn the_token_of_a_sibling_with_the_same_keys() {
    let (stage, _, _) = begin().await;
    let twin = Stage::start().await;
    assert_eq!(twin.keys, stage.keys);
    let theirs = twin.tokens().await;
    assert_eq!(twin.status(&theirs.access).await, 200);
    refused(&stage, &theirs.access, "a twin").await;
    twin.stop().await;
    stage.stop().await;
}

/// The grant that a token names is another user's, another client's, or none → refused, though the key signed it.
#[tokio::test]
async fn a_token_for_another_grant() {
    let (stage, _, parts) = begin().await;
    for (name, value) in [
        ("grant", json!("g-000000000000000000000000")),
        ("grant", json!("../agents/g-1")),
        ("sub", json!("local:bob")),
        ("client_id", json!("other")),
    ] {
        let token = parts.clone().claim(name, value.clone()).signed(&own_key(&stage.keys));
        refused(&stage, &token, &format!("{name} {value}")).await;
    }
    stage.stop().await;
}

/// A client that acts for itself names itself as a user, or with scopes that it may not have → it stays what it is.
#[tokio::test]
async fn a_clients_own_token_stays_narrow() {
    let stage = Stage::start().await;
    let form = [("grant_type", "client_credentials"), ("client_id", "backend"), ("client_secret", SECRET)];
    let token = stage.token(&form).await.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(stage.status(&token).await, 200);
    let parts = Parts::of(&token);
    assert_eq!((&parts.claims["sub"], parts.claims.get("grant")), (&json!("client:backend"), None));
    let gone = parts.clone().claim("client_id", json!("nobody")).signed(&own_key(&stage.keys));
    refused(&stage, &gone, "no such client").await;
    let more = parts.claim("client_id", json!("reader")).claim("scope", json!("workspaces:exec workspaces:read"));
    let me = json!({"name": "whoami", "arguments": {}});
    let me = stage.call_at(0, &more.signed(&own_key(&stage.keys)), "tools/call", me).await;
    assert_eq!(me.json()["result"]["structuredContent"]["scopes"], json!(["workspaces:read"]), "{}", me.text);
    stage.stop().await;
}
