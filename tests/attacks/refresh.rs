//! Refresh tokens that were copied, guessed, raced, stretched or outlived.

use crate::{
    agent::{Tokens, claims},
    stage::{RIVAL_SECRET, SECRET, Stage, after, start_of_time},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_core::grant::{RefreshState, RevocationReason};
use portcullis_oauth::grant::{Grant, Grants as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};

async fn why_revoked(stage: &Stage, tokens: &Tokens) -> Option<RevocationReason> {
    stage.state.read(&tokens.grant).await.unwrap().unwrap().revoked
}

/// A refresh token that was rotated away is used again after the grace of two minutes → the grant and all its tokens
/// end.
#[tokio::test]
async fn an_old_token_after_its_grace() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let next = stage.refresh(&tokens.refresh, &[]).await.tokens();
    stage.clock.set(after(120));
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(why_revoked(&stage, &tokens).await, Some(RevocationReason::RefreshTokenReplayed));
    assert_eq!(stage.refresh(&next.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!((stage.status(&tokens.access).await, stage.status(&next.access).await), (401, 401));
    assert!(stage.audit("refresh_token.replayed").iter().any(|event| event["grant"] == tokens.grant));
    stage.stop().await;
}

/// A thief uses a stolen refresh token first → when the owner comes with it, the thief's access ends too.
#[tokio::test]
async fn a_thief_who_comes_first() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let thief = stage.refresh(&tokens.refresh, &[]).await.tokens();
    let thief = stage.refresh(&thief.refresh, &[]).await.tokens();
    assert_eq!(stage.status(&thief.access).await, 200);
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(stage.status(&thief.access).await, 401);
    assert_eq!(stage.refresh(&thief.refresh, &[]).await.error(), "invalid_grant");
    stage.stop().await;
}

/// A thief uses a stolen refresh token after the owner has gone on → the thief gets nothing, and the grant ends.
#[tokio::test]
async fn a_thief_who_comes_second() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let owner = stage.refresh(&tokens.refresh, &[]).await.tokens();
    let owner = stage.refresh(&owner.refresh, &[]).await.tokens();
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(why_revoked(&stage, &tokens).await, Some(RevocationReason::RefreshTokenReplayed));
    assert_eq!(stage.status(&owner.access).await, 401, "whoever of the two is the thief");
    stage.stop().await;
}

/// Within the grace a token is used again, to have two lines of tokens at once → both get the very same next token.
#[tokio::test]
async fn a_second_line_within_the_grace() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let first = stage.refresh(&tokens.refresh, &[]).await.tokens();
    stage.clock.set(after(119));
    let second = stage.refresh(&tokens.refresh, &[]).await.tokens();
    assert_eq!(first.refresh, second.refresh);
    let last = stage.refresh(&first.refresh, &[]).await.tokens();
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant", "two steps back is no lost answer");
    assert_eq!(stage.refresh(&last.refresh, &[]).await.error(), "invalid_grant");
    stage.stop().await;
}

/// The same token is rotated at the same instant at two replicas, fifty times → both answer with the same next token,
/// and one step was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_rotations() {
    let stage = Stage::replicas(2).await;
    let mut tokens = stage.tokens().await;
    for attempt in 1..=50 {
        let (one, two) =
            tokio::join!(stage.refresh_at(0, &tokens.refresh, &[]), stage.refresh_at(1, &tokens.refresh, &[]));
        let (one, two) = (one.tokens(), two.tokens());
        assert_eq!(one.refresh, two.refresh, "{attempt}");
        let generation = stage.state.read(&one.grant).await.unwrap().unwrap().refresh.clone().unwrap().generation;
        assert_eq!(generation, attempt);
        tokens = one;
    }
    assert_eq!(stage.status(&tokens.access).await, 200);
    stage.stop().await;
}

/// Somebody who knows a grant's name makes up refresh tokens for it → refused, and the grant stays: nobody can end it by
/// guessing.
#[tokio::test]
async fn guesses_with_the_name_of_a_grant() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let next = stage.refresh(&tokens.refresh, &[]).await.tokens();
    let parts: Vec<&str> = next.refresh.split('.').collect();
    let (secret, mac) = ("A".repeat(43), "A".repeat(43));
    let grant = &tokens.grant;
    for guess in [
        format!("prt2.{grant}.0.{secret}.{mac}"),
        format!("prt2.{grant}.1.{secret}.{mac}"),
        format!("prt2.{grant}.0.{}.{}", parts[3], parts[4]),
        format!("prt2.{grant}.2.{}.{}", parts[3], parts[4]),
        format!("prt2.{grant}.1.{}.{mac}", parts[3]),
        format!("prt2.{grant}.1.{secret}.{}", parts[4]),
        format!("prt2.{grant}.-1.{}.{}", parts[3], parts[4]),
        format!("prt2.{grant}.01.{}.{}", parts[3], parts[4]),
        format!("prt2.{grant}.9223372036854775807.{secret}.{mac}"),
        format!("prt2.g-000000000000000000000000.1.{}.{}", parts[3], parts[4]),
        format!("prt2.{grant}"),
    ] {
        assert_eq!(stage.refresh(&guess, &[]).await.error(), "invalid_grant", "{guess}");
    }
    assert_eq!(why_revoked(&stage, &tokens).await, None);
    assert_eq!(stage.refresh(&next.refresh, &[]).await.status, 200);
    stage.stop().await;
}

/// Another client presents the refresh token → refused, and the grant of the owner stays.
#[tokio::test]
async fn the_token_of_another_client() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    for more in [&[("client_id", "other")][..], &[("client_id", "rival"), ("client_secret", RIVAL_SECRET)]] {
        assert_eq!(stage.refresh(&tokens.refresh, more).await.error(), "invalid_grant", "{more:?}");
    }
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.status, 200);
    stage.stop().await;
}

/// A confidential client's refresh token is used without its secret → refused, and the grant stays.
#[tokio::test]
async fn a_token_without_the_clients_secret() {
    let stage = Stage::start().await;
    let code = stage.code(&[("client_id", "backend")]).await;
    let own = [("client_id", "backend"), ("client_secret", SECRET)];
    let tokens = stage.redeem(&code, &own).await.tokens();
    assert_eq!(stage.refresh(&tokens.refresh, &own[..1]).await.error(), "invalid_client");
    let wrong = [own[0], ("client_secret", RIVAL_SECRET)];
    assert_eq!(stage.refresh(&tokens.refresh, &wrong).await.error(), "invalid_client");
    assert_eq!(stage.refresh(&tokens.refresh, &own).await.status, 200);
    stage.stop().await;
}

/// More is asked for on renewal than the user allowed → never given: refused, or left out of the answer.
#[tokio::test]
async fn more_scopes_on_renewal() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let beyond = stage.refresh(&tokens.refresh, &[("scope", "workspaces:exec")]).await;
    assert_eq!(beyond.error(), "invalid_scope");
    let more = stage.refresh(&tokens.refresh, &[("scope", "files:read workspaces:exec")]).await;
    assert_eq!(
        (&more.json()["scope"], &claims(&more.tokens().access)["scope"]),
        (&json!("files:read"), &json!("files:read"))
    );
    let all = stage.refresh(&more.tokens().refresh, &[]).await;
    assert_eq!(all.json()["scope"], "workspaces:read files:read", "what the user allowed, and no more");
    stage.stop().await;
}

/// A refresh token is used after the user took the grant back → refused.
#[tokio::test]
async fn a_token_after_revocation() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    stage.state.revoke(&tokens.grant, RevocationReason::ByUser, start_of_time()).await.unwrap();
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(stage.status(&tokens.access).await, 401);
    stage.stop().await;
}

/// A refresh token that was forgotten for a week is found and used → refused: it was idle for too long.
#[tokio::test]
async fn a_token_that_was_idle() {
    let stage = Stage::start().await;
    let (found, used) = (stage.tokens().await, stage.tokens().await);
    let week = 7 * 24 * 3600;
    stage.clock.set(after(week - 1));
    assert_eq!(stage.refresh(&used.refresh, &[]).await.status, 200);
    stage.clock.set(after(week));
    assert_eq!(stage.refresh(&found.refresh, &[]).await.error(), "invalid_grant");
    stage.stop().await;
}

/// A grant is kept alive by renewing it for ever → it ends after its thirty days all the same.
#[tokio::test]
async fn a_grant_that_is_renewed_for_ever() {
    let stage = Stage::start().await;
    let mut tokens = stage.tokens().await;
    let day = 24 * 3600;
    for days in [6, 12, 18, 24, 29] {
        stage.clock.set(after(days * day));
        tokens = stage.refresh(&tokens.refresh, &[]).await.tokens();
    }
    stage.clock.set(after(30 * day));
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(stage.status(&tokens.access).await, 401);
    stage.stop().await;
}

/// A refresh token is presented at the MCP endpoint, and an access token for renewal → each counts for its own use only.
#[tokio::test]
async fn one_kind_of_token_as_the_other() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    assert_eq!(stage.status(&tokens.refresh).await, 401);
    assert_eq!(stage.refresh(&tokens.access, &[]).await.error(), "invalid_grant");
    let call = stage.call_at(0, &tokens.access, "tools/list", json!({})).await;
    assert_eq!(call.status, 200);
    stage.stop().await;
}

/// Somebody writes an `OAuthGrant` by hand, with the hash of a refresh token of their own making → the token is refused for
/// renewal, ends nothing at the revocation endpoint and is inactive at introspection: its MAC is not ours.
#[tokio::test]
async fn a_grant_written_by_hand_with_a_chosen_hash() {
    let stage = Stage::start().await;
    let own = [("client_id", "backend"), ("client_secret", SECRET)];
    let honest = stage.redeem(&stage.code(&[("client_id", "backend")]).await, &own).await.tokens();
    let (name, part) = ("g-0123456789abcdef01234567", URL_SAFE_NO_PAD.encode([7; 32]));
    let token = format!("prt2.{name}.0.{part}.{part}");
    let hash = Sha256::digest(format!("portcullis refresh token\0{token}"));
    let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let model = stage.state.read(&honest.grant).await.unwrap().unwrap();
    let state = RefreshState { generation: 0, hash: format!("sha256:{hash}"), rotated_at: start_of_time() };
    let forged = Grant { name: name.to_owned(), refresh: Some(state), ..Grant::clone(&model) };
    stage.state.create(forged).await.unwrap();

    assert_eq!(stage.refresh(&token, &own).await.error(), "invalid_grant");
    let form = [own[0], own[1], ("token", token.as_str())];
    assert_eq!(stage.post("/introspect", &form).await.json(), json!({"active": false}));
    assert_eq!(stage.post("/revoke", &form).await.status, 200);
    assert!(stage.counts(name), "a token that was not made here revokes nothing");
    assert_eq!(stage.refresh(&honest.refresh, &own).await.status, 200);
    stage.stop().await;
}

/// Somebody writes an `OAuthGrant` of the name of their own grant and with the hash of their own refresh token, but for
/// another user → the genuine token is refused: it is bound to its client and user.
#[tokio::test]
async fn a_grant_written_by_hand_for_another_user() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    // Another store of the same endpoint: there the grant is what its author likes.
    let other = Stage::with(|setup| setup.config.url = stage.config.url.clone()).await;
    let own = stage.state.read(&tokens.grant).await.unwrap().unwrap();
    let mut forged = Grant::clone(&own);
    forged.user.id = "local:bob".to_owned();
    other.state.create(forged).await.unwrap();
    assert_eq!(other.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert!(other.counts(&tokens.grant));
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.status, 200);
    other.stop().await;
    stage.stop().await;
}

/// A refresh token of another endpoint is presented → refused: its MAC is of another key.
#[tokio::test]
async fn the_token_of_a_sibling_endpoint() {
    let stage = Stage::start().await;
    let sibling = Stage::with(|setup| setup.seed = 2).await;
    let theirs = sibling.tokens().await;
    assert_eq!(stage.refresh(&theirs.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(sibling.refresh(&theirs.refresh, &[]).await.status, 200);
    sibling.stop().await;
    stage.stop().await;
}
