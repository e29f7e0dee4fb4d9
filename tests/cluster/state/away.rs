//! The API server is away: what runs goes on, what is new is told to come again, and all is well once it is back.

use super::stage::{Stage, code, consent, parameter, signed_in, text};
use crate::{
    operator::stage::{eventually, install},
    support::{controlplane::ControlPlane, wire::Wire},
};
use serde_json::json;
use std::time::Duration;

/// Longer than a watch goes without news while all is well.
const STALE: f64 = 12.0;

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_goes_on_and_what_is_new_waits() {
    let plane = ControlPlane::shared().await;
    install(plane);
    let namespace = plane.create_namespace("away").await;
    let wire = Wire::start(plane).await;
    let stage = Stage::start(plane, namespace, wire.url(), &json!({}), &[]).await;
    let servers = stage.servers().await;
    let [one, two] = &servers;
    let age = async || {
        let mut seconds = Vec::new();
        for server in &servers {
            let (_, metrics) = server.private("/metrics").await;
            let line = metrics.lines().find_map(|line| line.strip_prefix("portcullis_state_stale_seconds "));
            seconds.push(line.expect("there is such a metric").parse::<f64>().unwrap());
        }
        seconds
    };
    let mut browser = signed_in(one).await;
    let mut tokens = one.redeem(&code(&mut browser, "claude").await).await;
    for server in &servers {
        assert_eq!(server.call(text(&tokens, "access_token")).await, 200);
    }
    eventually("the view is fresh", async || age().await.into_iter().all(|seconds| seconds < STALE).then_some(()))
        .await;

    wire.cut();
    // Somebody who comes now signs in and allows: none of it needs the API server. Their agent has to come again.
    let mut visitor = signed_in(two).await;
    let page = consent(&mut visitor, "claude").await;
    let new_code = parameter(page.location(), "code");
    let page = browser.get("/agents").await;
    assert!(page.text().contains("claude"), "{}", page.text());
    let revoked = browser.submit("/agents/revoke", &page.form("/agents/revoke").0).await;
    assert_eq!(revoked.status, 503);
    assert!(revoked.text().contains("cannot be changed at the moment"), "{}", revoked.text());
    assert!(revoked.text().contains("Try again in a moment"), "{}", revoked.text());
    for answer in [two.redeem(&new_code).await, two.refresh(text(&tokens, "refresh_token")).await] {
        assert_eq!((answer.0, text(&answer, "error")), (503, "temporarily_unavailable"), "{answer:?}");
    }
    eventually("the metric says so", async || age().await.into_iter().all(|seconds| seconds > STALE).then_some(()))
        .await;
    for server in &servers {
        assert_eq!(server.call(text(&tokens, "access_token")).await, 200);
        assert_eq!(server.private("/readyz").await.0, 200);
        assert_eq!(server.private("/healthz").await.0, 200);
    }

    wire.mend();
    let redeemed = eventually("the same code counts", async || {
        let answer = two.redeem(&new_code).await;
        (answer.0 == 200).then_some(answer)
    })
    .await;
    assert_eq!(one.call(text(&redeemed, "access_token")).await, 200);
    tokens = eventually("the same refresh token counts", async || {
        let answer = two.refresh(text(&tokens, "refresh_token")).await;
        (answer.0 == 200).then_some(answer)
    })
    .await;
    assert_eq!(one.call(text(&tokens, "access_token")).await, 200);
    eventually("the view is fresh again", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        age().await.into_iter().all(|seconds| seconds < 11.0).then_some(())
    })
    .await;

    // What is taken back is refused by that server with the very next request, and by the other a moment later.
    let page = browser.get("/agents").await;
    let form = page.form("/agents/revoke");
    let name = form.value("grant").to_owned();
    browser.submit("/agents/revoke", &form.0).await;
    let page = browser.get("/agents").await;
    assert!(page.text().contains("you revoked its access"), "{}", page.text());
    let revoked =
        if stage.grants().get(&name).await.unwrap().spec.refresh.unwrap().generation > 0 { &tokens } else { &redeemed };
    assert_eq!(one.call(text(revoked, "access_token")).await, 401);
    eventually("the other server refuses it", async || {
        (two.call(text(revoked, "access_token")).await == 401).then_some(())
    })
    .await;
}
