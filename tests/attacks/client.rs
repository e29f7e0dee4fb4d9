//! Clients that are not who they say.

use crate::{
    agent::Answer,
    stage::{NEW_SECRET, OLD_SECRET, RIVAL_SECRET, SECRET, Stage, after},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::time::Duration;
use tokio::time::Instant;

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

async fn with_secret(stage: &Stage, client_id: &str, secret: &str) -> Answer {
    stage.token(&[GRANT, ("client_id", client_id), ("client_secret", secret)]).await
}

async fn basic(stage: &Stage, id: &str, secret: &str, form: &[(&str, &str)]) -> Answer {
    let credentials = STANDARD.encode(format!("{id}:{secret}"));
    stage.secrets.keep(&credentials);
    let request = stage.form(0, "/token", form).header("Authorization", format!("Basic {credentials}"));
    stage.send(request).await
}

/// The secret of another client, of nobody, or one changed a little → refused.
#[tokio::test]
async fn the_secret_of_another_client() {
    let stage = Stage::start().await;
    assert_eq!(with_secret(&stage, "backend", SECRET).await.status, 200);
    let longer = format!("{SECRET}x");
    for secret in [RIVAL_SECRET, &SECRET[..SECRET.len() - 1], &longer, &SECRET.to_uppercase(), " "] {
        let answer = with_secret(&stage, "backend", secret).await;
        assert_eq!((answer.status.as_u16(), answer.error().as_str()), (401, "invalid_client"), "{secret}");
        assert_eq!(basic(&stage, "backend", secret, &[GRANT]).await.status, 401, "{secret}");
    }
    for (id, secret) in [("nobody", SECRET), ("BACKEND", SECRET), ("agent", SECRET), ("", SECRET)] {
        assert_eq!(basic(&stage, id, secret, &[GRANT]).await.status, 401, "{id}");
    }
    stage.stop().await;
}

/// The hash of a secret, from a leaked file, is presented as the secret → refused.
#[tokio::test]
async fn a_hash_as_the_secret() {
    let stage = Stage::start().await;
    let hash = serde_json::to_value(portcullis_config::SecretHash::of("backend", SECRET)).unwrap();
    let hash = hash.as_str().unwrap();
    assert_eq!(with_secret(&stage, "backend", hash).await.error(), "invalid_client");
    assert_eq!(with_secret(&stage, "backend", hash.rsplit(':').next().unwrap()).await.error(), "invalid_client");
    stage.stop().await;
}

/// A secret that was rotated is used after the overlap → refused from the very second; the new one is good all along.
#[tokio::test]
async fn a_rotated_secret() {
    let stage = Stage::start().await;
    for (second, old) in [(0, 200), (3599, 200), (3600, 401)] {
        stage.clock.set(after(second));
        assert_eq!(with_secret(&stage, "rotating", OLD_SECRET).await.status, old, "{second}");
        assert_eq!(with_secret(&stage, "rotating", NEW_SECRET).await.status, 200, "{second}");
    }
    stage.stop().await;
}

/// Credentials come twice, in the header and in the form, good or bad → refused, so that no two readers differ.
#[tokio::test]
async fn two_proofs_at_once() {
    let stage = Stage::start().await;
    let form = [GRANT, ("client_id", "backend"), ("client_secret", SECRET)];
    assert_eq!(basic(&stage, "backend", SECRET, &form).await.error(), "invalid_request");
    assert_eq!(basic(&stage, "rival", RIVAL_SECRET, &form).await.error(), "invalid_request");
    assert_eq!(basic(&stage, "rival", RIVAL_SECRET, &form[..2]).await.error(), "invalid_request");
    let header = format!("Basic {}", STANDARD.encode(format!("backend:{SECRET}")));
    let twice = stage.form(0, "/token", &[GRANT]).header("Authorization", &header).header("Authorization", &header);
    assert_eq!(stage.send(twice).await.error(), "invalid_request");
    let doubled = [&form[..], &[("client_secret", RIVAL_SECRET)]].concat();
    assert_eq!(stage.token(&doubled).await.error(), "invalid_request");
    stage.stop().await;
}

/// A confidential client names itself without any proof → refused.
#[tokio::test]
async fn no_proof() {
    let stage = Stage::start().await;
    for form in
        [&[GRANT, ("client_id", "backend")][..], &[GRANT], &[GRANT, ("client_id", "backend"), ("client_secret", "")]]
    {
        assert_eq!(stage.token(form).await.error(), "invalid_client", "{form:?}");
    }
    assert_eq!(basic(&stage, "backend", "", &[GRANT]).await.error(), "invalid_client");
    stage.stop().await;
}

/// A public client, whom anybody can play, asks for a token without a user, or one with a secret that it does not have →
/// refused.
#[tokio::test]
async fn a_public_client_for_itself() {
    let stage = Stage::start().await;
    assert_eq!(stage.token(&[GRANT, ("client_id", "agent")]).await.error(), "unauthorized_client");
    assert_eq!(with_secret(&stage, "agent", "").await.error(), "unauthorized_client");
    assert_eq!(with_secret(&stage, "agent", SECRET).await.error(), "invalid_client");
    stage.stop().await;
}

/// A grant type that was withdrawn or never existed, such as `password` → refused.
#[tokio::test]
async fn other_grant_types() {
    let stage = Stage::start().await;
    for grant_type in ["password", "implicit", "urn:ietf:params:oauth:grant-type:device_code", "AUTHORIZATION_CODE"] {
        let form = [
            ("grant_type", grant_type),
            ("client_id", "backend"),
            ("client_secret", SECRET),
            ("username", "ada"),
            ("password", crate::stage::PASSWORD),
        ];
        assert_eq!(stage.token(&form).await.error(), "unsupported_grant_type", "{grant_type}");
    }
    stage.stop().await;
}

/// Malformed Basic credentials, with bytes that are no text, without a colon, or huge → refused, and nothing breaks.
#[tokio::test]
async fn malformed_credentials() {
    let stage = Stage::start().await;
    let long = format!("Basic {}", STANDARD.encode("x".repeat(30_000)));
    let binary = format!("Basic {}", STANDARD.encode([0xff, 0xfe, b':', 0]));
    for header in ["Basic", "Basic ", "Basic %%%", "Basic YQ==", "Bearer abc", "Digest x", &binary, &long] {
        let answer = stage.send(stage.form(0, "/token", &[GRANT]).header("Authorization", header)).await;
        assert!(matches!(answer.status.as_u16(), 400 | 401), "{header}: {answer:?}");
        assert!(matches!(&*answer.error(), "invalid_client" | "invalid_request"), "{header}");
    }
    stage.stop().await;
}

/// Who exists is found out by the answers → an unknown client and a wrong secret get the same answer, byte by byte.
#[tokio::test]
async fn clients_by_their_answers() {
    let stage = Stage::start().await;
    let known = with_secret(&stage, "backend", "not the secret of the client").await;
    let unknown = with_secret(&stage, "nobody-at-all", "not the secret of the client").await;
    assert_eq!((known.status, known.text), (unknown.status, unknown.text));
    let names = |answer: &Answer| answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    let unknown = with_secret(&stage, "nobody", "another").await;
    assert_eq!(names(&with_secret(&stage, "backend", "another").await), names(&unknown));
    stage.stop().await;
}

/// Who exists, or how much of a secret is right, is found out by time → both take the same work: the medians of many
/// samples of one run lie close together.
#[tokio::test]
async fn clients_by_time() {
    const ROUNDS: usize = 150;
    let stage = Stage::start().await;
    let half = format!("{}{}", &SECRET[..SECRET.len() / 2], "x".repeat(SECRET.len() - SECRET.len() / 2));
    let none = "x".repeat(SECRET.len());
    let kinds = [("backend", none.as_str()), ("nobodyy", none.as_str()), ("backend", half.as_str())];
    let mut times: [Vec<Duration>; 3] = Default::default();
    // By turns, so that whatever else the machine does falls on all alike.
    for _ in 0..ROUNDS {
        for ((id, secret), times) in kinds.iter().zip(&mut times) {
            let begin = Instant::now();
            assert_eq!(with_secret(&stage, id, secret).await.status, 401);
            times.push(begin.elapsed());
        }
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2].as_secs_f64()
    });
    let [wrong, unknown, half] = medians;
    for (what, other) in [("an unknown client", unknown), ("half of the secret", half)] {
        let ratio = other / wrong;
        assert!((0.5..2.0).contains(&ratio), "{what} takes {ratio} times as long as a wrong secret: {medians:?}");
    }
    stage.stop().await;
}
