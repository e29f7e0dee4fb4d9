//! `/introspect` and `/revoke` in the hands of others.

use crate::{
    agent::Tokens,
    stage::{RIVAL_SECRET, SECRET, Stage, after},
};
use serde_json::json;

const BACKEND: [(&str, &str); 2] = [("client_id", "backend"), ("client_secret", SECRET)];
const RIVAL: [(&str, &str); 2] = [("client_id", "rival"), ("client_secret", RIVAL_SECRET)];

async fn tokens_of_backend(stage: &Stage) -> Tokens {
    let code = stage.code(&[("client_id", "backend")]).await;
    stage.redeem(&code, &BACKEND).await.tokens()
}

/// Somebody without credentials, or a public client, asks what a found token is good for → refused.
#[tokio::test]
async fn introspection_by_anybody() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let found = ("token", tokens.access.as_str());
    for (form, status) in [
        (&[found][..], 401),
        (&[found, ("client_id", "backend")], 401),
        (&[found, ("client_id", "backend"), ("client_secret", RIVAL_SECRET)], 401),
    ] {
        assert_eq!(stage.post("/introspect", form).await.status, status, "{form:?}");
    }
    let public = stage.post("/introspect", &[found, ("client_id", "agent")]).await;
    assert!(public.status.is_client_error() && !public.text.contains("ada"), "{public:?}");
    let bearer = stage.form(0, "/introspect", &[found]).bearer_auth(&tokens.access);
    assert!(stage.send(bearer).await.status.is_client_error(), "a token is no client's credential");
    stage.stop().await;
}

/// A client asks about the tokens of another → `active: false` and not a word more.
#[tokio::test]
async fn introspection_of_anothers_tokens() {
    let stage = Stage::start().await;
    let theirs = tokens_of_backend(&stage).await;
    for token in [&theirs.access, &theirs.refresh] {
        let own = stage.post("/introspect", &[&BACKEND[..], &[("token", token)]].concat()).await;
        assert_eq!(own.json()["active"], json!(true));
        let rival = stage.post("/introspect", &[&RIVAL[..], &[("token", token)]].concat()).await;
        assert_eq!(rival.json(), json!({"active": false}));
    }
    stage.stop().await;
}

/// Introspection tells good guesses from bad ones → all that is not the client's own live token gets the same answer.
#[tokio::test]
async fn introspection_as_an_oracle() {
    let stage = Stage::start().await;
    let theirs = tokens_of_backend(&stage).await;
    let guess = format!("prt2.{}.0.{1}.{1}", theirs.grant, "A".repeat(43));
    for token in [theirs.access.as_str(), &theirs.access[..40], &guess, "x", "a.b.c"] {
        let answer = stage.post("/introspect", &[&RIVAL[..], &[("token", token)]].concat()).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"active": false})), "{token}");
    }
    stage.clock.set(after(900));
    let own = stage.post("/introspect", &[&BACKEND[..], &[("token", &theirs.access)]].concat()).await;
    assert_eq!(own.json(), json!({"active": false}), "nor why");
    stage.stop().await;
}

/// A client revokes the tokens of another → refused, and they stay good.
#[tokio::test]
async fn revocation_of_anothers_tokens() {
    let stage = Stage::start().await;
    let (ours, theirs) = (stage.tokens().await, tokens_of_backend(&stage).await);
    for token in [&theirs.access, &theirs.refresh] {
        for client in [&RIVAL[..], &[("client_id", "other")]] {
            let answer = stage.post("/revoke", &[client, &[("token", token)]].concat()).await;
            assert_eq!(answer.error(), "invalid_grant", "{client:?}");
        }
    }
    let answer = stage.post("/revoke", &[("client_id", "other"), ("token", &ours.refresh)]).await;
    assert_eq!(answer.error(), "invalid_grant");
    assert_eq!((stage.status(&ours.access).await, stage.status(&theirs.access).await), (200, 200));
    stage.stop().await;
}

/// Somebody who knows a grant's name makes up a token for it and has it revoked → nothing happens.
#[tokio::test]
async fn revocation_by_guessing() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let refresh: Vec<&str> = tokens.refresh.split('.').collect();
    let (grant, mac) = (&tokens.grant, "A".repeat(43));
    for guess in [
        format!("prt2.{grant}.0.{mac}.{mac}"),
        format!("prt2.{grant}.0.{}.{mac}", refresh[3]),
        format!("prt2.{grant}.7.{}.{}", refresh[3], refresh[4]),
        tokens.access[..tokens.access.len() - 2].to_owned(),
        "nonsense".to_owned(),
    ] {
        let answer = stage.post("/revoke", &[("client_id", "agent"), ("token", &guess)]).await;
        assert_eq!(answer.status, 200, "RFC 7009 tells nobody: {guess}");
    }
    assert_eq!(stage.status(&tokens.access).await, 200);
    stage.stop().await;
}

/// A token is used after its client gave the grant back, by whichever of its tokens, at any replica → refused at once.
#[tokio::test]
async fn tokens_after_revocation() {
    let stage = Stage::replicas(2).await;
    for by_refresh in [true, false] {
        let tokens = stage.tokens().await;
        let call =
            async |replica| stage.call_at(replica, &tokens.access, "tools/list", json!({})).await.status.as_u16();
        assert_eq!((call(0).await, call(1).await), (200, 200));
        let token = if by_refresh { &tokens.refresh } else { &tokens.access };
        assert_eq!(stage.post("/revoke", &[("client_id", "agent"), ("token", token)]).await.status, 200);
        assert_eq!((call(0).await, call(1).await), (401, 401));
        assert_eq!(stage.refresh_at(1, &tokens.refresh, &[]).await.error(), "invalid_grant");
    }
    stage.stop().await;
}
