//! The chart as text: linted, rendered with several values, judged; and `deploy/`, which is made of it.

use crate::{
    schemas,
    support::controlplane::ControlPlane,
    tools::{CHART, feed, rendered, template, tool},
};
use portcullis_operator::{
    self,
    metrics::{ReconcileOutcome, Subject},
};
use portcullis_plan::{ExposureRules, Peers};
use portcullis_telemetry::{self, metrics::Route};
use regex::Regex;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

const VALUES: [Option<&str>; 4] = [None, Some("namespaced"), Some("everything"), Some("bare")];
/// Kinds of the Prometheus operator, of which no API server here knows the schema.
const NO_SCHEMA: &str = "PodMonitor,PrometheusRule,ServiceMonitor";

#[test]
fn helm_finds_nothing_to_object_to() {
    let output = tool("helm").args(["lint", "--strict", CHART]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn every_object_is_valid_to_the_last_field() {
    let plane = ControlPlane::shared().await;
    let folder = tempfile::tempdir().unwrap();
    schemas::write(plane, folder.path()).await;
    let location = format!("{}/{}", folder.path().display(), schemas::LOCATION);
    let judge = |manifests: &str, skip: &str| {
        let args = ["-strict", "-summary", "-skip", skip, "-schema-location", &location, "-"];
        feed(tool("kubeconform").args(args), manifests)
    };
    for values in VALUES {
        let judged = judge(&rendered(values), NO_SCHEMA);
        assert!(judged.status.success(), "{values:?}: {}", String::from_utf8_lossy(&judged.stdout));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for example in ["quickstart", "people", "try", "workspaces"] {
        let judged = judge(&fs::read_to_string(root.join(format!("examples/{example}.yaml"))).unwrap(), "");
        assert!(judged.status.success(), "{example}: {}", String::from_utf8_lossy(&judged.stdout));
    }
    // Argo CD's and Flux's kinds have no schema here either: of these examples only the syntax is checked.
    for example in ["argocd", "flux"] {
        let text = fs::read_to_string(root.join(format!("examples/gitops/{example}.yaml"))).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_str_multiple(&text).unwrap();
        assert!(
            documents.iter().all(|one| one["kind"].is_string() && one["metadata"]["name"].is_string()),
            "{example}"
        );
    }
    // It is not that everything passes.
    let misspelt = rendered(None).replace("enableServiceLinks", "enableServiceLink");
    let judged = judge(&misspelt, NO_SCHEMA);
    assert!(String::from_utf8_lossy(&judged.stdout).contains("enableServiceLink"), "{judged:?}");
}

/// `container-image-pull-policy` wants `Always`: the tag of a release never moves, and where it is pulled each time, an
/// operator cannot start while the registry is away. Only values that say `Always` satisfy it.
#[test]
fn kube_score_finds_nothing_critical() {
    let pulled_once = "container-image-pull-policy";
    for (values, ignored) in [
        (None, vec![pulled_once]),
        (Some("namespaced"), vec![pulled_once]),
        (Some("everything"), vec![]),
        // Without its NetworkPolicy, what is missing is what was switched off.
        (Some("bare"), vec![pulled_once, "pod-networkpolicy"]),
    ] {
        let mut score = tool("kube-score");
        score.args(["score", "--output-format", "json", "--ignore-test", &ignored.join(","), "-"]);
        let judged = feed(&mut score, &rendered(values));
        let objects: Vec<Value> = serde_json::from_slice(&judged.stdout).unwrap();
        assert!(objects.iter().any(|object| object["object_name"].as_str().unwrap().contains("Deployment")));
        for object in &objects {
            for check in object["checks"].as_array().into_iter().flatten() {
                let critical = check["grade"].as_i64().is_some_and(|grade| grade <= 1) && check["skipped"] != true;
                assert!(!critical, "{values:?}: {}: {check:#}", object["object_name"]);
            }
        }
    }
}

#[test]
fn wrong_values_are_refused_with_the_place_and_the_reason() {
    for (wrong, told) in [
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("replica=3", "additional properties 'replica' not allowed"),
        ("image.tags=1", "at '/image': additional properties 'tags' not allowed"),
        (
            "image.pullPolicy=Sometimes",
            "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
        ),
        ("image.digest=latest", "at '/image/digest': 'latest' does not match pattern"),
        ("image.repository=", "at '/image/repository': minLength: got 0, want 1"),
        ("imagePullSecrets[0].name=A", "at '/imagePullSecrets/0/name': 'A' does not match pattern"),
        ("endpointImagePullSecrets[0].nam=a", "at '/endpointImagePullSecrets/0': missing property 'name'"),
        ("watch.namespaces={dev,dev}", "at '/watch/namespaces': items at 0 and 1 are equal"),
        ("watch.namespaces={Dev}", "at '/watch/namespaces/0': 'Dev' does not match pattern"),
        ("exposure.host={a}", "at '/exposure': additional properties 'host' not allowed"),
        ("internalCidrs={10.0.0.1}", "at '/internalCidrs/0': '10.0.0.1' does not match pattern"),
        ("log.format=xml", "at '/log/format': value must be one of 'json', 'text'"),
        ("crds.install=perhaps", "at '/crds/install': got string, want boolean"),
        ("serviceMonitor.interval=often", "at '/serviceMonitor/interval': 'often' does not match pattern"),
    ] {
        let refused = template(&["--set", wrong]);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && error.contains(told), "{wrong}: {error}");
    }
}

#[test]
fn an_operator_for_named_namespaces_has_no_rights_elsewhere() {
    let documents: Vec<Value> = serde_saphyr::from_str_multiple(&rendered(Some("namespaced"))).unwrap();
    let bindings = |kind: &str| {
        let of_kind = documents.iter().filter(|document| document["kind"] == kind);
        let named = |one: &Value| {
            let parts = [&one["metadata"]["namespace"], &one["roleRef"]["name"]];
            parts.map(|part| part.as_str().unwrap_or_default().to_owned()).join("/")
        };
        of_kind.map(named).collect::<Vec<_>>()
    };
    assert_eq!(bindings("ClusterRoleBinding"), ["/portcullis-operator-cluster"]);
    let mut namespaced = bindings("RoleBinding");
    namespaced.sort();
    assert_eq!(
        namespaced,
        [
            "default/portcullis-operator-api-server",
            "dev/portcullis-operator",
            "portcullis-system/portcullis-operator",
            "prod/portcullis-operator"
        ]
    );
}

#[test]
fn the_operator_understands_the_settings_of_the_chart() {
    let documents: Vec<Value> = serde_saphyr::from_str_multiple(&rendered(Some("everything"))).unwrap();
    let deployment = documents.iter().find(|document| document["kind"] == "Deployment").unwrap();
    let args = deployment.pointer("/spec/template/spec/containers/0/args").unwrap().as_array().unwrap();
    let setting = |name: &str| args.iter().find_map(|arg| arg.as_str()?.strip_prefix(name)).unwrap();
    let rules: ExposureRules = setting("--exposure=").parse().unwrap();
    assert!(
        rules.permits_annotation("dev", "example.com/team") && !rules.permits_annotation("prod", "example.com/team")
    );
    assert!(rules.permits_host("dev", "mcp.example.com") && !rules.permits_host("dev", "mcp.example.org"));
    assert!(rules.is_shared("mcp.example.com") && !rules.permits_class("dev", Some("inner")));
    let monitoring: Peers = setting("--monitoring-from=").parse().unwrap();
    assert_eq!(monitoring.0.len(), 1);
}

#[test]
fn each_pod_is_pulled_with_the_secrets_of_its_registry() {
    let pod = |values| {
        let documents: Vec<Value> = serde_saphyr::from_str_multiple(&rendered(values)).unwrap();
        let deployment = documents.iter().find(|document| document["kind"] == "Deployment").unwrap();
        deployment.pointer("/spec/template/spec").unwrap().clone()
    };
    let given = |pod: &Value| -> Vec<String> {
        let args = pod["containers"][0]["args"].as_array().unwrap().iter();
        args.filter_map(|arg| Some(arg.as_str()?.strip_prefix("--image-pull-secret=")?.to_owned())).collect()
    };
    let everything = pod(Some("everything"));
    assert_eq!(everything["imagePullSecrets"], json!([{"name": "registry"}]), "the operator's own");
    assert_eq!(given(&everything), ["registry", "mirror.eu"], "of servers and workspaces");
    let plain = pod(None);
    assert_eq!((&plain["imagePullSecrets"], given(&plain)), (&Value::Null, Vec::new()));
}

#[test]
fn servers_and_agents_may_have_images_of_their_own() {
    for (values, server, agent) in [
        (None, "ghcr.io/portcullis-dev/portcullis:", None),
        (
            Some("everything"),
            "registry.example.com/portcullis:1.2.2",
            Some("registry.example.com/portcullis-agent:1.2.3"),
        ),
    ] {
        let documents: Vec<Value> = serde_saphyr::from_str_multiple(&rendered(values)).unwrap();
        let deployment = documents.iter().find(|document| document["kind"] == "Deployment").unwrap();
        let variables = deployment.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap();
        let value = |name: &str| variables.iter().find(|one| one["name"] == name).and_then(|one| one["value"].as_str());
        assert!(value("PORTCULLIS_SERVER_IMAGE").unwrap().starts_with(server), "{values:?}");
        assert_eq!(value("PORTCULLIS_AGENT_IMAGE"), agent, "{values:?}");
    }
}

#[test]
fn alerts_are_about_metrics_that_exist() {
    let (operator, server) =
        (portcullis_operator::metrics::Metrics::default(), portcullis_telemetry::metrics::Metrics::default());
    operator.reconciled(Subject::Workspace, ReconcileOutcome::Done, Duration::ZERO);
    operator.set_leader(true);
    server.request_ends(Route::Mcp, 200, Duration::ZERO);
    server.files_rejected();
    server.state_stale(0.0);
    let exposed = operator.render().unwrap() + &server.encode().unwrap();
    let documents: Vec<Value> = serde_saphyr::from_str_multiple(&rendered(Some("everything"))).unwrap();
    let rule = documents.iter().find(|document| document["kind"] == "PrometheusRule").unwrap();
    let rules = rule["spec"]["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let metrics = Regex::new("portcullis_[a-z_]+").unwrap();
    let mut seen = 0;
    for rule in rules {
        let expression = rule["expr"].as_str().unwrap();
        for metric in metrics.find_iter(expression) {
            let line = exposed.lines().any(|line| line.split(['{', ' ']).next() == Some(metric.as_str()));
            assert!(line, "{} is not in\n{exposed}", metric.as_str());
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn the_charts_custom_resources_are_those_of_the_binary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let text = |path: &Path| (path.file_name().unwrap().to_owned(), fs::read_to_string(path).unwrap());
        entries.map(|path| text(&path)).collect::<BTreeMap<_, _>>()
    };
    assert!(files("crds") == files("charts/portcullis/files/crds"), "run `make crds`");
    let rendered = rendered(None);
    let mut definitions = rendered.split("\n---\n").filter(|one| one.contains("kind: CustomResourceDefinition"));
    assert!(definitions.all(|one| one.contains("helm.sh/resource-policy: keep")), "each stays when the chart goes");
}

#[test]
fn the_plain_manifests_are_those_of_the_chart() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Before the script is told by what helm there is.
    assert!(tool("helm").arg("version").output().unwrap().status.success());
    let made = tempfile::tempdir().unwrap();
    let script = Command::new("bash").arg(root.join("charts/render.sh")).arg(made.path()).output().unwrap();
    assert!(script.status.success(), "{script:?}");
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(made.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let kept = fs::read_to_string(root.join("deploy").join(&name)).unwrap_or_default();
        assert!(kept == fs::read_to_string(&path).unwrap(), "deploy/{name} is out of date; run `make deploy`");
        names.push(name);
    }
    // All of them are installed, after the namespace.
    let kustomization = fs::read_to_string(root.join("deploy/kustomization.yaml")).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&kustomization).unwrap();
    let mut listed: Vec<&str> =
        kustomization["resources"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(listed.remove(0), "namespace.yaml");
    listed.sort_unstable();
    names.sort();
    assert_eq!(listed, names);
}
