//! Assertions by which clients prove themselves (`private_key_jwt`), copied on their way.

use crate::{
    agent::Answer,
    forge::{Parts, jwk, other_key},
    stage::{Stage, confidential, start_of_time},
};
use futures::future::join_all;
use serde_json::{Value, json};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Two servers with the client `signer`, whose key is the test's own.
async fn staged() -> Stage {
    Stage::with(|setup| {
        setup.replicas = 2;
        let mut signer = confidential("signer", &[]);
        let keys = json!({"jwks": {"keys": [jwk(&other_key(), &json!("1"))]}});
        signer.private_key_jwt = Some(serde_json::from_value(keys).unwrap());
        setup.clients.push(signer);
    })
    .await
}

fn assertion(stage: &Stage, jti: &str, change: impl FnOnce(&mut Value)) -> String {
    let now = start_of_time().as_second();
    let mut claims =
        json!({"iss": "signer", "sub": "signer", "aud": stage.origin, "iat": now, "exp": now + 300, "jti": jti});
    change(&mut claims);
    Parts { header: json!({"alg": "ES256", "kid": "1"}), claims }.signed(&other_key())
}

async fn present(stage: &Stage, replica: usize, assertion: &str) -> Answer {
    let form = [("grant_type", "client_credentials"), ("client_assertion_type", TYPE), ("client_assertion", assertion)];
    stage.send(stage.form(replica, "/token", &form)).await
}

/// An assertion that was used is presented again, at the same server and at another → refused at both, and so is another
/// assertion with the same `jti`.
#[tokio::test]
async fn a_copied_assertion() {
    let stage = staged().await;
    let once = assertion(&stage, "once", |_| {});
    assert_eq!(present(&stage, 0, &once).await.status, 200);
    let again = assertion(&stage, "once", |claims| claims["exp"] = json!(start_of_time().as_second() + 200));
    for copy in [&once, &again] {
        for replica in [1, 0, 1] {
            let answer = present(&stage, replica, copy).await;
            assert_eq!((answer.status.as_u16(), answer.error().as_str()), (401, "invalid_client"), "{replica}");
            assert!(answer.text.contains("used before"), "{}", answer.text);
        }
    }
    assert_eq!(present(&stage, 1, &assertion(&stage, "another", |_| {})).await.status, 200);
    stage.stop().await;
}

/// A copy races the assertion itself, at two replicas, thirty times → exactly one of the two is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_at_the_same_instant() {
    let stage = staged().await;
    for attempt in 0..30 {
        let text = assertion(&stage, &attempt.to_string(), |_| {});
        let both = join_all([0, 1].map(|replica| present(&stage, replica, &text))).await;
        assert_eq!(both.iter().filter(|answer| answer.status == 200).count(), 1, "{attempt}: {both:?}");
    }
    stage.stop().await;
}

/// What a row does to the claims.
type Change<'a> = &'a dyn Fn(&mut Value);

/// An assertion without a `jti`, or one that counts for longer than five minutes, so that a copy is good for long → refused.
#[tokio::test]
async fn an_assertion_that_lasts() {
    let stage = staged().await;
    let now = start_of_time().as_second();
    let rows: [(&str, Change<'_>); 5] = [
        ("no jti", &|claims| claims["jti"] = Value::Null),
        ("an empty jti", &|claims| claims["jti"] = json!("")),
        ("five minutes and a second", &|claims| claims["exp"] = json!(now + 301)),
        ("a year", &|claims| claims["exp"] = json!(now + 365 * 86_400)),
        ("no end", &|claims| claims["exp"] = Value::Null),
    ];
    for (index, (what, change)) in rows.into_iter().enumerate() {
        let answer = present(&stage, 0, &assertion(&stage, &index.to_string(), change)).await;
        assert_eq!(answer.error(), "invalid_client", "{what}");
    }
    stage.stop().await;
}
