//! The rights that the chart gives are those that are used: none is missing, and none is too many. What operator and
//! servers ask of the API server is in its audit log.

use crate::{
    checks::{CHECKED, Checks, manifest},
    installed::{PINNED, install, operators},
    node::Node,
    stage::{CLIENT, Stage},
    support::{
        api_server::client_of,
        clock::ManualClock,
        operator::{OPERATOR, eventually},
    },
    tools::{CHART, NAMESPACE, rendered},
    uses::{self, Use, uses},
};
use jiff::SignedDuration;
use portcullis_core::{
    clock::{Clock as _, SystemClock},
    rng,
};
use portcullis_operator::{self, Settings, leader::Election};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_are_given_are_those_that_are_used() {
    let Some(node) = Node::start_with(&[("audit-policy.yaml", uses::POLICY)]).await else { return };
    node.portcullis_image().await;
    offer_more_kinds(&node);
    install(&node, Path::new(CHART), "test", &["--take-ownership"]);
    let options = json!({"authorization": {"mode": "Kubernetes"}, "clients": {"dynamicRegistration": {}}});
    let stage = Stage::set(&node, &options, None).await;

    people_and_their_agents(&stage).await;
    workspaces(&stage).await;
    Checks { stage: &stage }.prove().await;
    an_endpoint_of_every_shape(&stage).await;
    what_has_ended(&stage).await;
    what_is_idle_or_old(&stage).await;

    let servers = format!("system:serviceaccount:{}:portcullis-server-", stage.namespace);
    let cluster = ["portcullis-operator", "portcullis-operator-cluster", "portcullis-operator-api-server"];
    compare(&node, OPERATOR, &cluster);
    compare(&node, &servers, &["portcullis-server", "portcullis-server-exec"]);
}

/// No request was refused, none was beyond the roles, and each rule was used or is checked otherwise.
fn compare(node: &Node, account: &str, roles: &[&str]) {
    let asked = uses(node, account);
    let refused: Vec<_> = asked.iter().filter(|(_, codes)| codes.contains(&403)).collect();
    assert!(refused.is_empty(), "{account} was refused: {refused:#?}");
    let used: BTreeSet<Use> = asked.into_keys().collect();
    let granted = granted(roles);
    let beyond: Vec<_> = used.difference(&granted).collect();
    assert!(beyond.is_empty(), "{account} has rights from elsewhere: {beyond:#?}");
    let checked = CHECKED.map(|(group, resource, verb, _)| Use::new(group, resource, verb));
    let idle: Vec<_> = granted.difference(&used).filter(|right| !checked.contains(right)).collect();
    assert!(idle.is_empty(), "{account} does not need: {idle:#?}");
}

/// What the chart's roles of these names allow.
fn granted(names: &[&str]) -> BTreeSet<Use> {
    let documents: Vec<Value> = serde_saphyr::from_str_multiple(&rendered(None)).unwrap();
    let is_one = |one: &&Value| {
        let role = one["kind"] == "ClusterRole" || one["kind"] == "Role";
        role && names.iter().any(|name| one["metadata"]["name"] == *name)
    };
    let words = |value: &Value| {
        let words = value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
        words.collect::<Vec<_>>()
    };
    let mut all = BTreeSet::new();
    for rule in documents.iter().filter(is_one).flat_map(|role| role["rules"].as_array().unwrap()) {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                all.extend(words(&rule["verbs"]).iter().map(|verb| Use::new(&group, &resource, verb)));
            }
        }
    }
    all
}

/// The kinds of the Gateway API and of Traefik, and a class of Ingress that is Traefik's.
fn offer_more_kinds(node: &Node) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/controlplane/kinds.sh");
    let output = Command::new("bash").arg(script).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let folder = String::from_utf8(output.stdout).unwrap();
    let done = node.kubectl(&["apply", "--server-side", "-f", folder.trim()]);
    assert!(done.status.success(), "{done:?}");
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "traefik"},
        "spec": {"controller": "traefik.io/ingress-controller"},
    });
    node.apply(&class.to_string());
    let waited = node.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    assert!(waited.status.success(), "{waited:?}");
}

/// Consent, refreshing, a code that comes twice, revocation, registration.
async fn people_and_their_agents(stage: &Stage<'_>) {
    let origin = stage.url.strip_suffix("/mcp").unwrap();
    let http = reqwest::Client::new();
    let token = async |fields: &[(&str, &str)]| {
        let answer = http.post(format!("{origin}/token")).form(&fields).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let code = stage.code("ann").await;
    let redeem = Stage::redemption(&code);
    let (status, first) = token(&redeem).await;
    assert_eq!(status, 200, "{first}");
    let refresh = first["refresh_token"].as_str().unwrap();
    assert_eq!(
        token(&[("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", refresh)]).await.0,
        200
    );
    assert_eq!(token(&redeem).await.0, 400, "a code counts once");

    let registration = json!({"client_name": "An agent", "redirect_uris": ["http://127.0.0.1/callback"]});
    let answer = http.post(format!("{origin}/register")).json(&registration).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let client: Value = answer.json().await.unwrap();
    // Once it is gone from memory, it could have been made at another server a moment ago, and is asked for.
    let id = client["client_id"].as_str().unwrap();
    stage.kubectl(&["delete", "oac", id]);
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("client_id", id).finish();
    eventually("a deleted client is known nowhere", async || {
        let answer = http.get(format!("{origin}/authorize?{query}")).send().await.unwrap();
        (answer.status() == 400 && answer.text().await.unwrap().contains("Unknown agent")).then_some(())
    })
    .await;
    // Its verifier makes the operator tell every pod.
    stage.apply(&[json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": "robot"},
        "spec": {"endpointRef": {"name": "agents"}, "grants": ["client_credentials"], "scopes": ["workspaces:read"]},
    })]);
    stage.ready().await;
}

/// All that servers do with workspaces, and what they ask of somebody else's.
async fn workspaces(stage: &Stage<'_>) {
    let [ann, bob] = [stage.sign_in("ann").await, stage.sign_in("bob").await];
    let made = ann.make("web").await;
    assert_eq!(ann.run("web", "echo $((6 * 7))").await["stdout"], "42\n");
    ann.call("workspace_logs", &json!({"workspace": "web"})).await.unwrap();
    bob.call("get_workspace", &json!({"workspace": made["id"]})).await.unwrap_err();
    for tool in ["stop_workspace", "start_workspace"] {
        ann.call(tool, &json!({"workspace": "web"})).await.unwrap();
    }
    ann.make("gone").await;
    ann.call("delete_workspace", &json!({"workspace": "gone"})).await.unwrap();
    ann.call("get_workspace", &json!({"workspace": "gone"})).await.unwrap_err();
}

/// Everything that may surround an endpoint is made, repaired, and deleted when it is no longer wanted; and so is what
/// another version of the operator has left.
async fn an_endpoint_of_every_shape(stage: &Stage<'_>) {
    let endpoint = |spec: &Value| json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint", "metadata": {"name": "wide"}, "spec": spec});
    let url = "https://wide.example.com/mcp";
    let scaled = json!({"autoscaling": {"min": 2, "max": 3}});
    let cors = json!({"allowedOrigins": ["https://claude.ai"]});
    let rich = json!({
        "url": url, "cors": cors, "deployment": scaled, "exposure": {"ingress": {"className": "traefik"}},
        "tls": {"secretName": "wide-tls"},
    });
    let observed = "--for=jsonpath={.status.observedGeneration}";
    let told = |generation: u32| {
        stage.kubectl(&["wait", &format!("{observed}={generation}"), "mcp/wide", "--timeout=60s"]);
    };
    stage.apply(&[endpoint(&rich)]);
    told(1);
    let all = [
        "secrets",
        "configmaps",
        "serviceaccounts",
        "rolebindings",
        "services",
        "deployments",
        "ingresses",
        "networkpolicies",
        "poddisruptionbudgets",
        "horizontalpodautoscalers",
        "middlewares",
        "serverstransports",
    ];
    let names = async |kind: &str| {
        let shown = stage.kubectl(&["get", kind, "-l", "portcullis.dev/endpoint=wide", "-o", "name"]);
        shown.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    for kind in all {
        eventually(kind, async || (!names(kind).await.is_empty()).then_some(())).await;
        leave_behind(stage, kind);
    }
    for kind in all {
        eventually(&format!("what was left of {kind} is gone"), async || {
            stage.kubectl(&["get", kind, "-o", "name", "--ignore-not-found", "leftover"]).is_empty().then_some(())
        })
        .await;
    }
    // The same Event twice is one Event that came again.
    for _ in 0..2 {
        stage.kubectl(&[
            "patch",
            "service/wide",
            "--type=json",
            r#"--patch=[{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]"#,
        ]);
        eventually("it is repaired", async || {
            (stage.kubectl(&["get", "service/wide", "-o", "jsonpath={.spec.ports[0].port}"]) == "443").then_some(())
        })
        .await;
    }
    let poor = json!({
        "url": url, "deployment": {"replicas": 0}, "exposure": {"none": {}}, "network": {"networkPolicy": false},
    });
    stage.kubectl(&["replace", "-f", &manifest(stage, &endpoint(&poor))]);
    for kind in ["ingresses", "networkpolicies", "horizontalpodautoscalers", "middlewares", "serverstransports"] {
        eventually(&format!("no {kind}"), async || names(kind).await.is_empty().then_some(())).await;
    }
    let gateway =
        json!({"url": url, "deployment": {"replicas": 0}, "exposure": {"gateway": {"parentRefs": [{"name": "edge"}]}}});
    stage.kubectl(&["replace", "-f", &manifest(stage, &endpoint(&gateway))]);
    eventually("a route", async || (!names("httproutes").await.is_empty()).then_some(())).await;
    stage.kubectl(&["replace", "-f", &manifest(stage, &endpoint(&poor))]);
    eventually("no route", async || names("httproutes").await.is_empty().then_some(())).await;
}

/// Copies an object under a name that is no longer planned.
fn leave_behind(stage: &Stage<'_>, kind: &str) {
    let list: Value =
        serde_json::from_str(&stage.kubectl(&["get", kind, "-l", "portcullis.dev/endpoint=wide", "-o", "json"]))
            .unwrap();
    let mut copy = list["items"][0].clone();
    let metadata = copy["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| ["labels", "ownerReferences", "annotations"].contains(&field.as_str()));
    metadata.insert("name".to_owned(), json!("leftover"));
    if let Some(spec) = copy.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|field, _| !field.starts_with("clusterIP"));
    }
    copy.as_object_mut().unwrap().remove("status");
    stage.kubectl(&["create", "-f", &manifest(stage, &copy)]);
}

/// Grants and registrations whose time is up.
async fn what_has_ended(stage: &Stage<'_>) {
    let past = SystemClock.now() - SignedDuration::from_mins(1);
    let object = |kind: &str, name: &str, spec: Value| {
        let metadata = json!({"name": name, "labels": {"portcullis.dev/endpoint": "agents"}});
        json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
    };
    stage.apply(&[
        object(
            "OAuthGrant",
            "g-ended",
            json!({
                "endpointRef": {"name": "agents"}, "clientId": CLIENT, "user": {"id": "local:ann", "name": "ann"},
                "scopes": ["files:read"], "resource": stage.url, "expiresAt": past,
            }),
        ),
        object(
            "OAuthClient",
            "dyn-ended",
            json!({
                "endpointRef": {"name": "agents"}, "type": "Public", "grants": ["authorization_code"],
                "scopes": ["files:read"], "redirectUris": ["http://127.0.0.1/callback"],
                "registration": {"expiresAt": past},
            }),
        ),
    ]);
    stage.apply(&[object(
        "OAuthUser",
        "gone",
        json!({"endpointRef": {"name": "agents"}, "user": {"id": "local:gone"}, "disabled": true}),
    )]);
    stage.kubectl(&["wait", "--for=condition=Ended", "oau/gone", "--timeout=60s"]);
    eventually("both are collected", async || {
        let left = stage.kubectl(&["get", "oag/g-ended", "oac/dyn-ended", "--ignore-not-found", "-o", "name"]);
        left.is_empty().then_some(())
    })
    .await;
}

/// By a clock of the test's: the operator of the chart makes room for one in this process, with the same account.
async fn what_is_idle_or_old(stage: &Stage<'_>) {
    stage.kubectl(&["-n", NAMESPACE, "scale", "deployment/portcullis-operator", "--replicas=0"]);
    eventually("no operator is left", async || operators(stage.node).await.is_empty().then_some(())).await;
    let kubeconfig = stage.node.kubeconfig_for_service_account(NAMESPACE, "portcullis-operator").await;
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let election = Election { namespace: NAMESPACE.to_owned(), identity: "test".to_owned(), lease_seconds: 15 };
    let settings = Settings {
        clock: Arc::<ManualClock>::clone(&clock),
        rng: Arc::new(Mutex::new(rng::rng())),
        server_image: PINNED.to_owned(),
        agent_image: PINNED.to_owned(),
        pull_secrets: BTreeSet::new(),
        internal: Vec::new(),
        exposure: portcullis_plan::ExposureRules::default(),
        neighbours: portcullis_plan::Neighbours::default(),
        namespaces: Vec::new(),
        election,
        listen: "127.0.0.1:0".parse().unwrap(),
    };
    let end = CancellationToken::new();
    let running = tokio::spawn(portcullis_operator::run(client_of(&kubeconfig).await.unwrap(), settings, end.clone()));

    let mut template = crate::stage::template();
    template["metadata"]["name"] = json!("brief");
    template["spec"]["idleStop"] = json!("5m");
    template["spec"]["timeToLive"] = json!("1h");
    let workspace = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "brief"},
        "spec": {"endpointRef": {"name": "agents"}, "owner": {"id": "local:ann", "name": "ann"}, "displayName": "brief",
            "templateRef": {"name": "brief"}},
    });
    stage.apply(&[template, workspace]);
    stage.kubectl(&["wait", "--for=condition=Ready", "ws/brief", "--timeout=60s"]);
    clock.set(clock.now() + SignedDuration::from_mins(6));
    stage.kubectl(&["wait", "--for=jsonpath={.spec.running}=false", "ws/brief", "--timeout=30s"]);
    clock.set(clock.now() + SignedDuration::from_hours(2));
    stage.kubectl(&["wait", "--for=delete", "ws/brief", "--timeout=30s"]);
    end.cancel();
    running.await.unwrap().unwrap();
}
