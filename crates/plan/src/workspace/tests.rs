//! Tests of the plan of a workspace: complete rendered objects, and the effects of changes.

use crate::workspace::{
    Live, PodRevision, SecretAccess, SecretRefusal, Secrets, StartBlocker, WorkspaceInputs, WorkspacePlan, plan,
};
use insta::assert_yaml_snapshot;
use jiff::Timestamp;
use portcullis_api::{Workspace, WorkspaceTemplateSpec};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PLAIN: &str = "pod: {image: 'debian:bookworm'}";

const FULL: &str = "
parameters:
- {name: size, type: enum, options: [small, large], default: small}
- {name: memory, default: 2Gi}
- {name: greeting, default: 'it costs $5 $(HOME)'}
pod:
  image: registry.example.com/$(parameters.size):1
  imagePullPolicy: Always
  imagePullSecrets: [{name: registry}]
  command: [postgres, -D, $(HOME)/data, --greet=$(parameters.greeting)]
  env:
  - {name: GREETING, value: '$(GREETED) $(parameters.greeting)'}
  - {name: EMPTY, value: ''}
  - {name: TOKEN, secretKeyRef: {name: tokens, key: npm}}
  - {name: PORTCULLIS_HOME, value: /elsewhere}
  resources: {requests: {cpu: '0.5', memory: 1024Mi}, limits: {memory: $(parameters.memory)}}
  runAsUser: 1234
  runtimeClassName: gvisor
  nodeSelector: {pool: agents}
  tolerations: [{key: agents, operator: Exists, effect: NoSchedule}]
storage: {size: 1024Mi, storageClassName: fast, mountPath: /tmp/home, onDelete: Retain}
egress: Custom
egressRules:
- {to: [{podSelector: {matchLabels: {app: cache}}}], ports: [{port: 6379, protocol: TCP}]}
idleStop: 2h
timeToLive: 720h
";

/// A change of a scenario between plans.
type Change = fn(&mut PlanScenario);

/// The inputs of a plan, which a test changes between plans.
struct PlanScenario {
    workspace: Workspace,
    template: Option<WorkspaceTemplateSpec>,
    has_endpoint: bool,
    beyond_quota: Option<u32>,
    secrets: Secrets,
    live: Option<Live>,
    agent_image: &'static str,
    pull_secrets: BTreeSet<String>,
    now: Timestamp,
}

fn template(spec: &str) -> WorkspaceTemplateSpec {
    serde_saphyr::from_str(spec).unwrap()
}

impl PlanScenario {
    fn new(spec: &str) -> Self {
        let workspace = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Workspace",
            "metadata": {
                "name": "ws-1", "namespace": "dev", "uid": "workspace-uid", "creationTimestamp": "2026-03-01T09:00:00Z",
            },
            "spec": {
                "endpointRef": {"name": "agents"}, "owner": {"id": "local:alice", "name": "alice"},
                "displayName": "web", "templateRef": {"name": "debian"},
            },
        });
        Self {
            workspace: serde_json::from_value(workspace).unwrap(),
            template: Some(template(spec)),
            has_endpoint: true,
            beyond_quota: None,
            secrets: [("tokens".to_owned(), SecretAccess::Shared)].into(),
            live: None,
            agent_image: "ghcr.io/portcullis-dev/portcullis:1.2.3",
            pull_secrets: BTreeSet::new(),
            now: "2026-03-01T10:00:00.25Z".parse().unwrap(),
        }
    }

    fn plan(&self) -> WorkspacePlan {
        let internal = ["198.51.100.0/24", "8.8.8.8/24", "2606:4700::/32", "fd00::/8"].map(|net| net.parse().unwrap());
        plan(&WorkspaceInputs {
            workspace: &self.workspace,
            template: self.template.as_ref(),
            has_endpoint: self.has_endpoint,
            beyond_quota: self.beyond_quota,
            secrets: &self.secrets,
            live: self.live.as_ref(),
            agent_image: self.agent_image,
            pull_secrets: &self.pull_secrets,
            internal: &internal,
            now: self.now,
        })
        .unwrap()
    }

    /// Plans, and makes the planned objects the live ones. The pod runs if the StatefulSet is scaled up.
    fn apply(&mut self) -> WorkspacePlan {
        let plan = self.plan();
        if let Some(set) = find(&plan, "StatefulSet") {
            let pod_revision = set["metadata"]["annotations"]["portcullis.dev/recipe"].as_str().unwrap();
            let storage = &set["spec"]["volumeClaimTemplates"][0]["spec"];
            self.live = Some(Live {
                pod_revision: Some(serde_json::from_str(pod_revision).unwrap()),
                scaled_up: set["spec"]["replicas"] == 1,
                started_at: plan.started_at,
                running: set["spec"]["replicas"] == 1,
                volume: Some((
                    storage["resources"]["requests"]["storage"].as_str().unwrap().to_owned(),
                    storage["storageClassName"].as_str().map(ToOwned::to_owned),
                )),
            });
        }
        plan
    }
}

fn find(plan: &WorkspacePlan, kind: &str) -> Option<Value> {
    let found = plan.objects.iter().find(|planned| planned.kind() == kind)?;
    Some(serde_json::to_value(&found.object).unwrap())
}

fn image(plan: &WorkspacePlan) -> Value {
    find(plan, "StatefulSet").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

fn replicas(plan: &WorkspacePlan) -> Option<i64> {
    find(plan, "StatefulSet")?["spec"]["replicas"].as_i64()
}

#[test]
fn a_plain_workspace() {
    let plan = PlanScenario::new(PLAIN).plan();
    assert_yaml_snapshot!("plain-stateful-set", find(&plan, "StatefulSet").unwrap());
    assert_yaml_snapshot!("plain-network-policy", find(&plan, "NetworkPolicy").unwrap());
    assert_eq!(plan.objects.len(), 2);
    assert_eq!((plan.home.as_deref(), plan.idle_at, plan.expires_at), (Some("/home/dev"), None, None));
}

#[test]
fn a_workspace_with_everything() {
    let plan = PlanScenario::new(FULL).plan();
    assert_yaml_snapshot!("full-stateful-set", find(&plan, "StatefulSet").unwrap());
    assert_yaml_snapshot!("full-network-policy", find(&plan, "NetworkPolicy").unwrap());
    assert_eq!(plan.idle_at, Some("2026-03-01T12:00:00.25Z".parse().unwrap()));
    assert_eq!(plan.expires_at, Some("2026-03-31T09:00:00Z".parse().unwrap()));
}

#[test]
fn a_workspace_without_egress() {
    let plan = PlanScenario::new(&format!("{PLAIN}\negress: None")).plan();
    let policy = &find(&plan, "NetworkPolicy").unwrap()["spec"];
    assert_eq!((&policy["egress"], &policy["policyTypes"]), (&json!([]), &json!(["Ingress", "Egress"])));
}

#[test]
fn what_runs_is_not_restarted_and_the_next_start_is_up_to_date() {
    let mut scenario = PlanScenario::new(&format!("{PLAIN}\nstorage: {{size: 1Gi}}"));
    let first = scenario.apply();
    assert_eq!((first.up, first.outdated, first.started_at), (true, false, Some(scenario.now)));
    assert_eq!(scenario.plan().objects, first.objects, "a plan of what it planned plans the same");

    scenario.template =
        Some(template("pod: {image: 'debian:trixie'}\nstorage: {size: 2Gi}\nidleStop: 1h\negress: None"));
    scenario.agent_image = "ghcr.io/portcullis-dev/portcullis:2";
    let running = scenario.apply();
    assert_eq!((image(&running), running.outdated), (json!("debian:bookworm"), true));
    assert_eq!(
        find(&running, "StatefulSet").unwrap()["spec"]["template"],
        find(&first, "StatefulSet").unwrap()["spec"]["template"]
    );
    assert_eq!(find(&running, "NetworkPolicy").unwrap()["spec"]["egress"], json!([]), "egress follows at once");
    assert!(running.idle_at.is_some(), "and so does the idle stop");

    scenario.workspace.spec.running = false;
    let stopped = scenario.apply();
    assert_eq!((replicas(&stopped), image(&stopped), stopped.outdated), (Some(0), json!("debian:bookworm"), false));
    assert_eq!((stopped.started_at, stopped.idle_at), (None, None));

    scenario.workspace.spec.running = true;
    scenario.now = "2026-03-02T10:00:00Z".parse().unwrap();
    let again = scenario.apply();
    assert_eq!((replicas(&again), image(&again), again.outdated), (Some(1), json!("debian:trixie"), false));
    assert_eq!(again.started_at, Some(scenario.now));
    let set = find(&again, "StatefulSet").unwrap();
    assert_eq!(set["spec"]["template"]["spec"]["initContainers"][0]["image"], "ghcr.io/portcullis-dev/portcullis:2");
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "1Gi");
}

#[test]
fn only_what_changes_the_pod_makes_it_outdated() {
    let row = "parameters: [{name: a, default: '1'}]\npod: {image: 'debian:bookworm', env: [{name: A, value: $(parameters.a)}]}";
    let rows: [(&str, Change, bool); 9] = [
        ("a description", |w| w.template.as_mut().unwrap().description = "new".to_owned(), false),
        ("a size", |w| w.template.as_mut().unwrap().storage.size = "1Ti".to_owned(), false),
        ("the agent", |w| w.agent_image = "example.com/another", false),
        ("the agent's registry", |w| w.pull_secrets = ["agent".to_owned()].into(), false),
        ("the template is gone", |w| w.template = None, false),
        ("a variable", |w| w.template.as_mut().unwrap().pod.env.clear(), true),
        ("a mount path", |w| w.template.as_mut().unwrap().storage.mount_path = "/work".to_owned(), true),
        ("a parameter", |w| drop(w.workspace.spec.parameters.insert("a".to_owned(), "2".to_owned())), true),
        (
            "a parameter that is gone",
            |w| drop(w.workspace.spec.parameters.insert("b".to_owned(), "2".to_owned())),
            true,
        ),
    ];
    for (what, change, outdated) in rows {
        let mut scenario = PlanScenario::new(row);
        let before = scenario.apply();
        change(&mut scenario);
        let after = scenario.plan();
        assert_eq!((after.outdated, after.up, after.blocker.clone()), (outdated, true, None), "{what}");
        let pod = |plan| find(plan, "StatefulSet").unwrap()["spec"]["template"].clone();
        assert_eq!(pod(&after), pod(&before), "{what}");
    }
}

#[test]
fn what_does_not_run_is_made_by_the_template_of_today() {
    let mut scenario = PlanScenario::new("pod: {image: 'debian:bokworm'}");
    scenario.apply();
    // The image cannot be pulled, and the template is corrected.
    scenario.live.as_mut().unwrap().running = false;
    scenario.template = Some(template(PLAIN));
    let mended = scenario.plan();
    assert_eq!((image(&mended), mended.started_at), (json!("debian:bookworm"), Some(scenario.now)));
    // The annotation of a running workspace was damaged: only the template is left.
    scenario.live.as_mut().unwrap().pod_revision = None;
    scenario.live.as_mut().unwrap().running = true;
    assert_eq!(image(&scenario.plan()), json!("debian:bookworm"));
}

#[test]
fn a_blocker_prevents_a_start_and_stops_nothing() {
    let rows: [(Change, StartBlocker); 4] = [
        (|w| w.template = None, StartBlocker::TemplateNotFound("debian".to_owned())),
        (
            |w| drop(w.workspace.spec.parameters.insert("b".to_owned(), "2".to_owned())),
            StartBlocker::InvalidParameters("there is no parameter \"b\"; the template has none".to_owned()),
        ),
        (|w| w.beyond_quota = Some(5), StartBlocker::QuotaExceeded(5)),
        (|w| w.has_endpoint = false, StartBlocker::EndpointNotFound("agents".to_owned())),
    ];
    for (change, blocker) in rows {
        let mut never_started = PlanScenario::new(PLAIN);
        change(&mut never_started);
        let plan = never_started.plan();
        assert_eq!((plan.up, plan.objects.len(), plan.blocker.as_ref()), (false, 0, Some(&blocker)));

        let mut runs = PlanScenario::new(PLAIN);
        let before = runs.apply();
        change(&mut runs);
        let plan = runs.apply();
        assert_eq!((plan.up, &plan.objects), (true, &before.objects), "{blocker}");
        let unreachable = matches!(blocker, StartBlocker::EndpointNotFound(_));
        assert_eq!(plan.blocker, unreachable.then(|| blocker.clone()));
        // A crash does not stop the workspace.
        runs.live.as_mut().unwrap().running = false;
        assert_eq!(replicas(&runs.plan()), Some(1), "{blocker}");

        runs.workspace.spec.running = false;
        let stopped = runs.apply();
        assert_eq!((replicas(&stopped), stopped.up), (Some(0), false), "{blocker}");
        runs.workspace.spec.running = true;
        let kept_down = runs.plan();
        assert_eq!((replicas(&kept_down), kept_down.blocker), (Some(0), Some(blocker)));
    }
}

#[test]
fn one_that_is_made_stopped_has_nothing() {
    let mut scenario = PlanScenario::new(PLAIN);
    scenario.workspace.spec.running = false;
    let plan = scenario.plan();
    assert!(plan.objects.is_empty() && !plan.up && plan.blocker.is_none());
    assert_eq!(plan.home.as_deref(), Some("/home/dev"));
}

/// Makes the live pod revision that of an older operator, whose pod revisions had no layout.
fn started_before(scenario: &mut PlanScenario) {
    let live = scenario.live.as_mut().unwrap();
    let mut pod_revision = serde_json::to_value(live.pod_revision.as_ref().unwrap()).unwrap();
    for added in ["layout", "sized"] {
        pod_revision.as_object_mut().unwrap().remove(added).unwrap();
    }
    live.pod_revision = Some(serde_json::from_value(pod_revision).unwrap());
}

#[test]
fn one_that_was_started_by_an_older_operator_keeps_its_pod_until_it_starts_again() {
    let mut scenario = PlanScenario::new(PLAIN);
    scenario.apply();
    started_before(&mut scenario);
    let running = scenario.apply();
    assert!(running.up && running.outdated, "a restart makes the binary read-only");
    // A difference would restart every running workspace when the operator is upgraded.
    assert_yaml_snapshot!("pod-from-before", find(&running, "StatefulSet").unwrap()["spec"]["template"]);
    scenario.workspace.spec.running = false;
    scenario.apply();
    scenario.workspace.spec.running = true;
    let mounts = |plan: &WorkspacePlan| {
        let set = find(plan, "StatefulSet").unwrap();
        set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].clone()
    };
    assert_eq!(mounts(&scenario.apply()), mounts(&PlanScenario::new(PLAIN).plan()));
}

#[test]
fn the_policy_on_exec_names_the_binary_that_all_workspaces_have() {
    let policy = include_str!("../../../../deploy/exec-policy.yaml");
    let command = format!("['{}', 'agent', 'connect']", portcullis_core::agent_paths::BINARY);
    assert!(policy.contains(&command));
    assert_eq!(
        portcullis_core::agent_paths::BINARY,
        "/run/portcullis/portcullis",
        "that of workspaces that run already"
    );
}

/// Apart from the image, pods are the same for every image: pods of an older operator stay as they are, and older
/// images work.
#[test]
fn the_agent_comes_from_any_image_whose_entry_point_knows_it() {
    for image in ["ghcr.io/portcullis-dev/portcullis:0.1.0", "ghcr.io/portcullis-dev/portcullis-agent:0.1.0"] {
        let mut scenario = PlanScenario::new(PLAIN);
        scenario.agent_image = image;
        let plan = scenario.plan();
        let pod = &find(&plan, "StatefulSet").unwrap()["spec"]["template"]["spec"];
        let installer = &pod["initContainers"][0];
        assert_eq!((&installer["image"], &installer["command"]), (&json!(image), &Value::Null));
        assert_eq!(installer["args"], json!(["agent", "install", "/run/portcullis"]));
        assert_eq!(pod["containers"][0]["command"], json!(["/run/portcullis/portcullis", "agent", "run"]));
    }
}

#[test]
fn the_agents_image_is_pulled_with_the_operators_secrets_too() {
    let mut scenario = PlanScenario::new(FULL);
    scenario.pull_secrets = ["agent", "registry"].map(ToOwned::to_owned).into();
    let pod = |plan: &WorkspacePlan| find(plan, "StatefulSet").unwrap()["spec"]["template"]["spec"].clone();
    let started = scenario.apply();
    assert_eq!(pod(&started)["imagePullSecrets"], json!([{"name": "registry"}, {"name": "agent"}]));
    // A running pod keeps its secrets; the next start uses the new ones.
    scenario.pull_secrets.clear();
    assert_eq!(scenario.plan().objects, started.objects);
    scenario.live.as_mut().unwrap().running = false;
    assert_eq!(pod(&scenario.plan())["imagePullSecrets"], json!([{"name": "registry"}]));
}

#[test]
fn a_pod_revision_of_today_is_read_tomorrow() {
    let pod_revision = PodRevision::new(&template(FULL), &[].into(), "agent", &["agent".to_owned()].into()).unwrap();
    let written = serde_json::to_string(&pod_revision).unwrap();
    assert_eq!(serde_json::from_str::<PodRevision>(&written).unwrap(), pod_revision);
}

const SECRETIVE: &str = "pod: {image: 'debian:bookworm', env: [{name: TOKEN, secretKeyRef: {name: tokens, key: npm}}]}";

fn not_shared() -> SecretRefusal {
    SecretRefusal::NotShared { secret: "tokens".to_owned(), namespace: "dev".to_owned() }
}

#[test]
fn a_workspace_reads_secrets_that_opted_in_only() {
    let managed = SecretRefusal::Managed { secret: "tokens".to_owned() };
    for (access, refusal) in
        [(Some(SecretAccess::Shared), None), (None, Some(not_shared())), (Some(SecretAccess::Managed), Some(managed))]
    {
        let mut scenario = PlanScenario::new(SECRETIVE);
        scenario.secrets = access.map(|access| ("tokens".to_owned(), access)).into_iter().collect();
        let plan = scenario.plan();
        assert_eq!((plan.up, plan.objects.is_empty()), (refusal.is_none(), refusal.is_some()), "{access:?}");
        assert_eq!(plan.blocker, refusal.map(StartBlocker::SecretRefused), "{access:?}");
    }
    let said = not_shared().to_string();
    assert!(said.contains("kubectl label --namespace dev secret tokens portcullis.dev/workspaces=true"), "{said}");
}

#[test]
fn a_secret_that_is_withdrawn_stops_the_next_start_and_nothing_that_runs() {
    let mut scenario = PlanScenario::new(SECRETIVE);
    let before = scenario.apply();
    assert_eq!(before.next_start, None);
    scenario.secrets.clear();
    let runs = scenario.apply();
    assert_eq!((runs.up, &runs.objects, runs.blocker), (true, &before.objects, None));
    assert_eq!((runs.next_start, runs.outdated), (Some(not_shared()), false));

    // The pod ends, and a new one would read the Secret again.
    scenario.live.as_mut().unwrap().running = false;
    let ended = scenario.apply();
    assert_eq!((replicas(&ended), ended.blocker), (Some(0), Some(StartBlocker::SecretRefused(not_shared()))));
    assert_eq!(ended.next_start, None);
    scenario.secrets.insert("tokens".to_owned(), SecretAccess::Shared);
    let again = scenario.apply();
    assert_eq!((replicas(&again), again.blocker), (Some(1), None));
}

#[test]
fn a_template_that_changes_to_a_secret_does_not_reach_it_by_a_crash() {
    let mut scenario = PlanScenario::new(PLAIN);
    let before = scenario.apply();
    let theft =
        "pod: {image: 'debian:bookworm', env: [{name: KEYS, secretKeyRef: {name: agents-signing-keys, key: keys}}]}";
    scenario.template = Some(template(theft));
    scenario.secrets.insert("agents-signing-keys".to_owned(), SecretAccess::Managed);
    for running in [true, false] {
        scenario.live.as_mut().unwrap().running = running;
        let plan = scenario.plan();
        assert_eq!((plan.up, &plan.objects), (true, &before.objects), "it goes on as it was started: {running}");
        assert!(matches!(plan.next_start, Some(SecretRefusal::Managed { .. })));
    }
}

#[test]
fn temporary_volumes_are_sized_and_what_runs_without_is_left_alone() {
    let sizes = |plan: &WorkspacePlan| {
        let volumes = find(plan, "StatefulSet").unwrap()["spec"]["template"]["spec"]["volumes"].clone();
        let size = |volume: &Value| volume["emptyDir"]["sizeLimit"].clone();
        volumes.as_array().unwrap().iter().map(size).collect::<Vec<_>>()
    };
    let mut scenario = PlanScenario::new(&format!("{PLAIN}\nstorage: {{temporarySize: 2Gi}}"));
    let first = sizes(&scenario.apply());
    assert!(first.contains(&json!("2Gi")) && first.iter().all(Value::is_string), "{first:?}");
    // The pod revision of an older operator.
    scenario.live.as_mut().unwrap().pod_revision.as_mut().unwrap().sized = false;
    assert!(sizes(&scenario.plan()).iter().all(Value::is_null));
}
