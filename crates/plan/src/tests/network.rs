//! Tests of the servers' NetworkPolicy and of the permission to exec.

use crate::tests::{PlanScenario, find};
use crate::{EXEC_POLICY, Plan, PolicyProblem};
use serde_json::{Value, json};

fn policy(plan: &Plan) -> Value {
    serde_json::to_value(&find(plan, "NetworkPolicy", "agents").object).unwrap()["spec"].clone()
}

/// The rules of a direction that allow a port.
fn rules_for(policy: &Value, direction: &str, port: u16) -> Vec<Value> {
    let rules = policy[direction].as_array().cloned().unwrap_or_default();
    let allows = |rule: &Value| rule["ports"].as_array().unwrap().iter().any(|one| one["port"] == port);
    rules.into_iter().filter(allows).collect()
}

#[test]
fn the_private_port_is_for_the_operator_and_for_monitoring() {
    let named = |name: &str| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    let spec =
        "url: https://mcp.example.com/mcp\nnetwork: {monitoringFrom: [{podSelector: {matchLabels: {app: scraper}}}]}";
    let policy = policy(&PlanScenario::new(spec).plan());
    let private = rules_for(&policy, "ingress", 9090);
    let mut operator = named("portcullis-system");
    operator["podSelector"] = json!({"matchLabels": {"app.kubernetes.io/component": "operator"}});
    let scraper = json!({"podSelector": {"matchLabels": {"app": "scraper"}}});
    assert_eq!(private.len(), 1);
    assert_eq!(private[0]["from"], json!([operator, named("monitoring"), scraper]));
    assert_eq!(rules_for(&policy, "ingress", 8080)[0]["from"], Value::Null, "the public one is open");
}

#[test]
fn the_public_port_can_be_for_the_proxy_alone_and_the_operator_that_verifies() {
    let spec =
        "url: https://mcp.example.com/mcp\nnetwork: {ingressFrom: [{podSelector: {matchLabels: {app: traefik}}}]}";
    let public = rules_for(&policy(&PlanScenario::new(spec).plan()), "ingress", 8080);
    let from = public[0]["from"].as_array().unwrap();
    assert_eq!((public.len(), from.len()), (1, 2));
    assert_eq!(from[0], json!({"podSelector": {"matchLabels": {"app": "traefik"}}}));
    assert!(from[1]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == "portcullis-system");
}

#[test]
fn servers_connect_to_dns_the_api_server_and_public_providers() {
    let login =
        "login: [{name: corp, oidc: {issuerUrl: 'https://idp.example.com:8443/realm', clientSecretRef: {name: a}}}]";
    let rule = "network: {egressRules: [{to: [{ipBlock: {cidr: 10.1.0.0/16}}], ports: [{port: 8443}]}]}";
    let mut scenario = PlanScenario::new(&format!("url: https://mcp.example.com/mcp\n{login}\n{rule}"));
    let restricted = policy(&scenario.plan());
    assert_eq!(restricted["policyTypes"], json!(["Ingress", "Egress"]));
    let api = rules_for(&restricted, "egress", 6443);
    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    assert_eq!(api[0]["to"], json!([block("203.0.113.1/32"), block("203.0.113.2/32")]));
    let public = rules_for(&restricted, "egress", 443);
    assert_eq!(public.len(), 1);
    assert_eq!(public[0]["ports"].as_array().unwrap().len(), 2, "and the port that an issuer names");
    let except = public[0]["to"][0]["ipBlock"]["except"].as_array().unwrap();
    for private in ["10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"] {
        assert!(except.contains(&json!(private)), "{except:?}");
    }
    assert_eq!(rules_for(&restricted, "egress", 8443).last().unwrap()["to"], json!([block("10.1.0.0/16")]));
    assert_eq!(rules_for(&restricted, "egress", 53).len(), 1);

    // Without the API server's addresses, a restriction would cut servers off from it.
    scenario.cluster.api_servers.clear();
    assert_eq!(policy(&scenario.plan())["policyTypes"], json!(["Ingress"]));
    let open = PlanScenario::new("url: https://mcp.example.com/mcp\nnetwork: {egress: Any}").plan();
    assert_eq!((&policy(&open)["policyTypes"], &policy(&open)["egress"]), (&json!(["Ingress"]), &Value::Null));
}

#[test]
fn the_right_to_exec_is_given_only_while_the_policy_confines_it() {
    let roles = |plan: &Plan| {
        let bindings = plan.objects.iter().filter(|planned| planned.kind() == "RoleBinding");
        bindings.map(|planned| planned.object.data["roleRef"]["name"].clone()).collect::<Vec<_>>()
    };
    let mut scenario = PlanScenario::plain();
    assert_eq!(roles(&scenario.plan()), ["portcullis-server", "portcullis-server-exec"]);
    scenario.cluster.exec_problem = Some(PolicyProblem::Missing(EXEC_POLICY.name));
    assert_eq!(roles(&scenario.plan()), ["portcullis-server"]);
}
