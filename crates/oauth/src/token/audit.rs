//! The audit events of a complete scenario, which must not contain a credential.

use crate::testing::{ALLOWED, MACHINE, SECRET, Stage, VERIFIER};
use portcullis_testing::log::Log;

#[tokio::test]
async fn the_audit_tells_what_happened_and_no_credential() {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.subscriber());

    // Other tests run at the same time without a subscriber, and the first one to reach a callsite decides whether it
    // is enabled. So the scenario runs once, the decisions are reset, and the scenario runs again for the record.
    scenario().await;
    tracing::callsite::rebuild_interest_cache();
    log.clear();
    let credentials = scenario().await;
    drop(guard);

    let text = log.text();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> =
        lines.iter().filter(|line| line["target"] == "audit").map(|line| line["event"].as_str().unwrap()).collect();
    let expected = [
        "code.refused",
        "grant.created",
        "token.issued",
        "grant.refreshed",
        "token.issued",
        "grant.refreshed",
        "token.issued",
        "grant.refreshed",
        "token.issued",
        "refresh_token.replayed",
        "grant.revoked",
        "code.replayed",
        "grant.revoked",
        "grant.created",
        "token.issued",
        "grant.revoked",
        "token.issued",
        "client.refused",
        "client.refused",
    ];
    assert_eq!(events, expected, "{text}");
    let created = lines.iter().find(|line| line["event"] == "grant.created").unwrap();
    assert_eq!((&created["client_id"], &created["user"]), (&"app".into(), &"local:ada".into()));
    assert!(created["grant"].as_str().unwrap().starts_with("g-"));

    for credential in credentials {
        assert!(!text.contains(&credential), "{credential}");
    }
}

/// Redeems, renews, steals, revokes and guesses codes and tokens. Returns every credential of the scenario.
async fn scenario() -> Vec<String> {
    let stage = Stage::new();
    let code = stage.code("app", &ALLOWED).await;
    let stolen = stage.token(&[("grant_type", "authorization_code"), ("client_id", "brief"), ("code", &code)]).await;
    stolen.unwrap_err();
    let first = stage.redeem(&code).await.unwrap();
    let second = stage.renew(first.refresh()).await.unwrap();
    stage.renew(first.refresh()).await.unwrap();
    let last = stage.renew(second.refresh()).await.unwrap();
    stage.renew(first.refresh()).await.unwrap_err();
    stage.redeem(&code).await.unwrap_err();
    let third = stage.signed_in().await;
    stage.revoke(&[("client_id", "app"), ("token", third.refresh())]).await.unwrap();
    let machine = stage.token_as(Some("agent:s%2Bc%25r+t"), &[MACHINE]).await.unwrap();
    for basic in ["agent:wrong-secret", "misplaced-secret:x"] {
        stage.token_as(Some(basic), &[MACHINE]).await.unwrap_err();
    }
    vec![
        code,
        SECRET.to_owned(),
        "wrong-secret".to_owned(),
        "misplaced-secret".to_owned(),
        VERIFIER.to_owned(),
        first.access.clone(),
        first.refresh().to_owned(),
        second.refresh().to_owned(),
        last.refresh().to_owned(),
        third.refresh().to_owned(),
        machine.access,
    ]
}
