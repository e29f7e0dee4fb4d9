//! Snapshots of every kind of object and its variants.

use crate::Plan;
use crate::tests::{PlanScenario, find};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use insta::assert_yaml_snapshot;
use serde_json::Value;

const FULL: &str = "
url: https://mcp.example.com/team/mcp
tokens: {accessLifetime: 5m}
tools: {allow: ['*'], deny: [delete_workspace]}
cors: {allowedOrigins: ['https://claude.ai', 'https://*.example.com'], maxAge: 24h}
limits: {requestTimeout: 10m, maxConcurrentRequests: 50, requestsPerSecond: 5, burst: 10, maxBodySize: 1Mi}
network: {allowedCidrs: [160.79.104.0/21, '2607:6bc0::/48'], trustedProxies: [10.0.0.0/8]}
exposure:
  ingress:
    annotations: {traefik.ingress.kubernetes.io/router.middlewares: dev-audit@kubernetescrd, example.com/team: a}
    tls: {secretName: mcp-tls}
deployment:
  resources: {requests: {cpu: '0.5', memory: 1024Mi}, limits: {memory: 2048Mi}}
  autoscaling: {min: 3, max: 9}
  disruptionBudget: {minAvailable: 50%}
";

const CLAUDE: &str = "preset: claude
scopes: [workspaces:exec, workspaces:read]
secret: {rotation: {interval: 1h, overlap: 10m}}";

/// An object in reviewable form: the data of Secrets is decoded, and random and secret values are omitted.
fn shown(plan: &Plan, kind: &str, name: &str) -> Value {
    let mut object = serde_json::to_value(&find(plan, kind, name).object).unwrap();
    if kind == "Secret" {
        for (key, value) in object["data"].as_object_mut().unwrap() {
            let text = String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
            *value = match key.as_str() {
                "client-secret" => Value::from(format!("[{} characters]", text.len())),
                "signing-keys.json" => {
                    let mut file: Value = serde_json::from_str(&text).unwrap();
                    file["keys"][0]["pem"] = Value::from("[a private key]");
                    file
                }
                _ => Value::from(text),
            };
        }
    }
    object
}

#[test]
fn servers_are_pulled_with_the_operators_secrets() {
    let mut scenario = PlanScenario::plain();
    let pod = |scenario: &mut PlanScenario| {
        serde_json::to_value(&find(&scenario.plan(), "Deployment", "agents").object).unwrap()["spec"]["template"]["spec"]
            .clone()
    };
    assert_eq!(pod(&mut scenario)["imagePullSecrets"], Value::Null);
    scenario.cluster.pull_secrets = ["mirror", "registry"].map(ToOwned::to_owned).into();
    assert_eq!(pod(&mut scenario)["imagePullSecrets"], serde_json::json!([{"name": "mirror"}, {"name": "registry"}]));
}

#[test]
fn a_plain_endpoint() {
    let plan = PlanScenario::plain().plan();
    let order: Vec<String> =
        plan.objects.iter().map(|planned| format!("{} {}", planned.kind(), planned.name())).collect();
    assert_yaml_snapshot!("order", order);
    for (kind, name) in [
        ("Secret", "agents-signing-keys"),
        ("Secret", "agents-clients"),
        ("ConfigMap", "agents-config"),
        ("ServiceAccount", "portcullis-server-agents"),
        ("RoleBinding", "portcullis-server-agents"),
        ("RoleBinding", "portcullis-exec-agents"),
        ("NetworkPolicy", "agents"),
        ("Deployment", "agents"),
        ("PodDisruptionBudget", "agents"),
        ("Service", "agents"),
        ("Ingress", "agents"),
    ] {
        assert_yaml_snapshot!(format!("plain-{kind}-{name}"), shown(&plan, kind, name));
    }
}

#[test]
fn an_endpoint_with_everything() {
    let plan = PlanScenario::new(FULL).plan();
    for (kind, name) in [
        ("ConfigMap", "agents-config"),
        ("Deployment", "agents"),
        ("PodDisruptionBudget", "agents"),
        ("HorizontalPodAutoscaler", "agents"),
        ("Middleware", "agents-cors"),
        ("Ingress", "agents"),
    ] {
        assert_yaml_snapshot!(format!("full-{kind}-{name}"), shown(&plan, kind, name));
    }
}

#[test]
fn an_endpoint_behind_a_gateway() {
    let spec = "
url: https://mcp.example.com/team/mcp
pathAliases: [/api/experimental/mcp/http]
cors: {allowedOrigins: ['https://claude.ai', 'https://*.example.com'], maxAge: 0s, enforcedBy: Gateway}
exposure:
  gateway:
    parentRefs: [{name: edge, namespace: net, sectionName: https}, {name: inner}]
    annotations: {example.com/team: a}
";
    let plan = PlanScenario::new(spec).plan();
    for (kind, name) in [("ConfigMap", "agents-config"), ("HTTPRoute", "agents")] {
        assert_yaml_snapshot!(format!("gateway-{kind}-{name}"), shown(&plan, kind, name));
    }
}

#[test]
fn servers_that_speak_tls() {
    let plan = PlanScenario::new("url: https://mcp.example.com:8443/mcp\ntls: {secretName: mcp-tls}").plan();
    for (kind, name) in [
        ("ConfigMap", "agents-config"),
        ("Deployment", "agents"),
        ("Service", "agents"),
        ("ServersTransport", "agents-servers"),
        ("Ingress", "agents"),
    ] {
        assert_yaml_snapshot!(format!("tls-{kind}-{name}"), shown(&plan, kind, name));
    }
}

#[test]
fn with_an_external_issuer_servers_keep_workspaces_too() {
    let scenario = "url: https://mcp.example.com/mcp\nexternalIssuer: {issuerUrl: https://idp.example.com}";
    let plan = PlanScenario::new(scenario).plan();
    let with_own = PlanScenario::plain().plan();
    for (kind, name) in [
        ("RoleBinding", "portcullis-server-agents"),
        ("RoleBinding", "portcullis-exec-agents"),
        ("Deployment", "agents"),
    ] {
        assert_eq!(find(&plan, kind, name).object, find(&with_own, kind, name).object);
    }
}

#[test]
fn an_ingress_for_nginx() {
    let mut scenario = PlanScenario::new(FULL);
    scenario.cluster.default_ingress_class = Some("nginx".to_owned());
    assert_yaml_snapshot!(shown(&scenario.plan(), "Ingress", "agents"));
}

#[test]
fn an_ingress_for_an_address() {
    let mut scenario = PlanScenario::new("url: http://127.0.0.1:8080/mcp");
    scenario.cluster.default_ingress_class = None;
    assert_yaml_snapshot!(shown(&scenario.plan(), "Ingress", "agents"));
}

#[test]
fn credentials_before_and_in_an_overlap() {
    let mut scenario = PlanScenario::plain()
        .with_client("claude", CLAUDE)
        .with_client("cursor", "preset: cursor\nscopes: [files:read]");
    let first = scenario.apply();
    assert_yaml_snapshot!("client-secret", shown(&first, "Secret", "claude-oauth"));
    scenario.at("2026-03-01T11:00:00Z");
    let rotated = scenario.apply();
    assert_yaml_snapshot!("client-secret-in-an-overlap", shown(&rotated, "Secret", "claude-oauth"));
    assert_yaml_snapshot!("verifiers-in-an-overlap", shown(&rotated, "Secret", "agents-clients"));
}

#[test]
fn credentials_without_a_cluster() {
    let mut scenario = PlanScenario::plain().with_client("claude", CLAUDE).without_cluster();
    assert_yaml_snapshot!(shown(&scenario.plan(), "Secret", "claude-oauth"));
}
