//! The admission policies that confine servers: the right to exec is there while the one for exec is, and conditions
//! report both.

use super::stage::{api, condition, create, endpoint, eventually, operator, own_plane};
use k8s_openapi::api::rbac::v1::RoleBinding;
use portcullis_api::McpEndpoint;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn servers_may_exec_only_while_the_policy_confines_them() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("confined").await;
    let _operator = operator(&plane, "one").await;
    create(&client, &namespace, &endpoint("agents", &json!({"deployment": {"replicas": 0}}))).await;
    let says = async |kind: &str, status: &str, reason: &str| {
        eventually(&format!("{kind}={status} {reason}"), async || {
            let endpoint = api::<McpEndpoint>(&client, &namespace).get("agents").await.unwrap();
            let found = endpoint.status?.conditions.into_iter().find(|condition| condition.type_ == kind)?;
            (found.status == status && found.reason == reason).then_some(found.message)
        })
        .await
    };
    let confined = async |status: &str, reason: &str| says("ExecConfined", status, reason).await;
    // The API server hears of a binding a moment after it was written.
    let may_exec = async |expected: bool| {
        let bindings = api::<RoleBinding>(&client, &namespace);
        let account = format!("system:serviceaccount:{namespace}:portcullis-server-agents");
        let asked = ["-n", &namespace, "auth", "can-i", "create", "pods", "--subresource=exec", "--as", &account];
        eventually(&format!("exec is allowed: {expected}"), async || {
            let bound = bindings.get_opt("portcullis-exec-agents").await.unwrap().is_some();
            (bound == expected && plane.kubectl(&asked).status.success() == expected).then_some(())
        })
        .await;
    };
    confined("True", "ExecPolicyInForce").await;
    may_exec(true).await;

    // Each of these would let a server into every pod.
    let policy = include_str!("../../../deploy/exec-policy.yaml");
    let patch = |kind: &str, patch: &str| {
        let done = plane.kubectl(&["patch", kind, "portcullis-exec", "--type=merge", "-p", patch]);
        assert!(done.status.success(), "{done:?}");
    };
    patch("validatingadmissionpolicybinding", r#"{"spec": {"validationActions": ["Audit"]}}"#);
    let message = confined("False", "ExecPolicyChanged").await;
    assert!(
        message.contains("validationActions must include Deny") && message.contains("deploy/exec-policy.yaml"),
        "{message}"
    );
    may_exec(false).await;
    let ready = eventually("Ready says so", async || {
        let endpoint = api::<McpEndpoint>(&client, &namespace).get("agents").await.unwrap();
        condition(&endpoint.status?.conditions, "Ready")
    })
    .await;
    assert_eq!(ready.0, "False");
    plane.apply(policy);
    confined("True", "ExecPolicyInForce").await;
    may_exec(true).await;
    patch("validatingadmissionpolicy", r#"{"spec": {"failurePolicy": "Ignore"}}"#);
    confined("False", "ExecPolicyChanged").await;
    patch("validatingadmissionpolicy", r#"{"spec": {"failurePolicy": "Fail"}}"#);
    confined("True", "ExecPolicyInForce").await;
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        let deleted = plane.kubectl(&["delete", kind, "portcullis-exec"]);
        assert!(deleted.status.success(), "{deleted:?}");
        confined("False", "ExecPolicyMissing").await;
        may_exec(false).await;
    }
    plane.apply(policy);
    confined("True", "ExecPolicyInForce").await;
    may_exec(true).await;

    says("WritesConfined", "True", "WritesPolicyInForce").await;
    let weaker = ["patch", "validatingadmissionpolicy", "portcullis-server-writes", "--type=json", "-p"];
    let variable = r#"[{"op": "replace", "path": "/spec/variables/1/expression", "value": "[object]"}]"#;
    let done = plane.kubectl(&[&weaker[..], &[variable]].concat());
    assert!(done.status.success(), "{done:?}");
    let message = says("WritesConfined", "False", "WritesPolicyChanged").await;
    assert!(
        message.contains("a variable is missing") && message.contains("deploy/server-writes-policy.yaml"),
        "{message}"
    );
    let delivered = variable.replace("[object]", "[object, oldObject].filter(one, one != null)");
    let done = plane.kubectl(&[&weaker[..], &[&delivered]].concat());
    assert!(done.status.success(), "{done:?}");
    says("WritesConfined", "True", "WritesPolicyInForce").await;
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        let deleted = plane.kubectl(&["delete", kind, "portcullis-server-writes"]);
        assert!(deleted.status.success(), "{deleted:?}");
        says("WritesConfined", "False", "WritesPolicyMissing").await;
    }
    may_exec(true).await;
}
