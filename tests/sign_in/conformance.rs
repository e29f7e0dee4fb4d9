//! The official conformance suite's judgement of the authorization server.

use crate::{
    browser::Browser,
    clients::{Conformance, Verdict},
    stage::{CONFIDENTIAL, Manifests, PASSWORD, PUBLIC, Stage, USER},
};
use std::collections::BTreeMap;
use tokio::net::TcpListener;

const METADATA: &str = "authorization-server-metadata";
const DOCUMENTS: &str = "authorization-server-metadata-cimd";
const CODE: &str = "authorization-code-grant";

async fn judged(stage: &Stage, client_id: &str, client_secret: Option<&str>) -> (BTreeMap<String, String>, Verdict) {
    let mut person = Browser::start().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut suite = Conformance::start().await;
    let verdict = suite
        .run(&stage.origin, &stage.url, (client_id, client_secret), free, async |url| {
            person.authorize(url, USER, PASSWORD).await;
        })
        .await;
    let text = |check: &serde_json::Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks: BTreeMap<_, _> =
        verdict.checks.iter().map(|check| (text(check, "id"), text(check, "status"))).collect();
    assert_eq!(checks.len(), verdict.checks.len(), "each once: {}", verdict.text);
    (checks, verdict)
}

fn all(checks: [(&str, &str); 3]) -> BTreeMap<String, String> {
    checks.map(|(id, status)| (id.to_owned(), status.to_owned())).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_client() {
    let stage = Manifests::new().open().start().await;
    let (checks, verdict) = judged(&stage, PUBLIC, None).await;
    assert_eq!(checks, all([(METADATA, "SUCCESS"), (DOCUMENTS, "SUCCESS"), (CODE, "SUCCESS")]), "{}", verdict.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confidential_client() {
    // Where public clients may come, the suite leaves the secret of a confidential one away; so here none may come. Then
    // there are no metadata documents either, and the suite says that they would be better.
    let mut manifests = Manifests::new();
    manifests.clients.retain(|(name, _)| *name == CONFIDENTIAL);
    let stage = manifests.start().await;
    let (checks, verdict) = judged(&stage, CONFIDENTIAL, Some(&stage.secret(CONFIDENTIAL))).await;
    assert_eq!(checks, all([(METADATA, "SUCCESS"), (DOCUMENTS, "WARNING"), (CODE, "SUCCESS")]), "{}", verdict.text);
    let methods = &stage.metadata().await["token_endpoint_auth_methods_supported"];
    assert_eq!(*methods, serde_json::json!(["client_secret_basic", "client_secret_post"]));
}
