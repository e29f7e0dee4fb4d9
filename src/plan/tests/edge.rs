//! Routes, CORS and what the manifest may have wrong.

use super::World;
use crate::plan::{CorsEnforcer, PlanError};
use std::error::Error as _;

const ORIGINS: &str = "url: https://mcp.example.com/mcp\ncors: {allowedOrigins: ['https://claude.ai']}";

#[test]
fn one_side_speaks_cors_and_the_note_says_why() {
    use CorsEnforcer::{IngressNginx, Server, Traefik};
    let class = |name: &str| format!("{ORIGINS}\nexposure: {{ingress: {{className: {name}}}}}");
    let server = ORIGINS.replace('}', ", enforcedBy: Server}");
    for (spec, expected, note) in [
        (ORIGINS.to_owned(), Traefik, None),
        (class("nginx"), IngressNginx, None),
        (class("nginx").replace("claude", "*.claude"), IngressNginx, Some("one label only")),
        (class("haproxy"), Server, Some("haproxy.org/ingress-controller/haproxy")),
        (class("typo"), Server, Some("there is no IngressClass \"typo\"")),
        (server, Server, None),
        (format!("{ORIGINS}\nexposure: {{none: {{}}}}"), Server, None),
        ("url: https://mcp.example.com/mcp".to_owned(), Server, None),
    ] {
        let plan = World::new(&spec).plan();
        assert_eq!(plan.cors_enforcer, expected, "{spec}");
        assert_eq!(plan.config.cors.answered_here, expected == Server, "{spec}");
        match note {
            Some(part) => assert!(plan.cors_note.as_ref().is_some_and(|note| note.contains(part)), "{plan:?}"),
            None => assert_eq!(plan.cors_note, None, "{spec}"),
        }
        let middlewares = plan.objects.iter().filter(|planned| planned.kind() == "Middleware").count();
        assert_eq!(middlewares, usize::from(expected == Traefik), "{spec}");
        let ingress = plan.objects.iter().find(|planned| planned.kind() == "Ingress");
        let annotated = ingress.is_some_and(|ingress| ingress.object.metadata.annotations.is_some());
        assert_eq!(annotated, expected != Server, "{spec}");
    }
}

#[test]
fn traefik_without_its_own_kinds_leaves_cors_to_the_servers() {
    let mut world = World::new(ORIGINS);
    world.cluster.traefik_middlewares = false;
    let plan = world.plan();
    assert_eq!(plan.cors_enforcer, CorsEnforcer::Server);
    assert!(plan.cors_note.unwrap().contains("traefik.io/v1alpha1"));

    world.cluster.default_ingress_class = None;
    assert!(world.plan().cors_note.unwrap().contains("no default IngressClass"));
}

#[test]
fn what_the_manifest_leaves_out_is_not_planned() {
    for (spec, kind) in [
        ("exposure: {none: {}}", "Ingress"),
        ("network: {networkPolicy: false}", "NetworkPolicy"),
        ("deployment: {replicas: 1}", "PodDisruptionBudget"),
        ("deployment: {autoscaling: {min: 1, max: 3}}", "PodDisruptionBudget"),
        ("deployment: {replicas: 3}", "HorizontalPodAutoscaler"),
    ] {
        let plan = World::new(&format!("url: https://mcp.example.com/mcp\n{spec}")).plan();
        assert!(plan.objects.iter().all(|planned| planned.kind() != kind), "{spec}");
    }
}

#[test]
fn wrong_fields_are_named_with_their_cause() {
    let error = World::new("url: http://mcp.example.com/mcp").try_plan().unwrap_err();
    assert!(error.to_string().contains("spec.url"));
    assert!(error.source().unwrap().to_string().contains("plain http"));

    for field in ["allowedCidrs", "trustedProxies"] {
        let spec = format!("url: https://mcp.example.com/mcp\nnetwork: {{{field}: [10.0.0.0/8, 10.0.0.0/33]}}");
        let error = World::new(&spec).try_plan().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("spec.network.{field}")) && text.contains("10.0.0.0/33"), "{text}");
    }

    let mut unnamed = World::plain();
    unnamed.endpoint.metadata.name = None;
    assert!(matches!(unnamed.try_plan(), Err(PlanError::EndpointNameMissing)));
}

#[test]
fn a_change_of_configuration_or_credentials_rolls_nothing_out() {
    let deployment = |mut world: World| {
        let plan = world.plan();
        (super::find(&plan, "Deployment", "agents").object.clone(), plan.revision)
    };
    let (plain, revision) = deployment(World::plain());
    let (changed, other) = deployment(
        World::new(&format!("{ORIGINS}\ntokens: {{accessLifetime: 5m}}\nlimits: {{burst: 3}}"))
            .with_client("bot", "scopes: [files:read]\ngrants: [client_credentials]"),
    );
    assert_eq!(plain, changed);
    assert_ne!(revision, other);
}
