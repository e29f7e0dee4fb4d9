//! `portcullis doctor` with a kubeconfig: broken endpoints, each of which has its cause in the cluster. There is no operator
//! and no kubelet: the test writes what they would report.

mod objects;

use crate::{dev::Dev, support::controlplane::ControlPlane};
use objects::{Objects, Stage, container, waiting};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Runs the program, and returns its report.
fn doctor(kubeconfig: &Path, args: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("doctor").args(args).arg("--json").arg("--kubeconfig").arg(kubeconfig);
    // No stored sign-in is used.
    let output = command.env("XDG_STATE_HOME", "/no/such/folder").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let failed = report["result"] == "failure";
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{report:#}");
    report
}

/// The finding with this code.
fn finding<'a>(report: &'a Value, code: &str) -> &'a Value {
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["code"] == code).unwrap_or_else(|| panic!("no {code} in {report:#}"))
}

type Change = fn(&mut Objects);

/// Faults, each with the code that must be the first failure, and words of what was seen.
const FAULTS: &[(&str, &str, Change)] = &[
    ("operator-missing", "not about its newest generation", |objects| objects.conditions = None),
    ("reference-missing", "there is no Secret \"people\"", |objects| objects.secrets.clear()),
    ("reference-incomplete", "has no key \"htpasswd\"", |objects| {
        objects.secrets[0]["stringData"] = json!({"users": "ann:x"});
    }),
    ("secret-not-labelled", "portcullis.dev/endpoint=agents", |objects| {
        objects.secrets[0]["metadata"]["labels"] = json!({});
    }),
    ("deployment-missing", "no Deployment", |objects| (objects.deployment, objects.pod) = (None, None)),
    ("scaled-to-zero", "0 replicas", |objects| {
        objects.deployment.as_mut().unwrap()["spec"]["replicas"] = json!(0);
        objects.pod = None;
    }),
    ("image-pull-failed", "manifest unknown", |objects| {
        objects.pod = Some(waiting("ImagePullBackOff", "example.com/portcullis: manifest unknown"));
    }),
    ("container-config-error", "secret \"agents-clients\" not found", |objects| {
        objects.pod = Some(waiting("CreateContainerConfigError", "secret \"agents-clients\" not found"));
    }),
    ("out-of-memory", "memory limit", |objects| {
        let killed = json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}});
        objects.pod = Some(container(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), &killed));
    }),
    ("crash-loop", "exit code 3, 4 restarts: error: config.json is invalid", |objects| {
        let ended =
            json!({"terminated": {"reason": "Error", "exitCode": 3, "message": "error: config.json is invalid"}});
        objects.pod = Some(container(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), &ended));
    }),
    ("pod-unschedulable", "2 Insufficient memory", |objects| {
        objects.pod = Some(json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/2 nodes are available: 2 Insufficient memory."}]}));
    }),
    ("pods-refused", "quota", |objects| {
        objects.pod = None;
        objects.deployment.as_mut().unwrap()["spec"]["paused"] = json!(false);
        let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
        objects.first.push(("/api/v1", "resourcequotas", quota));
    }),
    ("service-missing", "no Service", |objects| (objects.service, objects.slice) = (None, false)),
    ("service-without-endpoints", "selects 0 of them", |objects| {
        objects.slice = false;
        objects.service.as_mut().unwrap()["spec"]["selector"] = json!({"app": "another"});
    }),
    ("ingress-missing", "no Ingress", |objects| objects.ingress = None),
    ("ingress-class-missing", "no IngressClass \"edgy\"; there are: doctor-edge", |objects| {
        objects.ingress.as_mut().unwrap()["spec"]["ingressClassName"] = json!("edgy");
    }),
    ("ingress-without-address", "is empty", |objects| objects.address = false),
    ("host-taken", "other also has", |objects| {
        let mut other = objects.ingress.clone().unwrap();
        other["metadata"]["name"] = json!("other");
        objects.first.push(("/apis/networking.k8s.io/v1", "ingresses", other));
    }),
    ("not-exposed", "HostNotPermitted: the host is not permitted", |objects| {
        objects.condition("Exposed", "HostNotPermitted", "the host is not permitted");
    }),
    ("tls-secret-missing", "no Secret \"cert\"", |objects| objects.tls(None)),
    ("tls-secret-other-host", "is for other.example.com", |objects| {
        objects.tls(Some(("other.example.com", 2090)));
    }),
    ("tls-secret-expired", "expired 2020-01-01", |objects| {
        let host = objects.host.clone();
        objects.tls(Some((host.as_str(), 2020)));
    }),
    ("network-policy-denies", "Ingress is denied by deny-all", |objects| {
        let policy = json!({"metadata": {"name": "deny-all"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
        objects.first.push(("/apis/networking.k8s.io/v1", "networkpolicies", policy));
    }),
    ("condition-false", "UserMalformed: line 3 is not name:hash", |objects| {
        objects.condition("LoginsReady", "UserMalformed", "line 3 is not name:hash");
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_cause_in_the_cluster_comes_before_its_symptoms() {
    let plane = ControlPlane::start().await;
    let admin = plane.admin_kubeconfig();
    plane.apply(objects::INGRESS_CLASS);

    // Nothing is wrong in the cluster, so the cause is outside.
    let stage = Stage::new(&plane).await;
    stage.create(|_| {}).await;
    let report = doctor(admin, &["--endpoint", &stage.endpoint()]);
    assert_eq!(report["cause"], "dns-failed", "{report:#}");
    finding(&report, "operator-not-found");
    let by_url = doctor(admin, &[&stage.url(), "--namespace", &stage.namespace]);
    assert_eq!((&by_url["cause"], &by_url["url"]), (&json!("dns-failed"), &json!(stage.url())), "{by_url:#}");
    let elsewhere = doctor(admin, &["https://elsewhere.invalid/mcp"]);
    assert_eq!(elsewhere["cause"], "endpoint-not-found", "{elsewhere:#}");
    let seen = finding(&elsewhere, "endpoint-not-found")["seen"].as_str().unwrap();
    assert!(seen.contains(&format!("{} has {}", stage.endpoint(), stage.url())), "{seen}");

    for (code, seen, change) in FAULTS {
        let stage = Stage::new(&plane).await;
        stage.create(change).await;
        if *code == "pods-refused" {
            stage.replica_failure().await;
        }
        let report = doctor(admin, &["--endpoint", &stage.endpoint()]);
        assert_eq!(report["cause"], *code, "{report:#}");
        let found = finding(&report, code);
        assert!(found["seen"].as_str().unwrap().contains(seen), "{code}: {found:#}");
        finding(&report, "dns-failed");
    }

    missing_permissions_are_named(&plane).await;
    a_client_without_its_secret_is_the_cause(&plane).await;
    an_operator_that_does_not_run_is_the_cause(&plane).await;
    clusters_that_cannot_be_read(&plane).await;
}

/// The user may read only the McpEndpoint.
async fn missing_permissions_are_named(plane: &ControlPlane) {
    let stage = Stage::new(plane).await;
    stage.create(|objects| objects.condition("Exposed", "UrlTaken", "another endpoint has the URL")).await;
    for args in [
        ["create", "role", "reader", "--verb=get,list", "--resource=mcpendpoints.portcullis.dev"].as_slice(),
        &["create", "rolebinding", "reader", "--role=reader", "--user=reader"],
    ] {
        let made = plane.kubectl(&[args, &["-n", &stage.namespace]].concat());
        assert!(made.status.success(), "{made:?}");
    }
    let reader: PathBuf = plane.kubeconfig_for_user("reader", &[]);
    let report = doctor(&reader, &["--endpoint", &stage.endpoint()]);
    assert_eq!(report["cause"], "host-taken", "{report:#}");
    let findings = report["findings"].as_array().unwrap();
    let forbidden: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["code"] == "cluster-forbidden")
        .map(|finding| finding["check"].as_str().unwrap())
        .collect();
    for check in ["operator", "references", "pods", "service", "network-policy", "events", "clients"] {
        assert!(forbidden.contains(&check), "{check}: {report:#}");
    }
    let said = findings.iter().any(|finding| {
        let seen = finding["seen"].as_str().unwrap_or_default();
        seen.contains(&format!("kubectl auth can-i get deployments.apps -n {}", stage.namespace))
    });
    assert!(said, "{report:#}");
}

/// Everything else works, from outside too.
async fn a_client_without_its_secret_is_the_cause(plane: &ControlPlane) {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::serve(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml"), folder.path());
    let url = dev.url();
    let stage = Stage::new(plane).await;
    let changed = url.clone();
    stage.create(move |objects| objects.endpoint["spec"]["url"] = json!(changed)).await;
    let healthy = doctor(plane.admin_kubeconfig(), &[&url]);
    assert_eq!(healthy["cause"], Value::Null, "{healthy:#}");
    let client = json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": "ci"}, "spec": {"endpointRef": {"name": "agents"}, "preset": "custom",
        "grants": ["client_credentials"], "scopes": ["files:read"], "existingSecret": {"name": "away"}}});
    stage.post("/apis/portcullis.dev/v1alpha1", "oauthclients", &client).await;
    let conditions =
        [objects::condition("CredentialsLoaded", "False", "SecretNotFound", "there is no Secret \"away\"")];
    let status = json!({"conditions": conditions});
    stage.patch_status("/apis/portcullis.dev/v1alpha1", "oauthclients/ci", &status).await;
    let report = doctor(plane.admin_kubeconfig(), &["--endpoint", &stage.endpoint()]);
    assert_eq!((&report["cause"], &report["url"]), (&json!("client-not-ready"), &json!(url)), "{report:#}");
    let found = finding(&report, "client-not-ready");
    assert_eq!(
        (&found["subject"], &found["seen"]),
        (&json!("ci"), &json!("SecretNotFound: there is no Secret \"away\""))
    );
}

/// The operator is found by the labels of the chart.
async fn an_operator_that_does_not_run_is_the_cause(plane: &ControlPlane) {
    let system = Stage::new(plane).await;
    let labels = json!({"app.kubernetes.io/name": "portcullis", "app.kubernetes.io/component": "operator"});
    let mut deployment = objects::deployment(&labels);
    deployment["metadata"] = json!({"name": "portcullis-operator", "labels": labels});
    system.post("/apis/apps/v1", "deployments", &deployment).await;
    system.pod(&labels, &waiting("ErrImagePull", "denied")).await;
    let stage = Stage::new(plane).await;
    stage.create(|objects| objects.conditions = None).await;
    let report = doctor(plane.admin_kubeconfig(), &["--endpoint", &stage.endpoint()]);
    assert_eq!(report["cause"], "operator-not-ready", "{report:#}");
    let seen = finding(&report, "operator-not-ready")["seen"].as_str().unwrap();
    assert!(seen.contains("image-pull-failed") && seen.contains("denied"), "{seen}");
}

/// The last one: it removes the custom resource definitions.
async fn clusters_that_cannot_be_read(plane: &ControlPlane) {
    let folder = tempfile::tempdir().unwrap();
    let away = folder.path().join("kubeconfig");
    let text = std::fs::read_to_string(plane.admin_kubeconfig()).unwrap().replace(plane.url(), "https://127.0.0.1:1");
    std::fs::write(&away, text).unwrap();
    let report = doctor(&away, &["https://agents.invalid/mcp"]);
    assert_eq!(report["cause"], "dns-failed", "{report:#}");
    assert_eq!(finding(&report, "cluster-unavailable")["severity"], "warning");
    let report = doctor(&away, &["--endpoint", "default/agents"]);
    assert_eq!(
        (&report["cause"], &report["url"]),
        (&json!("endpoint-not-read"), &json!("default/agents")),
        "{report:#}"
    );

    let names = [
        "mcpendpoints",
        "oauthclients",
        "oauthgrants",
        "oauthaccounts",
        "oauthusers",
        "workspaces",
        "workspacetemplates",
    ];
    for name in names {
        let deleted = plane.kubectl(&["delete", "crd", &format!("{name}.portcullis.dev"), "--wait=false"]);
        assert!(deleted.status.success(), "{deleted:?}");
    }
    crate::support::operator::eventually("the kinds are removed", async || {
        let kinds = plane.kubectl(&["get", "--raw", "/apis/portcullis.dev/v1alpha1"]);
        (!kinds.status.success()).then_some(())
    })
    .await;
    let report = doctor(plane.admin_kubeconfig(), &["https://agents.invalid/mcp"]);
    assert_eq!(report["cause"], "definitions-missing", "{report:#}");
}
