//! From manifests to objects, and what becomes of the objects when manifests, objects or names change.

use super::stage::{
    OPERATOR, api, condition, create, endpoint, eventually, names, objects, operator, own_plane, planned, robot,
    settled,
};
use crate::support::{
    audit::{AuditMark, Write},
    controlplane::ControlPlane,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kube::{
    Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use portcullis_api::{McpEndpoint, OAuthClient};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ALL: [&str; 13] = [
    "ConfigMap/agents-config",
    "Deployment/agents",
    "Ingress/agents",
    "NetworkPolicy/agents",
    "PodDisruptionBudget/agents",
    "RoleBinding/portcullis-exec-agents",
    "RoleBinding/portcullis-server-agents",
    "Secret/agents-clients",
    "Secret/agents-login",
    "Secret/agents-signing-keys",
    "Secret/robot-oauth",
    "Service/agents",
    "ServiceAccount/portcullis-server-agents",
];

/// One operator, and each scenario in a namespace of its own.
#[tokio::test(flavor = "multi_thread")]
async fn manifests_become_objects_and_stay_what_they_say() {
    let plane = own_plane().await;
    offer_traefik(&plane);
    let _operator = operator(&plane, "one").await;
    let client = plane.client().await;
    every_planned_object_exists_with_its_owner(&plane, &client).await;
    only_what_a_change_concerns_is_written(&plane, &client).await;
    what_is_no_longer_planned_is_deleted(&plane, &client).await;
    drift_is_repaired(&plane, &client).await;
    a_taken_name_is_left_alone(&plane, &client).await;
    a_client_without_an_endpoint_says_so(&plane, &client).await;
    cors_goes_to_traefik_and_back(&plane, &client).await;
    a_refusal_is_told_and_retried(&plane, &client).await;
    nothing_remains_after_deletion(&plane, &client).await;
}

/// A host belongs to one namespace.
fn at_own_host(namespace: &str) -> Value {
    json!({"url": format!("https://{namespace}.example.com/mcp")})
}

async fn prepared(plane: &ControlPlane, client: &Client, prefix: &str) -> String {
    let namespace = plane.create_namespace(prefix).await;
    create(client, &namespace, &endpoint("agents", &at_own_host(&namespace))).await;
    create(client, &namespace, &robot("robot", "agents", &json!({}))).await;
    eventually("every object exists", async || (names(client, &namespace).await == ALL).then_some(())).await;
    settled("the namespace", async || versions(client, &namespace).await).await;
    namespace
}

async fn versions(client: &Client, namespace: &str) -> Vec<Option<String>> {
    objects(client, namespace).await.into_values().map(|object| object.metadata.resource_version).collect()
}

async fn every_planned_object_exists_with_its_owner(plane: &ControlPlane, client: &Client) {
    let namespace = prepared(plane, client, "exist").await;
    let endpoint = planned(client, &namespace, "agents").await;
    let robot = api::<OAuthClient>(client, &namespace).get("robot").await.unwrap();
    for ((kind, name), object) in objects(client, &namespace).await {
        let owner = if name == "robot-oauth" { robot.uid() } else { endpoint.uid() };
        let owners: Vec<_> =
            object.owner_references().iter().map(|owner| (Some(owner.uid.clone()), owner.controller)).collect();
        assert_eq!(owners, [(owner, Some(true))], "{kind}/{name}");
    }
    let status = endpoint.status.unwrap();
    assert_eq!((status.url, status.clients), (Some(format!("https://{namespace}.example.com/mcp")), 1));
    assert_eq!(condition(&status.conditions, "Exposed"), Some(("True".to_owned(), "IngressApplied".to_owned())));
    assert_eq!(condition(&status.conditions, "Ready").unwrap().0, "False", "no node runs the servers here");
    let status = robot.status.unwrap();
    assert_eq!((status.client_id.as_deref(), status.secret_name.as_deref()), (Some("robot"), Some("robot-oauth")));
}

async fn patch<K>(client: &Client, namespace: &str, name: &str, patch: Value)
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    api::<K>(client, namespace).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// What the operator wrote in a namespace, statuses excepted, as `resource/name`.
fn written(plane: &ControlPlane, mark: AuditMark, namespace: &str) -> BTreeSet<String> {
    let of_namespace =
        |write: &Write| write.namespace == namespace && write.subresource.is_empty() && write.resource != "events";
    let writes = plane.audit_writes(mark, OPERATOR).into_iter().filter(of_namespace);
    writes.map(|write| format!("{} {}/{}", write.verb, write.resource, write.name)).collect()
}

async fn only_what_a_change_concerns_is_written(plane: &ControlPlane, client: &Client) {
    let namespace = prepared(plane, client, "change").await;
    let rows: [(Value, &[&str]); 3] = [
        (json!({"limits": {"burst": 21}}), &["patch configmaps/agents-config"]),
        (json!({"deployment": {"resources": {"requests": {"cpu": "0.1"}}}}), &["patch deployments/agents"]),
        (
            json!({"exposure": {"ingress": {"annotations": {"cert-manager.io/duration": "2160h"}}}}),
            &["patch ingresses/agents"],
        ),
    ];
    for (change, expected) in rows {
        let mark = plane.audit_mark();
        patch::<McpEndpoint>(client, &namespace, "agents", json!({"spec": change})).await;
        planned(client, &namespace, "agents").await;
        settled("the namespace", async || versions(client, &namespace).await).await;
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(written(plane, mark, &namespace), expected, "{change}");
    }
}

async fn what_is_no_longer_planned_is_deleted(plane: &ControlPlane, client: &Client) {
    let namespace = prepared(plane, client, "orphan").await;
    let spec = json!({"exposure": {"none": {}}, "network": {"networkPolicy": false}, "deployment": {"replicas": 1}});
    patch::<McpEndpoint>(client, &namespace, "agents", json!({"spec": spec})).await;
    patch::<OAuthClient>(client, &namespace, "robot", json!({"spec": {"secret": {"name": "renamed"}}})).await;
    let gone = ["Ingress/agents", "NetworkPolicy/agents", "PodDisruptionBudget/agents", "Secret/robot-oauth"];
    let mut expected: Vec<&str> =
        ALL.into_iter().filter(|name| !gone.contains(name)).chain(["Secret/renamed"]).collect();
    expected.sort_unstable();
    eventually("what is not planned is gone", async || (names(client, &namespace).await == expected).then_some(()))
        .await;
    let endpoint = eventually("the status says so", async || {
        let endpoint = planned(client, &namespace, "agents").await;
        let exposed = condition(&endpoint.status.as_ref()?.conditions, "Exposed")?;
        (exposed.1 == "ClusterOnly").then_some(endpoint)
    })
    .await;
    assert_eq!(condition(&endpoint.status.unwrap().conditions, "Exposed").unwrap().0, "True");
}

async fn drift_is_repaired(plane: &ControlPlane, client: &Client) {
    let namespace = prepared(plane, client, "drift").await;
    let rows: [(&str, &str, Value); 4] = [
        ("service", "agents", json!({"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 81}]}})),
        ("configmap", "agents-config", json!({"data": {"config.json": "{}"}})),
        ("ingress", "agents", json!({"metadata": {"labels": {"portcullis.dev/endpoint": null}}})),
        ("deployment", "agents", json!({"metadata": {"ownerReferences": null}})),
    ];
    let essence = async || {
        let mut objects = objects(client, &namespace).await;
        for object in objects.values_mut() {
            object.metadata.managed_fields = None;
            object.metadata.resource_version = None;
            object.metadata.generation = None;
            object.metadata.annotations = None;
            if let Some(fields) = object.data.as_object_mut() {
                fields.remove("status");
            }
        }
        objects
    };
    let before = essence().await;
    for (kind, name, drift) in rows {
        let done = plane.kubectl(&["-n", &namespace, "patch", kind, name, "--type=merge", "-p", &drift.to_string()]);
        assert!(done.status.success(), "{done:?}");
        eventually(&format!("{kind} is as it was"), async || (essence().await == before).then_some(())).await;
    }
    // What somebody else adds is theirs.
    let restart =
        json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
    patch::<Deployment>(client, &namespace, "agents", restart).await;
    patch::<Service>(client, &namespace, "agents", json!({"metadata": {"labels": {"portcullis.dev/endpoint": null}}}))
        .await;
    eventually("the label is back", async || (names(client, &namespace).await == ALL).then_some(())).await;
    let deployment = api::<Deployment>(client, &namespace).get("agents").await.unwrap();
    let annotations = deployment.spec.unwrap().template.metadata.unwrap().annotations.unwrap();
    assert_eq!(annotations["kubectl.kubernetes.io/restartedAt"], "now");
}

async fn a_taken_name_is_left_alone(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("taken").await;
    let foreign = ConfigMap {
        metadata: kube::core::ObjectMeta { name: Some("agents-config".to_owned()), ..Default::default() },
        data: Some([("mine".to_owned(), "yes".to_owned())].into()),
        ..ConfigMap::default()
    };
    let foreign = create(client, &namespace, &foreign).await;
    let secret = Secret {
        metadata: kube::core::ObjectMeta { name: Some("robot-oauth".to_owned()), ..Default::default() },
        ..Secret::default()
    };
    let secret = create(client, &namespace, &secret).await;
    let verifiers = Secret {
        metadata: kube::core::ObjectMeta { name: Some("agents-clients".to_owned()), ..Default::default() },
        ..Secret::default()
    };
    let verifiers = create(client, &namespace, &verifiers).await;
    create(client, &namespace, &endpoint("agents", &at_own_host(&namespace))).await;
    create(client, &namespace, &robot("robot", "agents", &json!({}))).await;
    create(client, &namespace, &robot("other", "agents", &json!({}))).await;
    let reason = async |expected: &str| {
        eventually(expected, async || {
            let endpoint = api::<McpEndpoint>(client, &namespace).get("agents").await.unwrap();
            let ready = endpoint.status?.conditions.into_iter().find(|condition| condition.type_ == "Ready")?;
            (ready.reason == expected).then_some(ready.message)
        })
        .await
    };
    let message = reason("NameTaken").await;
    assert!(message.contains("Secret \"agents-clients\", ConfigMap \"agents-config\""), "{message}");
    eventually("the client says whose name is taken", async || {
        let robot = api::<OAuthClient>(client, &namespace).get("robot").await.unwrap();
        (condition(&robot.status?.conditions, "Ready")?.1 == "NameTaken").then_some(())
    })
    .await;
    assert_eq!(api::<ConfigMap>(client, &namespace).get("agents-config").await.unwrap(), foreign);
    assert_eq!(api::<Secret>(client, &namespace).get("robot-oauth").await.unwrap(), secret);
    assert_eq!(api::<Secret>(client, &namespace).get("agents-clients").await.unwrap(), verifiers);
    assert!(names(client, &namespace).await.contains(&"Secret/other-oauth".to_owned()), "others go on");
}

async fn a_client_without_an_endpoint_says_so(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("stranded").await;
    create(client, &namespace, &robot("robot", "agents", &json!({}))).await;
    let ready = async |expected: &str| {
        eventually(expected, async || {
            let robot = api::<OAuthClient>(client, &namespace).get("robot").await.unwrap();
            (condition(&robot.status?.conditions, "Ready")?.1 == expected).then_some(())
        })
        .await;
    };
    ready("EndpointNotFound").await;
    assert_eq!(names(client, &namespace).await, Vec::<String>::new());
    create(client, &namespace, &endpoint("agents", &at_own_host(&namespace))).await;
    ready("NoServers").await;
    eventually("every object exists", async || (names(client, &namespace).await == ALL).then_some(())).await;
}

async fn a_refusal_is_told_and_retried(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("refused").await;
    let policy = json!([
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "no-ingress"},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"],
                    "operations": ["CREATE"], "resources": ["ingresses"],
                }]},
                "validations": [{"expression": "false", "message": "no Ingress in this house"}],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "no-ingress"},
            "spec": {
                "policyName": "no-ingress", "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
            },
        },
    ]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": policy}).to_string();
    let done = plane.kubectl_with_input(&["create", "-f", "-"], &list);
    assert!(done.status.success(), "{done:?}");
    // The API server takes a moment to enforce a policy.
    let probe = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "probe"},
        "spec": {"defaultBackend": {"service": {"name": "probe", "port": {"number": 80}}}}})
    .to_string();
    eventually("the policy is enforced", async || {
        let tried = plane.kubectl_with_input(&["-n", &namespace, "create", "--dry-run=server", "-f", "-"], &probe);
        (!tried.status.success()).then_some(())
    })
    .await;
    create(client, &namespace, &endpoint("agents", &at_own_host(&namespace))).await;
    let ready = async |expected: &str| {
        eventually(expected, async || {
            let endpoint = api::<McpEndpoint>(client, &namespace).get("agents").await.unwrap();
            let conditions = endpoint.status?.conditions;
            let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready")?;
            (ready.reason == expected).then_some(ready.message)
        })
        .await
    };
    let message = ready("ApplyFailed").await;
    assert!(message.contains("Ingress") && message.contains("no Ingress in this house"), "{message}");
    let done = plane.kubectl(&["delete", "validatingadmissionpolicybinding", "no-ingress"]);
    assert!(done.status.success(), "{done:?}");
    ready("ServersStarting").await;
}

/// Traefik's kind, without its schema, and a class of Ingress that is Traefik's.
fn offer_traefik(plane: &ControlPlane) {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": open}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "middlewares.traefik.io"},
            "spec": {
                "group": "traefik.io", "scope": "Namespaced", "versions": [version],
                "names": {"kind": "Middleware", "plural": "middlewares", "singular": "middleware"},
            },
        },
        {
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "traefik"},
            "spec": {"controller": "traefik.io/ingress-controller"},
        },
    ]});
    let done = plane.kubectl_with_input(&["create", "-f", "-"], &list.to_string());
    assert!(done.status.success(), "{done:?}");
    let args = ["wait", "--for=condition=Established", "crd/middlewares.traefik.io", "--timeout=60s"];
    let done = plane.kubectl(&args);
    assert!(done.status.success(), "{done:?}");
}

async fn cors_goes_to_traefik_and_back(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("cors").await;
    let spec = json!({
        "exposure": {"ingress": {"className": "traefik"}},
        "cors": {"allowedOrigins": ["https://claude.ai"]},
    });
    create(client, &namespace, &endpoint("agents", &spec)).await;
    let enforced_by = async |who: &str, middlewares: usize| {
        eventually(who, async || {
            let endpoint = api::<McpEndpoint>(client, &namespace).get("agents").await.unwrap();
            let listed = plane.kubectl(&["-n", &namespace, "get", "middlewares.traefik.io", "-o", "name"]);
            let listed = String::from_utf8_lossy(&listed.stdout).lines().count();
            (endpoint.status?.cors_enforced_by? == who && listed == middlewares).then_some(())
        })
        .await;
    };
    enforced_by("Traefik", 1).await;
    patch::<McpEndpoint>(client, &namespace, "agents", json!({"spec": {"cors": {"enforcedBy": "Server"}}})).await;
    enforced_by("Server", 0).await;
}

async fn nothing_remains_after_deletion(plane: &ControlPlane, client: &Client) {
    let namespace = prepared(plane, client, "delete").await;
    api::<McpEndpoint>(client, &namespace).delete("agents", &DeleteParams::background()).await.unwrap();
    // The client's own Secret goes with the client.
    eventually("only the client's Secret is left", async || {
        (names(client, &namespace).await == ["Secret/robot-oauth"]).then_some(())
    })
    .await;
    api::<OAuthClient>(client, &namespace).delete("robot", &DeleteParams::background()).await.unwrap();
    eventually("nothing is left", async || names(client, &namespace).await.is_empty().then_some(())).await;
}
