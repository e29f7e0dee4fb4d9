//! Consent pages that are submitted more often than they were shown, and grants without end.

use crate::{
    agent::{authorize, parameter},
    driven::{Browser, Fields},
    stage::{Stage, after},
};
use futures::{StreamExt as _, stream};
use portcullis_core::{clock::Clock as _, grant::RevocationReason};
use portcullis_oauth::grant::{Grant, Grants as _};
use reqwest::Method;
use std::{collections::BTreeMap, sync::Arc};

const ADA: &str = "local:ada";
/// Requests in flight, few enough that none of them times out on a busy machine.
const AT_ONCE: usize = 50;

/// The consent page for `agent`, ticked and allowed, in a browser in which ada has signed in.
async fn page(stage: &Stage) -> (Browser, Fields) {
    let mut browser = stage.signed_in("ada").await;
    let page = browser.get(&authorize(&[])).await;
    (browser, page.form("/consent").with("decision", "allow"))
}

/// Ada's grants of `client_id`, the oldest first.
fn grants(stage: &Stage, client_id: &str) -> Vec<Arc<Grant>> {
    let mut grants = stage.state.of_user(ADA);
    grants.retain(|grant| grant.client_id == client_id);
    grants.sort_by_key(|grant| grant.created_at);
    grants
}

/// One consent page is submitted 300 times, in parallel, at two replicas, and every code that comes of it is redeemed → one
/// grant at most, and it ends, since its code was presented more than once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_page_submitted_300_times() {
    let stage = Stage::replicas(2).await;
    let (mut browser, form) = page(&stage).await;
    let requests: Vec<_> = (0..300)
        .map(|attempt| {
            browser.server = stage.replicas[attempt % 2].clone();
            let request = browser.request(Method::POST, "/consent").form(&form.0);
            request.header("Origin", &stage.origin).header("Sec-Fetch-Site", "same-origin").send()
        })
        .collect();
    let answers: Vec<_> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
    let codes: Vec<String> = answers
        .into_iter()
        .filter_map(|answer| parameter(answer.unwrap().headers().get("location")?.to_str().unwrap(), "code"))
        .collect();
    for code in &codes {
        stage.secrets.keep(code);
    }
    assert!(codes.len() > 1, "a user whose browser lost the answer can submit the page again");

    let redeemed = codes.iter().enumerate().map(|(attempt, code)| stage.redeem_at(attempt % 2, code, &[]));
    let redeemed: Vec<_> = stream::iter(redeemed).buffer_unordered(AT_ONCE).collect().await;
    assert_eq!(redeemed.iter().filter(|answer| answer.status == 200).count(), 1);
    let made = grants(&stage, "agent");
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].revoked, Some(RevocationReason::CodeReplayed));
    stage.stop().await;
}

/// A consent page is submitted again after the agent has connected → no second code, and what the first gave stays.
#[tokio::test]
async fn a_page_that_was_answered() {
    let stage = Stage::start().await;
    let (mut browser, form) = page(&stage).await;
    let lost = stage.answered(&browser.submit("/consent", &form.0).await);
    let again = stage.answered(&browser.submit("/consent", &form.0).await);
    assert_ne!(lost, again, "nothing came of the first, so the page can be submitted again");
    let tokens = stage.redeem(&parameter(&again, "code").unwrap(), &[]).await.tokens();

    let page = browser.submit("/consent", &form.0).await;
    assert_eq!(page.status, 409);
    assert!(!page.headers.contains_key("location") && page.text().contains("already been answered"), "{}", page.text());
    assert_eq!(stage.status(&tokens.access).await, 200);
    stage.state.revoke(&tokens.grant, RevocationReason::ByUser, stage.clock.now()).await.unwrap();
    assert_eq!(browser.submit("/consent", &form.0).await.status, 409, "it does not bring a revoked grant back");
    assert_eq!(grants(&stage, "agent").len(), 1);
    stage.stop().await;
}

/// One user's agent is connected again and again, to fill the store with grants → twenty count at most; the oldest ends, its
/// tokens with it, and the page and the audit say why.
#[tokio::test]
async fn grants_without_end() {
    let stage = Stage::start().await;
    let other = stage.redeem(&stage.code(&[("client_id", "other")]).await, &[("client_id", "other")]).await.tokens();
    let mut browser = stage.signed_in("ada").await;
    let mut tokens = Vec::new();
    for second in 0..22 {
        stage.clock.set(after(second));
        let code = parameter(&stage.consent(&mut browser, &[]).await, "code").unwrap();
        tokens.push(stage.redeem(&code, &[]).await.tokens());
    }
    let made = grants(&stage, "agent");
    assert_eq!(made.len(), 22);
    let reasons = made.iter().fold(BTreeMap::new(), |mut reasons, grant| {
        *reasons.entry(format!("{:?}", grant.revoked)).or_insert(0) += 1;
        reasons
    });
    assert_eq!(reasons, BTreeMap::from([("None".to_owned(), 20), ("Some(Superseded)".to_owned(), 2)]));
    for (index, tokens) in tokens.iter().enumerate() {
        assert_eq!(stage.status(&tokens.access).await, if index < 2 { 401 } else { 200 }, "{index}");
    }
    assert_eq!(stage.refresh(&tokens[0].refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(stage.status(&other.access).await, 200, "another client's grant stays");
    let page = browser.get("/agents").await.text();
    assert!(page.contains("this was its oldest connection"), "{page}");
    let told = stage.audit("grant.revoked");
    assert!(told.iter().any(|event| event["reason"] == "Superseded" && event["grant"] == tokens[0].grant), "{told:?}");
    stage.stop().await;
}
