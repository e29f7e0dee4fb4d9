//! Authorization codes in the wrong hands, or twice.

use crate::{
    agent::{VERIFIER, authorize, challenge, parameter},
    stage::{CALLBACK, RIVAL_SECRET, SECRET, Stage, after, start_of_time},
};
use portcullis_core::grant::RevocationReason;
use portcullis_oauth::grant::Grants as _;

/// A code is redeemed a second time → the second gets nothing, and the tokens of the first end.
#[tokio::test]
async fn a_code_twice() {
    let stage = Stage::start().await;
    let code = stage.code(&[]).await;
    let tokens = stage.redeem(&code, &[]).await.tokens();
    assert_eq!(stage.status(&tokens.access).await, 200);
    let again = stage.redeem(&code, &[]).await;
    assert_eq!((again.status.as_u16(), again.error().as_str()), (400, "invalid_grant"));
    assert_eq!(stage.status(&tokens.access).await, 401);
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    let grant = stage.state.read(&tokens.grant).await.unwrap().unwrap();
    assert_eq!(grant.revoked, Some(RevocationReason::CodeReplayed));
    assert!(stage.audit("code.replayed").iter().any(|event| event["grant"] == tokens.grant));
    stage.stop().await;
}

/// A code is redeemed at the same instant at two replicas, fifty times → exactly one wins each time, and its grant dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_at_two_replicas_at_once() {
    let stage = Stage::replicas(2).await;
    let mut browser = stage.signed_in("ada").await;
    for attempt in 0..50 {
        let code = parameter(&stage.consent(&mut browser, &[]).await, "code").unwrap();
        let (one, two) = tokio::join!(stage.redeem_at(0, &code, &[]), stage.redeem_at(1, &code, &[]));
        let mut both = [one, two];
        both.sort_by_key(|answer| answer.status);
        let [won, lost] = both;
        assert_eq!(lost.error(), "invalid_grant", "{attempt}: {won:?}");
        let tokens = won.tokens();
        for replica in [0, 1] {
            let call = stage.call_at(replica, &tokens.access, "tools/list", serde_json::json!({})).await;
            assert_eq!(call.status, 401, "{attempt}, replica {replica}");
            let renewed = stage.refresh_at(replica, &tokens.refresh, &[]).await;
            assert_eq!(renewed.error(), "invalid_grant", "{attempt}, replica {replica}");
        }
    }
    stage.stop().await;
}

/// Another public client presents a code that it intercepted → refused, and the code stays good for its own client.
#[tokio::test]
async fn a_code_of_another_client() {
    let stage = Stage::start().await;
    let code = stage.code(&[]).await;
    assert_eq!(stage.redeem(&code, &[("client_id", "other")]).await.error(), "invalid_grant");
    assert_eq!(stage.redeem(&code, &[]).await.status, 200);
    assert!(stage.audit("code.refused").iter().any(|event| event["client_id"] == "other"));
    stage.stop().await;
}

/// A code of a confidential client is presented without its secret, or with another client's → refused; the code stays
/// good.
#[tokio::test]
async fn a_code_without_the_clients_secret() {
    let stage = Stage::start().await;
    let code = stage.code(&[("client_id", "backend")]).await;
    for (more, error) in [
        (&[("client_id", "backend")][..], "invalid_client"),
        (&[("client_id", "backend"), ("client_secret", RIVAL_SECRET)], "invalid_client"),
        (&[("client_id", "rival"), ("client_secret", RIVAL_SECRET)], "invalid_grant"),
        (&[("client_id", "agent")], "invalid_grant"),
    ] {
        assert_eq!(stage.redeem(&code, more).await.error(), error, "{more:?}");
    }
    assert_eq!(stage.redeem(&code, &[("client_id", "backend"), ("client_secret", SECRET)]).await.status, 200);
    stage.stop().await;
}

/// A code is redeemed with another redirect URI than it was sent to → refused, and the code stays good.
#[tokio::test]
async fn a_code_for_another_redirect_uri() {
    let stage = Stage::start().await;
    let code = stage.code(&[]).await;
    for uri in
        ["https://evil.test/callback", "https://agent.example.com/callback/", "https://AGENT.example.com/callback"]
    {
        assert_eq!(stage.redeem(&code, &[("redirect_uri", uri)]).await.error(), "invalid_grant", "{uri}");
    }
    assert_eq!(stage.redeem(&code, &[]).await.status, 200);
    stage.stop().await;
}

/// A code is redeemed a minute after it was made → it has expired, to the second.
#[tokio::test]
async fn a_code_too_late() {
    let stage = Stage::start().await;
    let (late, just) = (stage.code(&[]).await, stage.code(&[]).await);
    stage.clock.set(after(59));
    assert_eq!(stage.redeem(&just, &[]).await.status, 200);
    stage.clock.set(after(60));
    assert_eq!(stage.redeem(&late, &[]).await.error(), "invalid_grant");
    stage.stop().await;
}

/// A code is asked for without PKCE → the request is sent back with an error, and nobody is asked to consent.
#[tokio::test]
async fn no_challenge() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let page = browser.get(&authorize(&[("code_challenge", ""), ("code_challenge_method", "")])).await;
    assert_eq!(parameter(page.location(), "error").unwrap(), "invalid_request");
    assert_eq!(parameter(page.location(), "code"), None);
    stage.stop().await;
}

/// PKCE is weakened to `plain`, named or by leaving the method out → refused.
#[tokio::test]
async fn a_plain_challenge() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    for method in ["plain", "", "s256", "S512"] {
        let request = authorize(&[("code_challenge", VERIFIER), ("code_challenge_method", method)]);
        let page = browser.get(&request).await;
        assert_eq!(parameter(page.location(), "error").unwrap(), "invalid_request", "{method}");
    }
    let page = browser.get(&authorize(&[("code_challenge", VERIFIER)])).await;
    assert_eq!(
        parameter(page.location(), "error").unwrap(),
        "invalid_request",
        "a plain verifier as an S256 challenge"
    );
    stage.stop().await;
}

/// A stolen code is redeemed without the verifier, or with the challenge in its place → refused, and the code stays good.
#[tokio::test]
async fn a_code_without_its_verifier() {
    let stage = Stage::start().await;
    let code = stage.code(&[]).await;
    assert_eq!(stage.redeem(&code, &[("code_verifier", "")]).await.error(), "invalid_request");
    for verifier in [challenge(VERIFIER), VERIFIER.to_uppercase(), format!("{VERIFIER}x")] {
        assert_eq!(stage.redeem(&code, &[("code_verifier", &verifier)]).await.error(), "invalid_grant", "{verifier}");
    }
    assert_eq!(stage.redeem(&code, &[]).await.status, 200);
    stage.stop().await;
}

/// A client uses a verifier that is too short to be secret, or has other characters → refused though it matches.
#[tokio::test]
async fn a_guessable_verifier() {
    let stage = Stage::start().await;
    let long = "x".repeat(129);
    for verifier in [
        "short",
        "forty-two-characters-are-one-too-few-here!",
        "has a space has a space has a space has a space",
        &long,
    ] {
        let code = stage.code(&[("code_challenge", &challenge(verifier))]).await;
        assert_eq!(stage.redeem(&code, &[("code_verifier", verifier)]).await.error(), "invalid_grant", "{verifier}");
    }
    stage.stop().await;
}

/// A code is presented again after its grant was taken back or collected → refused, and no new grant comes of it.
#[tokio::test]
async fn a_code_after_its_grant_is_gone() {
    let stage = Stage::start().await;
    let code = stage.code(&[]).await;
    let tokens = stage.redeem(&code, &[]).await.tokens();
    stage.state.revoke(&tokens.grant, RevocationReason::ByUser, start_of_time()).await.unwrap();
    assert_eq!(stage.redeem(&code, &[]).await.error(), "invalid_grant");
    assert!(!stage.counts(&tokens.grant));
    let grant = stage.state.read(&tokens.grant).await.unwrap().unwrap();
    assert_eq!(grant.revoked, Some(RevocationReason::ByUser), "the first reason stays");
    stage.stop().await;
}

/// A code of another endpoint of the same operator is presented → refused: each seals with keys of its own.
#[tokio::test]
async fn a_code_of_a_sibling_endpoint() {
    let stage = Stage::start().await;
    let sibling = Stage::with(|setup| setup.seed = 2).await;
    let code = sibling.code(&[]).await;
    assert_eq!(stage.redeem(&code, &[]).await.error(), "invalid_grant");
    assert_eq!(sibling.redeem(&code, &[]).await.status, 200);
    sibling.stop().await;
    // Even if the keys were the same: the code names its resource.
    let twin = Stage::start().await;
    let code = twin.code(&[]).await;
    assert_eq!(stage.redeem(&code, &[]).await.error(), "invalid_target");
    twin.stop().await;
    stage.stop().await;
}

/// A code is changed by one character anywhere, cut short or made up → refused.
#[tokio::test]
async fn a_code_that_was_tampered_with() {
    let stage = Stage::start().await;
    let code = stage.code(&[]).await;
    for at in (0..code.len()).step_by(7) {
        let mut bytes = code.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_eq!(stage.redeem(&changed, &[]).await.error(), "invalid_grant", "at {at}");
    }
    for code in [&code[..code.len() - 4], "x", "AAAA", &"A".repeat(200)] {
        assert_eq!(stage.redeem(code, &[]).await.error(), "invalid_grant");
    }
    assert_eq!(stage.redeem(&code, &[]).await.status, 200);
    stage.stop().await;
}

/// Something else that the server sealed, such as a session or a form's ticket, is presented as a code → refused.
#[tokio::test]
async fn another_sealed_text_as_a_code() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let form = browser.get(&authorize(&[])).await.form("/consent");
    let session = browser.cookie.clone().unwrap().split_once('=').unwrap().1.to_owned();
    for sealed in [&session, form.value("request"), form.value("form")] {
        assert_eq!(stage.redeem(sealed, &[]).await.error(), "invalid_grant");
    }
    let code = stage.code(&[]).await;
    assert_eq!(stage.refresh(&code, &[]).await.error(), "invalid_grant", "nor is a code a refresh token");
    assert_eq!(stage.status(&code).await, 401, "nor an access token");
    stage.stop().await;
}

/// A code is redeemed for another resource → refused (RFC 8707), and the code stays good.
#[tokio::test]
async fn a_code_for_another_resource() {
    let stage = Stage::start().await;
    let code = stage.code(&[]).await;
    let elsewhere = stage.redeem(&code, &[("resource", "https://elsewhere.example.com/mcp")]).await;
    assert_eq!(elsewhere.error(), "invalid_target");
    assert_eq!(stage.redeem(&code, &[("redirect_uri", CALLBACK)]).await.status, 200);
    stage.stop().await;
}
