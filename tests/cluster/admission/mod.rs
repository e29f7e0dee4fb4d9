//! What admission refuses and what it takes, and that `portcullis dev` and a cluster agree on it: every manifest here
//! is put to the real API server and to [`portcullis_api::validation`].

mod edge;
mod exec;
mod login;
mod right;
mod users;
mod workspaces;
mod writes;
mod wrong;

use crate::support::controlplane::ControlPlane;
use kube::{Client, CustomResourceExt, Resource, core::Status};
use portcullis_api::{McpEndpoint, OAuthClient, OAuthUser, Workspace, WorkspaceTemplate, validation};
use right::{Right, right_manifests};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use wrong::wrong_manifests;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Endpoint,
    Client,
    User,
    Template,
    Workspace,
}

impl Kind {
    fn plainest(self) -> Value {
        match self {
            Self::Endpoint => json!({
                "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint", "metadata": {"name": "agents"},
                "spec": {"url": "https://mcp.example.com/mcp"},
            }),
            Self::Client => json!({
                "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": "claude"},
                "spec": {"endpointRef": {"name": "agents"}, "preset": "claude", "scopes": ["workspaces:read"]},
            }),
            Self::User => json!({
                "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthUser", "metadata": {"name": "alice"},
                "spec": {"endpointRef": {"name": "agents"}, "user": {"id": "local:alice"}, "disabled": true},
            }),
            Self::Template => json!({
                "apiVersion": "portcullis.dev/v1alpha1", "kind": "WorkspaceTemplate", "metadata": {"name": "debian"},
                "spec": {"pod": {"image": "debian:bookworm"}},
            }),
            Self::Workspace => json!({
                "apiVersion": "portcullis.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "web"},
                "spec": {
                    "endpointRef": {"name": "agents"}, "owner": {"id": "local:alice", "name": "alice"},
                    "displayName": "web", "templateRef": {"name": "debian"},
                },
            }),
        }
    }

    fn patched(self, patch: &Value) -> Value {
        let mut manifest = self.plainest();
        merge(&mut manifest, patch);
        manifest
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Endpoint => "mcpendpoints",
            Self::Client => "oauthclients",
            Self::User => "oauthusers",
            Self::Template => "workspacetemplates",
            Self::Workspace => "workspaces",
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    for (name, change) in patch {
        if change.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else if change.is_object() && target[name].is_object() {
            merge(&mut target[name], change);
        } else {
            target[name] = change.clone();
        }
    }
}

#[tokio::test]
async fn a_cluster_refuses_each_wrong_manifest_by_field_and_remedy() {
    let plane = ControlPlane::shared().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("admission").await;
    for kind in [Kind::Endpoint, Kind::Client, Kind::User, Kind::Template, Kind::Workspace] {
        send(&client, "POST", &namespace, kind, &kind.plainest(), "").await.unwrap();
    }
    let mut wrong = Vec::new();
    for row in wrong_manifests() {
        let mut manifest = row.kind.patched(&row.patch);
        let method = if row.update { "PATCH" } else { "POST" };
        if !row.update && row.patch.pointer("/metadata/name").is_none() {
            manifest["metadata"]["name"] = json!("another");
        }
        match send(&client, method, &namespace, row.kind, &manifest, "?dryRun=All&fieldValidation=Strict").await {
            Ok(_) => wrong.push(format!("{:?}, {}: taken", row.kind, row.what)),
            Err(status) if !(status.message.contains(row.field) && status.message.contains(row.server)) => {
                wrong.push(format!(
                    "{:?}, {}: wanted {}: {}\n   got {}",
                    row.kind, row.what, row.field, row.server, status.message
                ));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn dev_refuses_each_wrong_manifest_by_field_and_remedy() {
    let mut wrong = Vec::new();
    for row in wrong_manifests() {
        let manifest = row.kind.patched(&row.patch);
        let old = row.update.then(|| row.kind.plainest());
        match admit(row.kind, manifest, old) {
            Ok(_) => wrong.push(format!("{:?}, {}: taken", row.kind, row.what)),
            // One mistake is one message.
            Err(found) if !(matches!(&*found, [one] if one.field == row.field && one.message.contains(row.client))) => {
                wrong.push(format!(
                    "{:?}, {}: wanted {}: {}\n   got {found:?}",
                    row.kind, row.what, row.field, row.client
                ));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_row_is_there_twice() {
    let mut seen = BTreeSet::new();
    for row in wrong_manifests() {
        assert!(seen.insert(format!("{:?} {} {}", row.kind, row.patch, row.update)), "{}", row.what);
    }
}

#[tokio::test]
async fn a_cluster_and_dev_take_right_manifests_with_the_same_defaults() {
    let plane = ControlPlane::shared().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("admission").await;
    for Right { what, kind, spec, stored } in right_manifests() {
        // A merge patch removes what is null; here it is to be sent.
        let mut manifest = kind.plainest();
        for (name, value) in spec.as_object().unwrap() {
            manifest["spec"][name] = value.clone();
        }
        let by_server = send(&client, "POST", &namespace, kind, &manifest, "?dryRun=All&fieldValidation=Strict").await;
        let by_server = by_server.unwrap_or_else(|status| panic!("{what}: {}", status.message));
        let by_dev = admit(kind, manifest, None).unwrap_or_else(|found| panic!("{what}: {found:?}"));
        assert_eq!(by_server["spec"], by_dev["spec"], "{what}");
        let mut whole = by_server["spec"].clone();
        merge(&mut whole, &stored);
        assert_eq!(whole, by_server["spec"], "{what}");
    }
}

/// A cluster stores an amount as it is written, and what is read from it is a text.
#[tokio::test]
async fn amounts_may_be_numbers() {
    let plane = ControlPlane::shared().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("admission").await;
    let mut manifest = Kind::Template.plainest();
    manifest["spec"]["pod"]["resources"] = json!({"limits": {"cpu": 2}, "requests": {"cpu": "500m"}});
    let by_server = send(&client, "POST", &namespace, Kind::Template, &manifest, "?dryRun=All&fieldValidation=Strict");
    let by_server = by_server.await.unwrap();
    assert_eq!(by_server["spec"]["pod"]["resources"]["limits"]["cpu"], 2);
    let read: WorkspaceTemplate = serde_json::from_value(by_server).unwrap();
    let admitted: WorkspaceTemplate = validation::admit(manifest).unwrap();
    for template in [read, admitted] {
        assert_eq!(template.spec.pod.resources.limits["cpu"], "2");
    }
}

#[tokio::test]
async fn what_may_change_may_change() {
    let plane = ControlPlane::shared().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("admission").await;
    for (kind, specs) in [
        (
            Kind::Client,
            [json!({"type": "Confidential"}), json!({"preset": "chatgpt"}), json!({"scopes": ["files:read"]})],
        ),
        (
            Kind::User,
            [
                json!({"notBefore": "2026-11-29T06:00:00Z"}),
                json!({"disabled": false, "notBefore": "2026-11-29T06:00:00Z"}),
                json!({"disabled": true}),
            ],
        ),
        (
            Kind::Workspace,
            [json!({"running": false}), json!({"parameters": {"a": "b"}}), json!({"owner": {"name": "Alice"}})],
        ),
    ] {
        let before = kind.plainest();
        send(&client, "POST", &namespace, kind, &before, "").await.unwrap();
        for spec in specs {
            let after = kind.patched(&json!({"spec": spec}));
            admit(kind, after.clone(), Some(before.clone())).unwrap();
            send(&client, "PATCH", &namespace, kind, &after, "?dryRun=All&fieldValidation=Strict").await.unwrap();
        }
    }
}

/// As `portcullis dev` takes it, and back as what an API server would store of it.
fn admit(kind: Kind, manifest: Value, old: Option<Value>) -> Result<Value, Vec<validation::Violation>> {
    match kind {
        Kind::Endpoint => admit_one::<McpEndpoint>(manifest, old),
        Kind::Client => admit_one::<OAuthClient>(manifest, old),
        Kind::User => admit_one::<OAuthUser>(manifest, old),
        Kind::Template => admit_one::<WorkspaceTemplate>(manifest, old),
        Kind::Workspace => admit_one::<Workspace>(manifest, old),
    }
}

fn admit_one<K>(manifest: Value, old: Option<Value>) -> Result<Value, Vec<validation::Violation>>
where
    K: CustomResourceExt + Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    Ok(json!(match old {
        None => validation::admit::<K>(manifest)?,
        Some(old) => validation::admit_update(manifest, &validation::admit::<K>(old)?)?,
    }))
}

#[tokio::test]
async fn the_examples_are_taken() {
    let plane = ControlPlane::shared().await;
    let all = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap();
    // The folders are about other operators, whose kinds this cluster has not.
    for path in all.map(|example| example.unwrap().path()).filter(|path| path.is_file()) {
        let namespace = plane.create_namespace("example").await;
        let file = path.to_str().unwrap();
        let applied = plane.kubectl(&["-n", &namespace, "apply", "--dry-run=server", "--validate=strict", "-f", file]);
        assert!(applied.status.success(), "{file}: {applied:?}");
    }
}

async fn send(
    client: &Client,
    method: &str,
    namespace: &str,
    kind: Kind,
    manifest: &Value,
    query: &str,
) -> Result<Value, Box<Status>> {
    let mut path = format!("/apis/portcullis.dev/v1alpha1/namespaces/{namespace}/{}", kind.plural());
    if method == "PATCH" {
        path = format!("{path}/{}", manifest["metadata"]["name"].as_str().unwrap());
    }
    let request = http::Request::builder()
        .method(method)
        .uri(format!("{path}{query}"))
        .header("content-type", if method == "PATCH" { "application/merge-patch+json" } else { "application/json" })
        .body(serde_json::to_vec(manifest).unwrap())
        .unwrap();
    match client.request(request).await {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) => Err(status),
        Err(error) => panic!("{error}"),
    }
}
