//! Administration in the console, on a real API server with two servers that have the permissions of servers and no others:
//! what an administrator ends at one server, the other refuses too.

use super::stage::{Server, Stage, authorize, code, signed_in, signed_in_as, text};
use crate::{
    operator::stage::{eventually, install},
    support::controlplane::ControlPlane,
};
use kube::{Api, api::ListParams};
use portcullis_api::OAuthAccount;
use portcullis_core::grant::RevocationReason;
use serde_json::json;

const END: &str = "/console/administration/end";

async fn answers(server: &Server, token: &str, status: u16) {
    eventually("a server knows of the token", async || (server.call(token).await == status).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_ends_the_access_of_a_user_at_every_server() {
    let plane = ControlPlane::shared().await;
    install(plane);
    let namespace = plane.create_namespace("administration").await;
    let more = json!({"console": {"administrators": {"users": ["local:bob"]}}});
    let stage = Stage::start(plane, namespace, plane.url(), &more, &[]).await;
    let [one, two] = stage.servers().await;

    let mut ann = signed_in(&one).await;
    let agent = one.redeem(&code(&mut ann, "claude").await).await;
    let (access, refresh) = (text(&agent, "access_token"), text(&agent, "refresh_token"));
    for server in [&one, &two] {
        answers(server, access, 200).await;
    }
    let waiting = code(&mut ann, "claude").await;
    assert_eq!(ann.get(&format!("{END}?user=local:bob")).await.status, 404);

    let mut bob = signed_in_as(&one, "bob").await;
    let page = bob.get(&format!("{END}?user=local:ann")).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let ended = bob.submit(END, &page.form(END).0).await;
    assert_eq!(ended.path(), "/console/administration?user=local%3Aann");

    for server in [&one, &two] {
        answers(server, access, 401).await;
        let mut copy = server.browser();
        eventually("the session ends", async || {
            copy.cookie.clone_from(&ann.cookie);
            (copy.get("/agents").await.status == 303).then_some(())
        })
        .await;
        // The server knows of the end of the access now, and refuses what began before.
        for answer in [server.redeem(&waiting).await, server.refresh(refresh).await] {
            assert_eq!((answer.0, text(&answer, "error")), (400, "invalid_grant"), "{answer:?}");
        }
    }
    let grants = stage.grants().list(&ListParams::default()).await.unwrap().items;
    let reasons: Vec<_> =
        grants.iter().map(|grant| grant.spec.revoked.as_ref().map(|revoked| revoked.reason)).collect();
    assert_eq!(reasons, [Some(RevocationReason::UserEnded)]);
    let accounts: Api<OAuthAccount> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let accounts = accounts.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(accounts.len(), 1);
    assert!(accounts[0].spec.user.id == "local:ann" && accounts[0].spec.access_ends_before.is_some(), "{accounts:?}");

    // The second that the end includes is over soon.
    let mut again = eventually("ann may sign in", async || {
        let mut browser = two.browser();
        let page = browser.sign_in("/login", "ann", super::stage::PASSWORD).await;
        (page.status == 303).then_some(browser)
    })
    .await;
    assert_eq!(again.get(&authorize("claude")).await.status, 200, "ann may approve an agent again");
}
