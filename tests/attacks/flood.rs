//! Requests that cost the server more than their sender.

use crate::{
    agent::Answer,
    stage::{RIVAL_SECRET, SECRET, Stage},
};
use serde_json::json;

async fn call(stage: &Stage, from: u8, token: &str) -> u16 {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}});
    let request = stage.http.post(format!("{}/mcp", stage.origin)).bearer_auth(token).json(&body);
    let request = request.header("Accept", "application/json, text/event-stream");
    stage.send(request.header("X-Forwarded-For", format!("198.51.100.{from}"))).await.status.as_u16()
}

async fn token(stage: &Stage, from: u8, client: (&str, &str)) -> String {
    let form = [("grant_type", "client_credentials"), ("client_id", client.0), ("client_secret", client.1)];
    let request = stage.form(0, "/token", &form).header("X-Forwarded-For", format!("198.51.100.{from}"));
    let answer: Answer = stage.send(request).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// Tokens with wrong signatures come from one address without end, each of which costs a verification → once the address has
/// used up its rate, tokens are refused unread; who has a verified token goes on, and so do other addresses.
#[tokio::test]
async fn wrong_signatures_without_end() {
    const FLOOD: u8 = 200;
    let stage = Stage::with(|setup| {
        setup.config.limits.requests_per_second = 1;
        setup.config.limits.burst = 5;
        setup.config.access.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let verified = token(&stage, 100, ("rival", RIVAL_SECRET)).await;
    assert_eq!(call(&stage, FLOOD, &verified).await, 200);
    let (message, _) = verified.rsplit_once('.').unwrap();
    let wrong = format!("{message}.{}", "A".repeat(86));

    // Time passes meanwhile, and gives the address a token each second: so more than one attempt.
    let mut refused = None;
    for from in 1..=12 {
        let unseen = token(&stage, from, ("backend", SECRET)).await;
        let mut tries = 0;
        while call(&stage, FLOOD, &wrong).await != 429 {
            tries += 1;
            assert!(tries < 100, "the rate of the address never ends");
        }
        if call(&stage, FLOOD, &unseen).await == 429 {
            refused = Some((from, unseen));
            break;
        }
    }
    let (from, unseen) = refused.expect("a good token that was not verified before is refused unread");
    assert_eq!(call(&stage, FLOOD, &verified).await, 200, "a verified token goes on");
    assert_eq!(call(&stage, from, &unseen).await, 200, "from another address");
    stage.stop().await;
}
