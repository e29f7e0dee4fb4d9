//! Tables: one fault in a healthy cluster, and the first problem.

use super::super::diagnose;
use crate::{
    Check, Code, Finding, Outcome, Severity,
    cluster::{ClusterObservations, EndpointName, EndpointTarget, Permission, ReadFailure, SecretSummary},
    observation::Observations,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const URL: &str = "https://mcp.example.com/mcp";

fn time() -> Timestamp {
    "2027-01-15T08:00:00Z".parse().unwrap()
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": "portcullis", "app.kubernetes.io/instance": "agents",
        "app.kubernetes.io/component": "server", "portcullis.dev/endpoint": "agents"})
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

fn endpoint() -> Value {
    json!({
        "metadata": {"namespace": "dev", "name": "agents", "generation": 2},
        "spec": {"url": URL, "login": [{"name": "local", "passwords": {"secretRef": {"name": "people"}}}]},
        "status": {"observedGeneration": 2, "conditions": [condition("Ready", "True", "Ready", "")]},
    })
}

fn pod(status: &Value) -> Value {
    json!({"metadata": {"name": "agents-1", "labels": labels()}, "status": status})
}

fn ready_pod() -> Value {
    pod(&json!({"phase": "Running", "conditions": [condition("Ready", "True", "", "")]}))
}

/// A pod whose container has this status.
fn container(status: &Value) -> Value {
    pod(&json!({"phase": "Pending", "containerStatuses": [status]}))
}

fn waiting(reason: &str, message: &str) -> Value {
    container(&json!({"image": "example.com/portcullis", "state": {"waiting": {"reason": reason, "message": message}}}))
}

fn ingress(namespace: &str, name: &str, host: &str) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": [{"path": "/mcp"}]}}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}]}},
    })
}

/// An endpoint whose cluster has no problem.
fn healthy() -> ClusterObservations {
    let target = EndpointName { namespace: "dev".to_owned(), name: "agents".to_owned() };
    let people =
        SecretSummary { keys: vec!["htpasswd".to_owned()], endpoint: Some("agents".to_owned()), certificate: None };
    ClusterObservations {
        kinds: Ok(["mcpendpoints", "oauthclients", "oauthgrants"].map(str::to_owned).into()),
        endpoint: Ok(Some(endpoint())),
        operators: Ok(vec![json!({"metadata": {"namespace": "portcullis-system", "name": "portcullis-operator"},
            "status": {"readyReplicas": 1}})]),
        operator_pods: Ok(Vec::new()),
        secrets: BTreeMap::from([("people".to_owned(), Ok(Some(people)))]),
        deployment: Ok(Some(json!({"metadata": {"name": "agents"},
            "spec": {"replicas": 1, "template": {"metadata": {"labels": labels()}}}}))),
        pods: Ok(vec![ready_pod()]),
        service: Ok(Some(json!({"metadata": {"name": "agents"}, "spec": {"selector": labels()}}))),
        slices: Ok(vec![json!({"endpoints": [{"addresses": ["10.0.0.9"], "conditions": {"ready": true}}]})]),
        ingress: Ok(Some(ingress("dev", "agents", "mcp.example.com"))),
        ingresses: Ok(vec![ingress("dev", "agents", "mcp.example.com")]),
        ingress_classes: Ok(vec![json!({"metadata": {"name": "nginx"}})]),
        http_route: Ok(None),
        policies: Ok(Vec::new()),
        quotas: Ok(Vec::new()),
        events: Ok(Vec::new()),
        clients: Ok(Vec::new()),
        grants: Ok(Vec::new()),
        ..ClusterObservations::new(EndpointTarget::Name(target), time())
    }
}

/// The findings about the cluster, without those from outside.
fn findings(cluster: ClusterObservations) -> Vec<Finding> {
    let observed = Observations { cluster: Some(Box::new(cluster)), ..Observations::new(URL, time()) };
    diagnose(&observed).into_iter().filter(|finding| finding.check.is_of_cluster()).collect()
}

type Change = Box<dyn FnOnce(&mut ClusterObservations)>;

fn change(change: impl FnOnce(&mut ClusterObservations) + 'static) -> Change {
    Box::new(change)
}

/// A change of the McpEndpoint, by JSON pointer.
fn of_endpoint(pointer: &'static str, value: Value) -> Change {
    change(move |cluster| {
        let mut changed = endpoint();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[field] = value;
        cluster.endpoint = Ok(Some(changed));
    })
}

fn expect(rows: Vec<(Check, Code, Change)>) {
    for (check, code, change) in rows {
        let mut cluster = healthy();
        change(&mut cluster);
        let findings = findings(cluster);
        let first = findings.iter().find(|finding| finding.code().is_some());
        let first = first.unwrap_or_else(|| panic!("{code:?}: no problem in {findings:#?}"));
        assert_eq!((first.check, first.code()), (check, Some(code)), "{findings:#?}");
    }
}

#[test]
fn a_healthy_cluster_has_no_problem_and_comes_before_the_rest() {
    let observed = Observations { cluster: Some(Box::new(healthy())), ..Observations::new(URL, time()) };
    let all = diagnose(&observed);
    assert_eq!(all.iter().map(|finding| finding.check).collect::<Vec<_>>(), Check::ALL);
    for finding in findings(healthy()) {
        assert_eq!(finding.outcome, Outcome::Ok, "{finding:?}");
    }
}

#[test]
fn the_installation() {
    expect(vec![
        (
            Check::Cluster,
            Code::ClusterUnavailable,
            change(|cluster| cluster.kinds = Err(ReadFailure::Unavailable("refused".to_owned()))),
        ),
        (Check::Definitions, Code::DefinitionsMissing, change(|cluster| cluster.kinds = Ok(Vec::new()))),
        (Check::Resource, Code::EndpointNotFound, change(|cluster| cluster.endpoint = Ok(None))),
        (
            Check::Operator,
            Code::OperatorMissing,
            change(|cluster| {
                cluster.operators = Ok(Vec::new());
                let mut stale = endpoint();
                stale["metadata"]["generation"] = json!(3);
                cluster.endpoint = Ok(Some(stale));
            }),
        ),
        (Check::Operator, Code::OperatorNotFound, change(|cluster| cluster.operators = Ok(Vec::new()))),
        (
            Check::Operator,
            Code::OperatorNotReady,
            change(|cluster| {
                cluster.operators = Ok(vec![json!({"metadata": {"name": "portcullis-operator"}})]);
                cluster.operator_pods = Ok(vec![waiting("ImagePullBackOff", "not found")]);
            }),
        ),
        (Check::Operator, Code::NotReconciled, of_endpoint("/status", Value::Null)),
    ]);
}

#[test]
fn references_and_certificates() {
    let secret = |keys: &[&str], endpoint: Option<&str>, certificate: Option<&str>| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        SecretSummary { keys, endpoint: endpoint.map(str::to_owned), certificate: certificate.map(str::to_owned) }
    };
    let people = |summary: Option<SecretSummary>| {
        change(move |cluster| {
            cluster.secrets.insert("people".to_owned(), Ok(summary));
        })
    };
    let tls = |summary: Option<SecretSummary>| {
        change(move |cluster| {
            let mut with_tls = endpoint();
            with_tls["spec"]["tls"] = json!({"secretName": "cert"});
            cluster.endpoint = Ok(Some(with_tls));
            cluster.secrets.insert("cert".to_owned(), Ok(summary));
        })
    };
    let both = ["tls.crt", "tls.key"];
    expect(vec![
        (Check::References, Code::ReferenceMissing, people(None)),
        (Check::References, Code::ReferenceIncomplete, people(Some(secret(&["users"], Some("agents"), None)))),
        (Check::References, Code::SecretNotLabelled, people(Some(secret(&["htpasswd"], None, None)))),
        (Check::Certificate, Code::TlsSecretMissing, tls(None)),
        (Check::Certificate, Code::TlsSecretInvalid, tls(Some(secret(&["tls.crt"], None, Some("x"))))),
        (Check::Certificate, Code::TlsSecretInvalid, tls(Some(secret(&both, None, Some("no certificate"))))),
    ]);
}

#[test]
fn servers() {
    let pods = |pods: Vec<Value>| change(move |cluster| cluster.pods = Ok(pods));
    let ended = |reason: &str, message: &str| {
        container(&json!({"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"reason": reason, "exitCode": 1, "message": message}}}))
    };
    let unscheduled = pod(&json!({"phase": "Pending",
        "conditions": [condition("PodScheduled", "False", "Unschedulable", "0/2 nodes are available")]}));
    let refused = json!({"spec": {"replicas": 1}, "status": {"conditions":
        [condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota")]}});
    expect(vec![
        (Check::Pods, Code::DeploymentMissing, change(|cluster| cluster.deployment = Ok(None))),
        (
            Check::Pods,
            Code::ScaledToZero,
            change(|cluster| cluster.deployment = Ok(Some(json!({"spec": {"replicas": 0}})))),
        ),
        (
            Check::Pods,
            Code::PodsRefused,
            change(move |cluster| (cluster.deployment, cluster.pods) = (Ok(Some(refused)), Ok(Vec::new()))),
        ),
        (Check::Pods, Code::PodsMissing, pods(Vec::new())),
        (Check::Pods, Code::ImagePullFailed, pods(vec![waiting("ErrImagePull", "not found")])),
        (Check::Pods, Code::ContainerConfigError, pods(vec![waiting("CreateContainerConfigError", "no secret")])),
        (Check::Pods, Code::OutOfMemory, pods(vec![ended("OOMKilled", "")])),
        (Check::Pods, Code::CrashLoop, pods(vec![ended("Error", "the configuration is invalid")])),
        (Check::Pods, Code::PodUnschedulable, pods(vec![unscheduled.clone()])),
        (Check::Pods, Code::ImagePullFailed, pods(vec![unscheduled, waiting("ErrImagePull", "not found")])),
        (Check::Pods, Code::PodNotReady, pods(vec![pod(&json!({"phase": "Running"}))])),
        (Check::Pods, Code::RolloutStalled, pods(vec![ready_pod(), waiting("ErrImagePull", "not found")])),
        (Check::Service, Code::ServiceMissing, change(|cluster| cluster.service = Ok(None))),
        (Check::Service, Code::ServiceWithoutEndpoints, change(|cluster| cluster.slices = Ok(Vec::new()))),
    ]);
}

#[test]
fn a_crash_loop_has_the_last_message_and_a_mount_its_event() {
    let mut cluster = healthy();
    cluster.pods =
        Ok(vec![container(&json!({"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 3, "message": "error: no key\n"}}}))]);
    let found = findings(cluster).into_iter().find(|finding| finding.check == Check::Pods).unwrap();
    assert_eq!(found.seen, "pod agents-1: ended with exit code 3, 4 restarts: error: no key");

    let mut cluster = healthy();
    cluster.pods = Ok(vec![waiting("ContainerCreating", "")]);
    cluster.events = Ok(vec![json!({"reason": "FailedMount", "message": "secret \"x\" not found",
        "involvedObject": {"kind": "Pod", "name": "agents-1"}})]);
    let found = findings(cluster).into_iter().find(|finding| finding.check == Check::Pods).unwrap();
    assert_eq!(found.seen, "pod agents-1: phase Pending; FailedMount: secret \"x\" not found");
}

#[test]
fn exposure() {
    let exposed =
        |reason: &'static str| of_endpoint("/status/conditions", json!([condition("Exposed", "False", reason, "why")]));
    let gateway = |parents: Value| {
        change(move |cluster| {
            let mut with_gateway = endpoint();
            with_gateway["spec"]["exposure"] = json!({"gateway": {"parentRefs": [{"name": "edge"}]}});
            cluster.endpoint = Ok(Some(with_gateway));
            cluster.http_route = Ok(Some(json!({"status": {"parents": parents}})));
        })
    };
    let changed = |pointer: &'static str, value: Value| {
        change(move |cluster| {
            let mut changed = ingress("dev", "agents", "mcp.example.com");
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[field] = value;
            cluster.ingress = Ok(Some(changed));
        })
    };
    expect(vec![
        (Check::Exposure, Code::IngressMissing, change(|cluster| cluster.ingress = Ok(None))),
        (Check::Exposure, Code::IngressClassMissing, changed("/spec/ingressClassName", json!("ngnix"))),
        (Check::Exposure, Code::IngressClassMissing, changed("/spec/ingressClassName", Value::Null)),
        (Check::Exposure, Code::IngressWithoutAddress, changed("/status", json!({}))),
        (
            Check::Exposure,
            Code::HostTaken,
            change(|cluster| cluster.ingresses = Ok(vec![ingress("other", "web", "mcp.example.com")])),
        ),
        (Check::Exposure, Code::HostTaken, exposed("UrlTaken")),
        (Check::Exposure, Code::IngressClassMissing, exposed("NoDefaultIngressClass")),
        (Check::Exposure, Code::NotExposed, exposed("HostNotPermitted")),
        (Check::Exposure, Code::RouteNotAccepted, gateway(json!([]))),
        (
            Check::Exposure,
            Code::RouteNotAccepted,
            gateway(json!([{"parentRef": {"name": "edge"},
                "conditions": [condition("Accepted", "False", "NotAllowedByListeners", "no")]}])),
        ),
    ]);
}

#[test]
fn an_address_is_not_needed_if_the_endpoint_can_be_reached() {
    let mut cluster = healthy();
    let mut without = ingress("dev", "agents", "mcp.example.com");
    without["status"] = json!({});
    cluster.ingress = Ok(Some(without));
    let reply = crate::observation::HttpReply { status: 401, ..crate::observation::HttpReply::default() };
    let observed = Observations {
        cluster: Some(Box::new(cluster)),
        unauthenticated: Some(Ok(reply)),
        ..Observations::new(URL, time())
    };
    let found = diagnose(&observed).into_iter().find(|finding| finding.check == Check::Exposure).unwrap();
    assert_eq!((found.code(), found.severity()), (Some(Code::IngressAddressUnset), Severity::Warning));
}

#[test]
fn policies() {
    let policy = |spec: Value| json!({"metadata": {"name": "deny"}, "spec": spec});
    let policies = |policies: Vec<Value>| change(move |cluster| cluster.policies = Ok(policies));
    let deny = policy(json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
    let allow = policy(json!({"podSelector": {"matchLabels": labels()}, "ingress": [{}]}));
    let quota = json!({"metadata": {"name": "small"}, "status": {"hard": {"pods": "4"}, "used": {"pods": "4"}}});
    expect(vec![
        (Check::NetworkPolicy, Code::NetworkPolicyDenies, policies(vec![deny.clone()])),
        (
            Check::NetworkPolicy,
            Code::NetworkPolicyDenies,
            policies(vec![allow.clone(), policy(json!({"podSelector": {}, "policyTypes": ["Egress"]}))]),
        ),
        (Check::Quota, Code::QuotaReached, change(move |cluster| cluster.quotas = Ok(vec![quota]))),
    ]);
    let elsewhere = policy(json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}));
    for harmless in [vec![deny, allow], vec![elsewhere]] {
        let mut cluster = healthy();
        cluster.policies = Ok(harmless);
        assert!(findings(cluster).iter().all(|finding| finding.code().is_none()));
    }
}

#[test]
fn reports() {
    let conditions = |conditions: Value| of_endpoint("/status/conditions", conditions);
    let event = json!({"reason": "FailedScheduling", "message": "m", "count": 3,
        "lastTimestamp": "2027-01-15T07:30:00Z", "involvedObject": {"kind": "Pod", "name": "agents-1"}});
    let client = json!({"metadata": {"name": "ci"}, "spec": {"endpointRef": {"name": "agents"}},
        "status": {"conditions": [condition("CredentialsLoaded", "False", "SecretNotFound", "m")]}});
    expect(vec![
        (
            Check::Conditions,
            Code::ConditionFalse,
            conditions(json!([condition("LoginsReady", "False", "UserMalformed", "line 3")])),
        ),
        (Check::Conditions, Code::ConditionFalse, conditions(json!([condition("Ready", "False", "NameTaken", "m")]))),
        (Check::Conditions, Code::ConditionFalse, conditions(json!([condition("Stalled", "True", "Invalid", "m")]))),
        (
            Check::Conditions,
            Code::ConditionWarning,
            conditions(json!([condition("WritesConfined", "False", "WritesPolicyMissing", "m")])),
        ),
        (Check::Events, Code::WarningEvents, change(move |cluster| cluster.events = Ok(vec![event]))),
        (Check::Clients, Code::ClientNotReady, change(move |cluster| cluster.clients = Ok(vec![client]))),
    ]);
    let mut cluster = healthy();
    let old = json!({"reason": "FailedScheduling", "lastTimestamp": "2027-01-15T06:30:00Z",
        "involvedObject": {"kind": "Pod", "name": "agents-1"}});
    let other = json!({"reason": "FailedScheduling", "lastTimestamp": "2027-01-15T07:59:00Z",
        "involvedObject": {"kind": "Pod", "name": "agentsmith"}});
    cluster.events = Ok(vec![old, other]);
    let grant = |end: &str, revoked: Value| json!({"spec": {"expiresAt": end, "revoked": revoked}});
    let (later, before) = ("2027-02-01T00:00:00Z", "2027-01-01T00:00:00Z");
    cluster.grants =
        Ok(vec![grant(later, Value::Null), grant(later, json!({"at": before})), grant(before, Value::Null)]);
    let found = findings(cluster);
    assert!(found.iter().all(|finding| finding.code().is_none()), "{found:#?}");
    let grants = found.iter().find(|finding| finding.check == Check::Grants).unwrap();
    assert_eq!(grants.seen, "1 grants are active, 2 have ended");
}

#[test]
fn a_missing_permission_is_named_and_the_rest_is_examined() {
    let mut cluster = healthy();
    let permission = Permission { verb: "list", resource: "pods".to_owned(), namespace: Some("dev".to_owned()) };
    cluster.pods = Err(ReadFailure::Forbidden(permission));
    cluster.ingress = Ok(None);
    let found = findings(cluster);
    let pods = found.iter().find(|finding| finding.check == Check::Pods).unwrap();
    assert_eq!(pods.code(), Some(Code::ClusterForbidden));
    assert!(pods.seen.contains("kubectl auth can-i list pods -n dev"), "{}", pods.seen);
    let cause = found.iter().find(|finding| finding.is_failure()).and_then(Finding::code);
    assert_eq!(cause, Some(Code::IngressMissing));
}

#[test]
fn without_the_api_the_rest_of_the_cluster_is_skipped() {
    let mut cluster = ClusterObservations::new(EndpointTarget::Url(URL.to_owned()), time());
    cluster.kinds = Err(ReadFailure::Unavailable("connection refused".to_owned()));
    let found = findings(cluster);
    assert_eq!(found[0].code(), Some(Code::ClusterUnavailable));
    assert!(found[1..].iter().all(|finding| matches!(finding.outcome, Outcome::Skipped(_))), "{found:#?}");
}
