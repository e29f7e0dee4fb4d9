//! Who signs in: Secrets that people keep, on their way to the servers.

use super::stage::{api, condition, create, endpoint, eventually, install, operator};
use crate::support::controlplane::ControlPlane;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use portcullis_api::McpEndpoint;
use portcullis_config::LoginSecrets;
use serde_json::{Value, json};

const HASH: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

#[tokio::test(flavor = "multi_thread")]
async fn users_reach_the_servers_while_their_secret_is_there() {
    let plane = ControlPlane::shared().await;
    install(plane);
    let client = plane.client().await;
    let _operator = operator(plane, "logins").await;
    let namespace = plane.create_namespace("logins").await;
    let login = json!({"login": [{"name": "local", "passwords": {"secretRef": {"name": "people"}}}]});
    create(&client, &namespace, &endpoint("agents", &login)).await;

    let (endpoints, secrets): (Api<McpEndpoint>, Api<Secret>) = (api(&client, &namespace), api(&client, &namespace));
    let says = async |status: &str, reason: &str| {
        eventually(&format!("LoginsReady is {status}, {reason}"), async || {
            let conditions = endpoints.get("agents").await.unwrap().status?.conditions;
            let found = condition(&conditions, "LoginsReady")?;
            let message = conditions.into_iter().find(|found| found.type_ == "LoginsReady")?.message;
            (found == (status.to_owned(), reason.to_owned())).then_some(message)
        })
        .await
    };
    let users = async |wanted: &[&str]| {
        eventually(&format!("the servers' users are {wanted:?}"), async || {
            let file = secrets.get_opt("agents-login").await.unwrap()?.data?.remove("login.json")?;
            let logins = serde_json::from_slice::<LoginSecrets>(&file.0).unwrap().logins;
            let shown = format!("{:?}", logins.get("local"));
            let all = wanted.iter().all(|name| shown.contains(&format!("{name:?}")));
            (all && shown.matches('"').count() == wanted.len() * 2).then_some(())
        })
        .await;
    };
    let change = async |patch: Value| {
        secrets.patch("people", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    };

    let message = says("False", "SecretNotFound").await;
    assert!(message.contains("portcullis.dev/endpoint=agents"), "{message}");
    let people: Secret = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "people", "labels": {"portcullis.dev/endpoint": "agents"}},
        "stringData": {"htpasswd": format!("alice:{HASH}\n")},
    }))
    .unwrap();
    create(&client, &namespace, &people).await;
    says("True", "LoginsUsable").await;
    users(&["alice"]).await;

    change(json!({"stringData": {"htpasswd": format!("alice:{HASH}\nbob:{HASH}\n")}})).await;
    users(&["alice", "bob"]).await;
    change(json!({"stringData": {"htpasswd": format!("alice:plain\nbob:{HASH}\n")}})).await;
    let message = says("False", "UserMalformed").await;
    assert!(message.contains("line 1") && !message.contains("plain"), "{message}");
    users(&["bob"]).await;

    change(json!({"metadata": {"labels": {"portcullis.dev/endpoint": null}}})).await;
    says("False", "SecretNotFound").await;
    users(&[]).await;
    assert!(secrets.get_opt("people").await.unwrap().is_some(), "it is somebody else's, and stays");
}
