//! What `deploy/server-writes-policy.yaml` lets servers write, whatever their rights: here they have all of them.

use crate::support::{api_server::client_of, controlplane::ControlPlane, operator::install};
use kube::Client;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const OTHERS: &str = "may write objects whose spec.endpointRef names that endpoint only";
const LABEL: &str = "may not use the label portcullis.dev/endpoint of another endpoint";
const CLIENTS: &str = "may write public clients that registered themselves (dyn-…) only";
/// The custom resource's own rule.
const FIXED: &str = "cannot be changed";
const NAMESPACE: &str = "may write in its own namespace only";

fn named(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn grant(name: &str, endpoint: &str) -> Value {
    let user = json!({"id": "local:alice", "name": "alice"});
    named(
        "OAuthGrant",
        name,
        &json!({
            "endpointRef": {"name": endpoint}, "clientId": "claude", "user": user, "scopes": ["files:read"],
            "resource": "https://agents.example.com/mcp", "expiresAt": "2030-01-01T00:00:00Z",
        }),
    )
}

fn of_provider(name: &str, endpoint: &str) -> Value {
    let user = json!({"id": "sso:alice", "name": "alice"});
    named("OAuthAccount", name, &json!({"endpointRef": {"name": endpoint}, "user": user, "token": "sealed"}))
}

fn workspace(name: &str, endpoint: &str) -> Value {
    named(
        "Workspace",
        name,
        &json!({
            "endpointRef": {"name": endpoint}, "owner": {"id": "local:alice", "name": "alice"}, "displayName": "web",
            "templateRef": {"name": "debian"},
        }),
    )
}

/// A client as a server registers it, with `more` merged over its spec.
fn registered(name: &str, endpoint: &str, more: &Value) -> Value {
    let mut client = named(
        "OAuthClient",
        name,
        &json!({
            "endpointRef": {"name": endpoint}, "preset": "custom", "type": "Public", "scopes": ["files:read"],
            "grants": ["authorization_code", "refresh_token"], "redirectUris": ["https://a.example.com/callback"],
            "registration": {"expiresAt": "2030-01-01T00:00:00Z"},
        }),
    );
    super::merge(&mut client["spec"], more);
    client
}

fn labelled(mut object: Value, label: &str, value: &str) -> Value {
    object["metadata"]["labels"] = json!({label: value});
    object
}

fn plural(kind: &str) -> &'static str {
    match kind {
        "OAuthGrant" => "oauthgrants",
        "OAuthAccount" => "oauthaccounts",
        "OAuthClient" => "oauthclients",
        "Workspace" => "workspaces",
        "WorkspaceTemplate" => "workspacetemplates",
        _ => "mcpendpoints",
    }
}

/// Tries a write without making it, and says what was answered.
async fn dry(client: &Client, method: &str, namespace: &str, object: &Value, subresource: &str) -> Result<(), String> {
    let plural = plural(object["kind"].as_str().unwrap());
    let mut path = format!("/apis/portcullis.dev/v1alpha1/namespaces/{namespace}/{plural}");
    if method != "POST" {
        path = format!("{path}/{}{subresource}", object["metadata"]["name"].as_str().unwrap());
    }
    let body = if method == "DELETE" { Vec::new() } else { serde_json::to_vec(object).unwrap() };
    let request = http::Request::builder()
        .method(method)
        .uri(format!("{path}?dryRun=All"))
        .header("content-type", if method == "PATCH" { "application/merge-patch+json" } else { "application/json" })
        .body(body)
        .unwrap();
    match client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn servers_write_the_objects_of_their_endpoint_only() {
    let plane = ControlPlane::shared().await;
    install(plane);
    let [namespace, elsewhere] = [plane.create_namespace("writes").await, plane.create_namespace("elsewhere").await];
    let client_as = async |name: &str| {
        let member = format!("--serviceaccount={namespace}:{name}");
        let made = plane.kubectl(&["-n", &namespace, "create", "serviceaccount", name]);
        assert!(made.status.success(), "{made:?}");
        for place in [&namespace, &elsewhere] {
            let bind = ["-n", place, "create", "rolebinding", name, "--clusterrole=cluster-admin", &member];
            let made = plane.kubectl(&bind);
            assert!(made.status.success(), "{made:?}");
        }
        client_of(&plane.kubeconfig_for_service_account(&namespace, name).await).await.unwrap()
    };
    // The name of one endpoint is the beginning of the other's.
    let agents = client_as("portcullis-server-agents").await;
    let second = client_as("portcullis-server-agents-2").await;
    let somebody = client_as("somebody").await;
    let existing = [
        grant("g-1", "agents"),
        grant("g-2", "agents-2"),
        of_provider("a-1", "agents"),
        of_provider("a-2", "agents-2"),
        workspace("w-1", "agents"),
        workspace("w-2", "agents-2"),
        registered("dyn-1", "agents", &json!({})),
        registered("dyn-2", "agents-2", &json!({})),
        registered("claude", "agents", &json!({"registration": null, "type": "Confidential"})),
        registered("cli", "agents", &json!({"registration": null})),
    ];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": existing});
    let made = plane.kubectl_with_input(&["-n", &namespace, "create", "-f", "-"], &list.to_string());
    assert!(made.status.success(), "{made:?}");
    // A policy counts a moment after it was made.
    let deadline = Instant::now() + Duration::from_secs(30);
    while dry(&agents, "POST", &namespace, &grant("g-3", "agents-2"), "").await.is_ok() {
        assert!(Instant::now() < deadline, "the policy is never enforced");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let endpoint = "portcullis.dev/endpoint";
    let revoked = |name| json!({"kind": "OAuthGrant", "metadata": {"name": name}, "spec": {"revoked": {"at": "2026-01-01T00:00:00Z", "reason": "ByUser"}}});
    let moved =
        |kind, name, to| json!({"kind": kind, "metadata": {"name": name}, "spec": {"endpointRef": {"name": to}}});
    let stopped = |name| json!({"kind": "Workspace", "metadata": {"name": name}, "spec": {"running": false}});
    let used = |kind, name| json!({"kind": kind, "metadata": {"name": name}, "status": {}});
    let client = |more: Value| registered("dyn-3", "agents", &more);
    let checked = |name| json!({"kind": "OAuthAccount", "metadata": {"name": name}, "spec": {"token": "other"}});
    let rows = [
        ("its own account", &agents, "POST", "", of_provider("a-3", "agents"), None),
        ("an account of another endpoint", &agents, "POST", "", of_provider("a-3", "agents-2"), Some(OTHERS)),
        ("the token of its own account", &agents, "PATCH", "", checked("a-1"), None),
        ("the token of another endpoint's account", &agents, "PATCH", "", checked("a-2"), Some(OTHERS)),
        (
            "an account that another's watch selects",
            &agents,
            "POST",
            "",
            labelled(of_provider("a-3", "agents"), endpoint, "agents-2"),
            Some(LABEL),
        ),
        (
            "its account, made another endpoint's",
            &agents,
            "PATCH",
            "",
            moved("OAuthAccount", "a-1", "agents-2"),
            Some(FIXED),
        ),
        ("its own grant", &agents, "POST", "", grant("g-3", "agents"), None),
        ("the second's own grant", &second, "POST", "", grant("g-3", "agents-2"), None),
        ("its own, labelled", &agents, "POST", "", labelled(grant("g-3", "agents"), endpoint, "agents"), None),
        ("a grant of an endpoint whose name is longer", &agents, "POST", "", grant("g-3", "agents-2"), Some(OTHERS)),
        ("a grant of an endpoint whose name is shorter", &second, "POST", "", grant("g-3", "agents"), Some(OTHERS)),
        (
            "a grant that another's watch selects",
            &second,
            "POST",
            "",
            labelled(grant("g-3", "agents-2"), endpoint, "agents"),
            Some(LABEL),
        ),
        (
            "a client that another's watch selects",
            &second,
            "POST",
            "",
            labelled(registered("dyn-3", "agents-2", &json!({})), endpoint, "agents"),
            Some(LABEL),
        ),
        ("the revocation of its own", &agents, "PATCH", "", revoked("g-1"), None),
        ("the revocation of another's", &agents, "PATCH", "", revoked("g-2"), Some(OTHERS)),
        ("another's grant made its own", &agents, "PATCH", "", moved("OAuthGrant", "g-2", "agents"), Some(FIXED)),
        ("its own grant made another's", &agents, "PATCH", "", moved("OAuthGrant", "g-1", "agents-2"), Some(FIXED)),
        ("the use of its own", &agents, "PATCH", "/status", used("OAuthGrant", "g-1"), None),
        ("the use of another's", &agents, "PATCH", "/status", used("OAuthGrant", "g-2"), Some(OTHERS)),
        ("another's grant deleted", &agents, "DELETE", "", revoked("g-2"), Some(OTHERS)),
        ("its own workspace", &agents, "POST", "", workspace("w-3", "agents"), None),
        ("another's workspace", &agents, "POST", "", workspace("w-3", "agents-2"), Some(OTHERS)),
        ("its own stopped", &agents, "PATCH", "", stopped("w-1"), None),
        ("another's stopped", &agents, "PATCH", "", stopped("w-2"), Some(OTHERS)),
        ("another's used", &agents, "PATCH", "/status", used("Workspace", "w-2"), Some(OTHERS)),
        ("its own deleted", &agents, "DELETE", "", stopped("w-1"), None),
        ("another's deleted", &agents, "DELETE", "", stopped("w-2"), Some(OTHERS)),
        ("a registration", &agents, "POST", "", client(json!({})), None),
        ("a registration elsewhere", &agents, "POST", "", registered("dyn-3", "agents-2", &json!({})), Some(OTHERS)),
        ("a registration deleted", &agents, "DELETE", "", moved("OAuthClient", "dyn-1", "agents"), None),
        (
            "another's registration deleted",
            &agents,
            "DELETE",
            "",
            moved("OAuthClient", "dyn-2", "agents-2"),
            Some(OTHERS),
        ),
        (
            "a client that somebody wrote deleted",
            &agents,
            "DELETE",
            "",
            moved("OAuthClient", "cli", "agents"),
            Some(CLIENTS),
        ),
        (
            "a client that somebody wrote changed",
            &agents,
            "PATCH",
            "",
            json!({"kind": "OAuthClient", "metadata": {"name": "cli"}, "spec": {"scopes": ["workspaces:exec"]}}),
            Some(CLIENTS),
        ),
        (
            "a client that somebody wrote made a registration",
            &agents,
            "PATCH",
            "",
            json!({"kind": "OAuthClient", "metadata": {"name": "cli"}, "spec": {"registration": {"expiresAt": "2030-01-01T00:00:00Z"}}}),
            Some(CLIENTS),
        ),
        (
            "a confidential client changed",
            &agents,
            "PATCH",
            "",
            json!({"kind": "OAuthClient", "metadata": {"name": "claude"}, "spec": {"scopes": ["workspaces:exec"]}}),
            Some(CLIENTS),
        ),
        (
            "a confidential client",
            &agents,
            "POST",
            "",
            client(json!({"type": "Confidential", "registration": null})),
            Some(CLIENTS),
        ),
        (
            "an unattended client",
            &agents,
            "POST",
            "",
            client(json!({"type": "Confidential", "registration": null, "grants": ["client_credentials"]})),
            Some(CLIENTS),
        ),
        (
            "a client of keys",
            &agents,
            "POST",
            "",
            client(
                json!({"type": "Confidential", "registration": null, "privateKeyJwt": {"jwksUri": "https://a.example.com/keys"}}),
            ),
            Some(CLIENTS),
        ),
        (
            "a public client that nobody registered",
            &agents,
            "POST",
            "",
            client(json!({"registration": null})),
            Some(CLIENTS),
        ),
        (
            "a registration under a name of people's",
            &agents,
            "POST",
            "",
            registered("chatgpt", "agents", &json!({})),
            Some(CLIENTS),
        ),
        ("a registration of a preset", &agents, "POST", "", client(json!({"preset": "claude"})), Some(CLIENTS)),
        (
            "an endpoint",
            &agents,
            "POST",
            "",
            named("McpEndpoint", "agents", &json!({"url": "https://a.example.com/mcp"})),
            Some(OTHERS),
        ),
        (
            "a template",
            &agents,
            "POST",
            "",
            named("WorkspaceTemplate", "t", &json!({"pod": {"image": "a"}})),
            Some(OTHERS),
        ),
        ("what others write", &somebody, "POST", "", grant("g-3", "agents"), None),
        ("what others write of another", &somebody, "PATCH", "", revoked("g-2"), None),
    ];
    let mut wrong = Vec::new();
    for (what, client, method, subresource, object, refused) in &rows {
        let answer = dry(client, method, &namespace, object, subresource).await;
        let right = match (refused, &answer) {
            (None, Ok(())) => true,
            (Some(says), Err(told)) => {
                told.contains(says) && (*says == FIXED || told.contains("portcullis-server-writes"))
            }
            _ => false,
        };
        if !right {
            wrong.push(format!("{what}: {answer:?}"));
        }
    }
    let away = dry(&agents, "POST", &elsewhere, &grant("g-3", "agents"), "").await;
    assert!(away.as_ref().is_err_and(|told| told.contains(NAMESPACE)), "{away:?}");
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}
