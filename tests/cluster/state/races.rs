//! What comes to two servers at the same instant: the API server decides, and both servers keep to it.

use super::stage::{Stage, code, signed_in, text};
use crate::{
    operator::stage::{eventually, install},
    support::controlplane::ControlPlane,
};
use kube::api::ListParams;
use portcullis_core::grant::RevocationReason;
use serde_json::json;

const TRIES: usize = 20;

async fn started() -> Stage<'static> {
    let plane = ControlPlane::shared().await;
    install(plane);
    let namespace = plane.create_namespace("races").await;
    Stage::start(plane, namespace, plane.url(), &json!({}), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_at_two_servers_at_once_is_redeemed_once_and_what_came_of_it_ends() {
    let stage = started().await;
    let [one, two] = stage.servers().await;
    let mut browser = signed_in(&one).await;
    for attempt in 0..TRIES {
        let code = code(&mut browser, "claude").await;
        let (first, second) = tokio::join!(one.redeem(&code), two.redeem(&code));
        let (won, lost) = if first.0 == 200 { (first, second) } else { (second, first) };
        assert_eq!((won.0, lost.0), (200, 400), "{attempt}: {won:?} {lost:?}");
        assert_eq!(text(&lost, "error"), "invalid_grant");
        assert!(lost.1.get("access_token").is_none());

        // Somebody else may have had the code.
        for server in [&one, &two] {
            eventually("the tokens of a code that came twice count nowhere", async || {
                (server.call(text(&won, "access_token")).await == 401).then_some(())
            })
            .await;
            let refreshed = server.refresh(text(&won, "refresh_token")).await;
            assert_eq!((refreshed.0, text(&refreshed, "error")), (400, "invalid_grant"));
        }
    }
    let grants = stage.grants().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(grants.len(), TRIES);
    for grant in grants {
        assert_eq!(grant.spec.revoked.unwrap().reason, RevocationReason::CodeReplayed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_at_two_servers_at_once_is_rotated_once_and_both_answer_the_same() {
    let stage = started().await;
    let [one, two] = stage.servers().await;
    let mut browser = signed_in(&one).await;
    let first = one.redeem(&code(&mut browser, "claude").await).await;
    let mut tokens = vec![text(&first, "refresh_token").to_owned()];
    let server = format!("system:serviceaccount:{}:portcullis-server-agents", stage.namespace);
    let spec = async || stage.grants().list(&ListParams::default()).await.unwrap().items.remove(0).spec;
    for attempt in 1..=TRIES {
        let token = tokens.last().unwrap().clone();
        let mark = stage.plane.audit_mark();
        let (first, second) = tokio::join!(one.refresh(&token), two.refresh(&token));
        assert_eq!((first.0, second.0), (200, 200), "{attempt}: {first:?} {second:?}");
        assert_eq!(text(&first, "refresh_token"), text(&second, "refresh_token"), "{attempt}");
        tokens.push(text(&first, "refresh_token").to_owned());

        assert_eq!(spec().await.refresh.unwrap().generation, i64::try_from(attempt).unwrap());
        let writes = stage.plane.audit_writes(mark, &server).into_iter();
        let rotations = writes.filter(|write| write.resource == "oauthgrants" && write.subresource.is_empty());
        assert_eq!(rotations.filter(|write| write.code == 200).count(), 1, "{attempt}");
        for answer in [&first, &second] {
            assert_eq!(one.call(text(answer, "access_token")).await, 200);
            assert_eq!(two.call(text(answer, "access_token")).await, 200);
        }
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), TRIES + 1, "each is another one");
    assert!(spec().await.revoked.is_none());
}
