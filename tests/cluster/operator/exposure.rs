//! The way in from outside, against the kinds of the Gateway API and of Traefik as they are published.

use super::stage::{
    OPERATOR, Operator, api, condition, create, endpoint, eventually, names, operator, own_plane, planned, settled,
};
use crate::support::controlplane::ControlPlane;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
    networking::v1::Ingress,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, WatchParams},
    core::{DynamicObject, WatchEvent},
    discovery::ApiResource,
};
use portcullis_api::McpEndpoint;
use portcullis_plan::OptionalKind;
use serde_json::{Value, json};
use std::{process::Command, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn gateways_and_ingresses_lead_to_endpoints() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("exposure").await;
    let before = operator(&plane, "before").await;
    let spec = json!({
        "pathAliases": (0..8).map(|number| format!("/alias/{number}")).collect::<Vec<_>>(),
        "cors": {"allowedOrigins": ["https://claude.ai", "https://*.example.com"], "enforcedBy": "Gateway"},
        "exposure": {"gateway": {
            "parentRefs": [
                {"name": "edge", "namespace": "net", "sectionName": "http"},
                {"name": "edge", "namespace": "net", "sectionName": "https"},
            ],
            "annotations": {"cert-manager.io/duration": "2160h"},
        }},
    });
    create(&client, &namespace, &endpoint("agents", &spec)).await;
    let message = exposed(&client, &namespace, "agents", "False", "GatewayApiMissing").await;
    assert!(message.contains("install the Gateway API"), "{message}");
    drop(before);

    offer_kinds(&plane);
    let _operator = operator(&plane, "after").await;
    a_route_follows_what_gateways_say(&plane, &client, &namespace).await;
    an_exposure_takes_the_place_of_another(&client, &namespace).await;
    traefik_is_told_that_servers_speak_tls(&plane, &client).await;
    of_two_endpoints_at_one_url_the_older_has_it(&plane, &client).await;
}

/// The kinds of the Gateway API and of Traefik, and a class of Ingress that is Traefik's.
fn offer_kinds(plane: &ControlPlane) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/controlplane/kinds.sh");
    let output = Command::new("bash").arg(script).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let folder = String::from_utf8(output.stdout).unwrap();
    // Too large for the annotation of a client-side apply.
    let args = ["apply", "--server-side", "-f", folder.trim()];
    let done = plane.kubectl(&args);
    assert!(done.status.success(), "{done:?}");
    let class = "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: traefik}, spec: {controller: traefik.io/ingress-controller}}";
    let done = plane.kubectl_with_input(&["create", "-f", "-"], class);
    assert!(done.status.success(), "{done:?}");
    let args = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    let done = plane.kubectl(&args);
    assert!(done.status.success(), "{done:?}");
}

/// Waits until the condition `Exposed` says so, and gives its message.
async fn exposed(client: &Client, namespace: &str, name: &str, status: &str, reason: &str) -> String {
    eventually(&format!("{name}: Exposed={status} {reason}"), async || {
        let endpoint = api::<McpEndpoint>(client, namespace).get(name).await.unwrap();
        let found = endpoint.status?.conditions.into_iter().find(|condition| condition.type_ == "Exposed")?;
        (found.status == status && found.reason == reason).then_some(found.message)
    })
    .await
}

fn optional(client: &Client, namespace: &str, kind: OptionalKind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind.gvk()))
}

async fn change(client: &Client, namespace: &str, name: &str, spec: Value) {
    let patch = Patch::Merge(json!({"spec": spec}));
    api::<McpEndpoint>(client, namespace).patch(name, &PatchParams::default(), &patch).await.unwrap();
}

async fn a_route_follows_what_gateways_say(plane: &ControlPlane, client: &Client, namespace: &str) {
    exposed(client, namespace, "agents", "False", "RoutePending").await;
    let routes = optional(client, namespace, OptionalKind::HttpRoute);
    let route = routes.get("agents").await.unwrap();
    assert_eq!(route.data["spec"]["hostnames"], json!(["agents.example.com"]));
    assert_eq!(route.data["spec"]["rules"][0]["filters"][0]["cors"]["allowOrigins"][0], "https://claude.ai");
    let status = api::<McpEndpoint>(client, namespace).get("agents").await.unwrap().status.unwrap();
    assert_eq!(status.cors_enforced_by.as_deref(), Some("Gateway"));

    let say = async |accepted: &str| {
        let generation = routes.get("agents").await.unwrap().metadata.generation;
        let condition = |kind: &str, status: &str| {
            json!({"type": kind, "status": status, "reason": "Word", "message": "the listener does not allow it",
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let parent = |section: &str, accepted: &str| {
            json!({
                "controllerName": "example.com/gateways",
                "parentRef": {"name": "edge", "namespace": "net", "sectionName": section},
                "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", "True")],
            })
        };
        let status = json!({"status": {"parents": [parent("http", "True"), parent("https", accepted)]}});
        routes.patch_status("agents", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    };
    say("False").await;
    let message = exposed(client, namespace, "agents", "False", "RouteRefused").await;
    assert!(message.contains("the listener does not allow it") && message.contains("\"https\""), "{message}");
    say("True").await;
    exposed(client, namespace, "agents", "True", "RouteAccepted").await;

    // The API server's defaults, and two parents of one name, are no difference.
    let mark = plane.audit_mark();
    change(client, namespace, "agents", json!({"limits": {"burst": 33}})).await;
    planned(client, namespace, "agents").await;
    settled("the route", async || routes.get("agents").await.unwrap().metadata.resource_version).await;
    let written = plane.audit_writes(mark, OPERATOR);
    let written: Vec<_> = written.iter().map(|write| write.resource.as_str()).collect();
    assert!(written.contains(&"configmaps") && !written.contains(&"httproutes"), "{written:?}");
}

async fn an_exposure_takes_the_place_of_another(client: &Client, namespace: &str) {
    let routes = optional(client, namespace, OptionalKind::HttpRoute);
    let there = async |ingress: bool, route: bool| {
        eventually(&format!("Ingress: {ingress}, HTTPRoute: {route}"), async || {
            let names = names(client, namespace).await;
            let has_route = routes.get_opt("agents").await.unwrap().is_some();
            (names.contains(&"Ingress/agents".to_owned()) == ingress && has_route == route).then_some(())
        })
        .await;
    };
    there(false, true).await;
    let issuer = json!({"name": "letsencrypt", "kind": "ClusterIssuer"});
    let ingress = json!({"gateway": null, "ingress": {"tls": {"issuerRef": issuer}}});
    change(client, namespace, "agents", json!({"exposure": ingress, "cors": {"enforcedBy": "Auto"}})).await;
    there(true, false).await;
    let ingress = api::<Ingress>(client, namespace).get("agents").await.unwrap();
    assert_eq!(ingress.metadata.annotations.unwrap()["cert-manager.io/cluster-issuer"], "letsencrypt");
    assert_eq!(ingress.spec.unwrap().tls.unwrap()[0].secret_name.as_deref(), Some("agents-tls"));
    change(
        client,
        namespace,
        "agents",
        json!({"exposure": {"ingress": null, "gateway": {"parentRefs": [{"name": "edge"}]}}}),
    )
    .await;
    there(false, true).await;
    change(client, namespace, "agents", json!({"exposure": {"gateway": null, "none": {}}})).await;
    there(false, false).await;
    exposed(client, namespace, "agents", "True", "ClusterOnly").await;
}

async fn traefik_is_told_that_servers_speak_tls(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("tls").await;
    let spec = json!({
        "tls": {"secretName": "cert"},
        "cors": {"allowedOrigins": ["https://claude.ai"]},
        "exposure": {"ingress": {"className": "traefik"}},
    });
    create(client, &namespace, &endpoint("agents", &spec)).await;
    exposed(client, &namespace, "agents", "True", "IngressApplied").await;
    let transport = optional(client, &namespace, OptionalKind::ServersTransport).get("agents-servers").await.unwrap();
    assert_eq!(transport.data["spec"], json!({"serverName": "agents.example.com", "rootCAsSecrets": ["cert"]}));
    assert!(optional(client, &namespace, OptionalKind::Middleware).get_opt("agents-cors").await.unwrap().is_some());
    let service = api::<Service>(client, &namespace).get("agents").await.unwrap();
    let port = service.spec.unwrap().ports.unwrap().remove(0);
    assert_eq!((port.port, port.name.as_deref(), port.app_protocol.as_deref()), (443, Some("https"), Some("https")));

    // Back to plain HTTP: nothing of it is left.
    change(client, &namespace, "agents", json!({"tls": null})).await;
    eventually("the Service has its old port, and Traefik its old ways", async || {
        let service = api::<Service>(client, &namespace).get("agents").await.unwrap();
        let annotations = service.metadata.annotations.unwrap_or_default();
        let ports = service.spec?.ports?;
        let gone =
            optional(client, &namespace, OptionalKind::ServersTransport).get_opt("agents-servers").await.unwrap();
        let plain = ports.len() == 1 && ports[0].port == 80 && ports[0].app_protocol.is_none();
        let told = annotations.keys().any(|name| name.starts_with("traefik."));
        (plain && !told && gone.is_none()).then_some(())
    })
    .await;
}

async fn of_two_endpoints_at_one_url_the_older_has_it(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("twice").await;
    let at = |path: &str| json!({"url": format!("https://h.example.com{path}")});
    for (name, path) in [("a-first", "/mcp"), ("b-nested", "/team/mcp"), ("c-second", "/mcp")] {
        create(client, &namespace, &endpoint(name, &at(path))).await;
    }
    exposed(client, &namespace, "a-first", "True", "IngressApplied").await;
    exposed(client, &namespace, "b-nested", "True", "IngressApplied").await;
    let message = exposed(client, &namespace, "c-second", "False", "UrlTaken").await;
    assert!(message.contains("\"a-first\"") && message.contains("https://h.example.com/mcp"), "{message}");
    // Another URL, but the issuer's paths are the same.
    change(client, &namespace, "c-second", at("/other")).await;
    eventually("it says which paths", async || {
        let message = exposed(client, &namespace, "c-second", "False", "UrlTaken").await;
        message.contains("/.well-known/oauth-authorization-server").then_some(())
    })
    .await;
    let ingress = |name: &'static str| {
        let ingresses = api::<Ingress>(client, &namespace);
        async move { ingresses.get_opt(name).await.unwrap() }
    };
    assert!(ingress("c-second").await.is_none(), "it would answer at the other's URL");
    assert!(ingress("a-first").await.is_some());
    api::<McpEndpoint>(client, &namespace).delete("a-first", &DeleteParams::default()).await.unwrap();
    exposed(client, &namespace, "c-second", "True", "IngressApplied").await;
}

async fn version(deployments: &Api<Deployment>) -> String {
    deployments.get("agents").await.unwrap().metadata.resource_version.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_is_given_the_number_of_servers_and_keeps_it() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("scale").await;
    let _operator = operator(&plane, "one").await;
    create(&client, &namespace, &endpoint("agents", &json!({"deployment": {"replicas": 3}}))).await;
    let deployments: Api<Deployment> = api(&client, &namespace);
    let replicas = async || deployments.get_opt("agents").await.unwrap()?.spec?.replicas;
    eventually("three servers are wanted", async || (replicas().await == Some(3)).then_some(())).await;
    planned(&client, &namespace, "agents").await;

    let before = settled("the Deployment", async || version(&deployments).await).await;
    let scaler = json!({"deployment": {"replicas": null, "autoscaling": {"min": 2, "max": 6}}});
    change(&client, &namespace, "agents", scaler).await;
    eventually("there is an autoscaler", async || {
        names(&client, &namespace).await.contains(&"HorizontalPodAutoscaler/agents".to_owned()).then_some(())
    })
    .await;
    planned(&client, &namespace, "agents").await;
    let now = settled("the Deployment", async || version(&deployments).await).await;
    assert_ne!(now, before);
    let one = WatchParams::default().fields("metadata.name=agents");
    let mut since = deployments.watch(&one, &before).await.unwrap().boxed();
    let mut seen = Vec::new();
    while let Some(WatchEvent::Modified(deployment)) = since.try_next().await.unwrap() {
        seen.push(deployment.spec.unwrap().replicas);
        if deployment.metadata.resource_version.as_ref() == Some(&now) {
            break;
        }
    }
    assert!(seen.len() > 1 && seen.iter().all(|count| *count == Some(3)), "{seen:?}");

    // As the autoscaler does it. The rates are shared by more servers, and told so once.
    let mark = plane.audit_mark();
    let scale = Patch::Merge(json!({"spec": {"replicas": 5}}));
    deployments.patch_scale("agents", &PatchParams::default(), &scale).await.unwrap();
    let config = async || {
        let map = api::<ConfigMap>(&client, &namespace).get("agents-config").await.unwrap();
        let file: Value = serde_json::from_str(&map.data.unwrap()["config.json"]).unwrap();
        file["limits"]["servers"].as_u64()
    };
    eventually("the servers are told", async || (config().await == Some(5)).then_some(())).await;
    settled("the Deployment", async || version(&deployments).await).await;
    let written: Vec<String> = plane
        .audit_writes(mark, OPERATOR)
        .into_iter()
        .filter(|write| write.namespace == namespace && write.subresource.is_empty() && write.resource != "events")
        .map(|write| format!("{} {}/{}", write.verb, write.resource, write.name))
        .collect();
    assert_eq!(written, ["patch configmaps/agents-config"]);
    assert_eq!(replicas().await, Some(5));
    let status = planned(&client, &namespace, "agents").await.status.unwrap();
    assert!(condition(&status.conditions, "Available").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_gets_what_the_settings_permit_and_a_host_that_no_other_has() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let [one, two] = [plane.create_namespace("one").await, plane.create_namespace("two").await];
    let settings = json!({
        "annotations": ["cert-manager.io/*"], "hosts": ["*.example.com"], "sharedHosts": ["shared.example.com"],
        "namespaces": {&two: {"ingressClasses": ["public"]}},
    });
    let options = ["--server-image=example.com/portcullis", "--lease-seconds=3", &format!("--exposure={settings}")];
    let _operator = Operator::start(&plane, plane.url(), "one", &options).await;
    let at = |url: &str, ingress: Value| json!({"url": url, "deployment": {"replicas": 0}, "exposure": {"ingress": ingress}});
    let public = || json!({"className": "public"});
    let ingress = async |namespace: &str, name: &str| api::<Ingress>(&client, namespace).get_opt(name).await.unwrap();

    plane.apply(
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: public}\n\
         spec: {controller: example.com/public}\n",
    );

    // Annotations: applied, or left out and named.
    let given = json!({"className": "public", "annotations": {
        "cert-manager.io/issuer": "ca", "nginx.ingress.kubernetes.io/configuration-snippet": "return 200;",
    }});
    create(&client, &one, &endpoint("noted", &at("https://noted.example.com/mcp", given))).await;
    let message = exposed(&client, &one, "noted", "False", "AnnotationsRefused").await;
    assert!(message.contains("nginx.ingress.kubernetes.io/configuration-snippet; remove"), "{message}");
    let mut annotations = ingress(&one, "noted").await.unwrap().metadata.annotations.unwrap();
    annotations.retain(|name, _| !name.starts_with("portcullis.dev/"));
    assert_eq!(annotations.into_keys().collect::<Vec<_>>(), ["cert-manager.io/issuer"]);

    // Classes and hosts.
    create(&client, &one, &endpoint("foreign", &at("https://mcp.example.org/mcp", public()))).await;
    exposed(&client, &one, "foreign", "False", "HostNotPermitted").await;
    create(&client, &two, &endpoint("classy", &at("https://classy.example.com/mcp", json!({"className": "inner"}))))
        .await;
    exposed(&client, &two, "classy", "False", "ClassNotPermitted").await;
    assert!(ingress(&one, "foreign").await.is_none() && ingress(&two, "classy").await.is_none());

    // A host: the endpoint that is older comes by a change of its URL, and does not take it over.
    create(&client, &two, &endpoint("old", &at("https://elsewhere.example.com/mcp", public()))).await;
    exposed(&client, &two, "old", "True", "IngressApplied").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    create(&client, &one, &endpoint("first", &at("https://h.example.com/mcp", public()))).await;
    exposed(&client, &one, "first", "True", "IngressApplied").await;
    change(&client, &two, "old", json!({"url": "https://h.example.com/other/mcp"})).await;
    let message = exposed(&client, &two, "old", "False", "HostTaken").await;
    assert!(message.contains("host h.example.com belongs") && !message.contains(&one), "{message}");
    assert!(ingress(&two, "old").await.is_none() && ingress(&one, "first").await.is_some());
    exposed(&client, &one, "first", "True", "IngressApplied").await;
    // Another endpoint of the holder's namespace shares it.
    create(&client, &one, &endpoint("beside", &at("https://h.example.com/beside/mcp", public()))).await;
    exposed(&client, &one, "beside", "True", "IngressApplied").await;
    for name in ["first", "beside"] {
        api::<McpEndpoint>(&client, &one).delete(name, &DeleteParams::default()).await.unwrap();
    }
    exposed(&client, &two, "old", "True", "IngressApplied").await;

    // A host that is shared, and one URL of it.
    create(&client, &one, &endpoint("a", &at("https://shared.example.com/a/mcp", public()))).await;
    exposed(&client, &one, "a", "True", "IngressApplied").await;
    create(&client, &two, &endpoint("b", &at("https://shared.example.com/b/mcp", public()))).await;
    exposed(&client, &two, "b", "True", "IngressApplied").await;
    create(&client, &two, &endpoint("c", &at("https://shared.example.com/a/other", public()))).await;
    let message = exposed(&client, &two, "c", "False", "HostTaken").await;
    assert!(message.contains("https://shared.example.com/") && !message.contains(&one), "{message}");
}
