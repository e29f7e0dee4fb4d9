//! Tests of routes, CORS and errors in manifests.

use crate::tests::{PlanScenario, find};
use crate::{CorsEnforcer, ExposureRules, PlanError, RouteProblem};
use regex::Regex;
use serde_json::{Value, json};
use std::{collections::BTreeSet, error::Error as _};

const GATEWAY: &str = "exposure: {gateway: {parentRefs: [{name: edge, namespace: net, sectionName: https}]}}";
const ORIGINS: &str = "url: https://mcp.example.com/mcp\ncors: {allowedOrigins: ['https://claude.ai']}";

#[test]
fn one_side_speaks_cors_and_the_note_says_why() {
    use CorsEnforcer::{Gateway, IngressNginx, Server, Traefik};
    let class = |name: &str| format!("{ORIGINS}\nexposure: {{ingress: {{className: {name}}}}}");
    let server = ORIGINS.replace('}', ", enforcedBy: Server}");
    let by_route = format!("{ORIGINS}\n{GATEWAY}");
    let by_filter = by_route.replacen('}', ", enforcedBy: Gateway}", 1);
    for (spec, expected, note) in [
        (ORIGINS.to_owned(), Traefik, None),
        (class("nginx"), IngressNginx, None),
        (class("nginx").replace("claude", "*.claude"), IngressNginx, Some("one label only")),
        (class("haproxy"), Server, Some("haproxy.org/ingress-controller/haproxy")),
        (class("typo"), Server, Some("there is no IngressClass \"typo\"")),
        (server, Server, None),
        (format!("{ORIGINS}\nexposure: {{none: {{}}}}"), Server, None),
        ("url: https://mcp.example.com/mcp".to_owned(), Server, None),
        (by_route, Server, None),
        (by_filter.replace("https://claude", "http://[::1]:3000', 'https://claude"), Server, Some("http://[::1]:3000")),
        (by_filter, Gateway, None),
    ] {
        let plan = PlanScenario::new(&spec).plan();
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
        assert_eq!(annotated, matches!(expected, Traefik | IngressNginx), "{spec}");
        let route = plan.objects.iter().find(|planned| planned.kind() == "HTTPRoute");
        let filtered = route.is_some_and(|route| route.object.data["spec"]["rules"][0].get("filters").is_some());
        assert_eq!(filtered, expected == Gateway, "{spec}");
    }
}

#[test]
fn traefik_without_its_own_kinds_leaves_cors_to_the_servers() {
    let mut scenario = PlanScenario::new(ORIGINS);
    scenario.cluster.optional.clear();
    let plan = scenario.plan();
    assert_eq!(plan.cors_enforcer, CorsEnforcer::Server);
    assert!(plan.cors_note.unwrap().contains("traefik.io/v1alpha1"));

    scenario.cluster.default_ingress_class = None;
    assert!(scenario.plan().cors_note.unwrap().contains("no default IngressClass"));
}

#[test]
fn what_the_manifest_leaves_out_is_not_planned() {
    for (spec, kind) in [
        ("exposure: {none: {}}", "Ingress"),
        ("exposure: {none: {}}", "HTTPRoute"),
        ("exposure: {ingress: {}}", "HTTPRoute"),
        (GATEWAY, "Ingress"),
        ("exposure: {ingress: {}}", "ServersTransport"),
        ("network: {networkPolicy: false}", "NetworkPolicy"),
        ("deployment: {replicas: 1}", "PodDisruptionBudget"),
        ("deployment: {autoscaling: {min: 1, max: 3}}", "PodDisruptionBudget"),
        ("deployment: {replicas: 3}", "HorizontalPodAutoscaler"),
    ] {
        let plan = PlanScenario::new(&format!("url: https://mcp.example.com/mcp\n{spec}")).plan();
        assert!(plan.objects.iter().all(|planned| planned.kind() != kind), "{spec}");
    }
}

#[test]
fn wrong_fields_are_named_with_their_cause() {
    let error = PlanScenario::new("url: http://mcp.example.com/mcp").try_plan().unwrap_err();
    assert!(error.to_string().contains("spec.url"));
    assert!(error.source().unwrap().to_string().contains("plain http"));

    for field in ["allowedCidrs", "trustedProxies"] {
        let spec = format!("url: https://mcp.example.com/mcp\nnetwork: {{{field}: [10.0.0.0/8, 10.0.0.0/33]}}");
        let error = PlanScenario::new(&spec).try_plan().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("spec.network.{field}")) && text.contains("10.0.0.0/33"), "{text}");
    }

    let mut unnamed = PlanScenario::plain();
    unnamed.endpoint.metadata.name = None;
    assert!(matches!(unnamed.try_plan(), Err(PlanError::EndpointNameMissing)));
}

#[test]
fn a_change_of_configuration_or_credentials_rolls_nothing_out() {
    let deployment = |mut scenario: PlanScenario| {
        let plan = scenario.plan();
        (super::find(&plan, "Deployment", "agents").object.clone(), plan.revision)
    };
    let (plain, revision) = deployment(PlanScenario::plain());
    let (changed, other) = deployment(
        PlanScenario::new(&format!("{ORIGINS}\ntokens: {{accessLifetime: 5m}}\nlimits: {{burst: 3}}"))
            .with_client("bot", "scopes: [files:read]\ngrants: [client_credentials]"),
    );
    assert_eq!(plain, changed);
    assert_ne!(revision, other);
}

#[test]
fn a_route_is_planned_only_where_there_are_routes() {
    let mut scenario = PlanScenario::new(&format!("{ORIGINS}\n{GATEWAY}"));
    scenario.cluster.optional.clear();
    let plan = scenario.plan();
    assert!(plan.objects.iter().all(|planned| !["HTTPRoute", "Ingress"].contains(&planned.kind())));
}

/// The host and the paths of the Ingress, or of the HTTPRoute.
fn routed(spec: &str) -> BTreeSet<(String, String, String)> {
    let plan = PlanScenario::new(spec).plan();
    let of =
        |kind: &str| plan.objects.iter().find(|planned| planned.kind() == kind).map(|planned| &planned.object.data);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    if let Some(ingress) = of("Ingress") {
        let rule = &ingress["spec"]["rules"][0];
        let paths = rule["http"]["paths"].as_array().unwrap().iter();
        return paths.map(|it| (rule["host"].to_string(), text(&it["pathType"]), text(&it["path"]))).collect();
    }
    let spec = &of("HTTPRoute").unwrap()["spec"];
    let rules = spec["rules"].as_array().unwrap();
    assert!(rules.len() <= 16 && rules.iter().all(|rule| rule["matches"].as_array().unwrap().len() <= 8));
    let matches = rules.iter().flat_map(|rule| rule["matches"].as_array().unwrap());
    let as_ingress = |kind: &Value| text(kind).replace("PathPrefix", "Prefix");
    matches
        .map(|it| (spec["hostnames"][0].to_string(), as_ingress(&it["path"]["type"]), text(&it["path"]["value"])))
        .collect()
}

#[test]
fn an_ingress_and_a_route_lead_to_the_same_paths() {
    let aliases: Vec<String> = (0..8).map(|number| format!("/alias/{number}")).collect();
    for spec in [
        "url: https://h.example.com/mcp".to_owned(),
        "url: https://h.example.com/a/mcp\nexternalIssuer: {issuerUrl: 'https://idp.example.com'}".to_owned(),
        format!("url: https://h.example.com/mcp\npathAliases: {}", json!(aliases)),
        "url: https://192.0.2.1/mcp".to_owned(),
    ] {
        assert_eq!(routed(&spec), routed(&format!("{spec}\n{GATEWAY}")), "{spec}");
    }
}

#[test]
fn endpoints_of_one_host_have_no_path_in_common() {
    for exposure in ["", GATEWAY] {
        let urls = ["https://h.example.com/mcp", "https://h.example.com/a/mcp", "https://h.example.com/b/mcp"];
        let all: Vec<_> = urls.iter().map(|url| routed(&format!("url: {url}\n{exposure}"))).collect();
        for (number, one) in all.iter().enumerate() {
            for other in &all[number + 1..] {
                assert!(one.is_disjoint(other), "{:?}", one.intersection(other).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn cert_manager_gets_the_issuer() {
    let annotations = |tls: &str| {
        let spec = format!("url: https://h.example.com/mcp\nexposure: {{ingress: {{className: haproxy, tls: {tls}}}}}");
        let plan = PlanScenario::new(&spec).plan();
        let ingress = find(&plan, "Ingress", "agents").object.clone();
        let secret = ingress.data["spec"]["tls"][0]["secretName"].as_str().map(str::to_owned);
        (json!(ingress.metadata.annotations), secret)
    };
    for (tls, expected, secret) in [
        ("{secretName: mine}", Value::Null, "mine"),
        ("{issuerRef: {name: a}}", json!({"cert-manager.io/issuer": "a"}), "agents-tls"),
        (
            "{secretName: mine, issuerRef: {name: a, kind: ClusterIssuer}}",
            json!({"cert-manager.io/cluster-issuer": "a"}),
            "mine",
        ),
        (
            "{issuerRef: {name: a, kind: AWSPCAIssuer, group: awspca.cert-manager.io}}",
            json!({
                "cert-manager.io/issuer": "a", "cert-manager.io/issuer-kind": "AWSPCAIssuer",
                "cert-manager.io/issuer-group": "awspca.cert-manager.io",
            }),
            "agents-tls",
        ),
    ] {
        assert_eq!(annotations(tls), (expected, Some(secret.to_owned())), "{tls}");
    }
}

#[test]
fn proxies_learn_that_the_servers_speak_tls() {
    let tls = "url: https://h.example.com/mcp\ntls: {secretName: cert}";
    let class = |name: &str| format!("{tls}\nexposure: {{ingress: {{className: {name}}}}}");
    let own = "nginx.ingress.kubernetes.io/backend-protocol";
    let (read, send) =
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "nginx.ingress.kubernetes.io/proxy-send-timeout");
    let with_proxy_timeout = |protocol: &str, seconds: &str| json!({own: protocol, read: seconds, send: "130"});
    for (spec, annotated, note) in [
        (format!("{tls}\nexposure: {{none: {{}}}}"), json!([null, null]), None),
        (
            class("traefik"),
            json!([null, {
                "traefik.ingress.kubernetes.io/service.serversscheme": "https",
                "traefik.ingress.kubernetes.io/service.serverstransport": "dev-agents-servers@kubernetescrd",
            }]),
            None,
        ),
        (class("nginx"), json!([with_proxy_timeout("HTTPS", "130"), null]), Some("does not check their certificate")),
        (
            class("nginx").replace("}}", &format!(", annotations: {{{own}: GRPCS, {read}: '7'}}}}}}")),
            json!([with_proxy_timeout("GRPCS", "7"), null]),
            Some("does not check their certificate"),
        ),
        (class("haproxy"), json!([null, null]), Some("haproxy.org/ingress-controller/haproxy")),
        (format!("{tls}\n{GATEWAY}"), json!([null, null]), Some("BackendTLSPolicy")),
    ] {
        let plan = PlanScenario::new(&spec).plan();
        let of = |kind: &str| plan.objects.iter().find(|planned| planned.kind() == kind).map(|planned| &planned.object);
        let service = of("Service").unwrap();
        let port = &service.data["spec"]["ports"][0];
        assert_eq!((&port["port"], &port["appProtocol"]), (&json!(443), &json!("https")));
        let annotations =
            [of("Ingress").and_then(|it| it.metadata.annotations.clone()), service.metadata.annotations.clone()];
        assert_eq!(json!(annotations), annotated, "{spec}");
        assert_eq!(plan.backend_note.is_some(), note.is_some(), "{plan:?}");
        assert!(note.is_none_or(|part| plan.backend_note.unwrap().contains(part)), "{spec}");
    }
    let mut scenario = PlanScenario::new(&class("traefik"));
    scenario.cluster.optional.clear();
    let plan = scenario.plan();
    assert!(plan.backend_note.unwrap().contains("ServersTransport kind"));
}

#[test]
fn the_rates_are_shared_by_the_servers_that_there_are_meant_to_be() {
    let servers = |deployment: &str, replicas: Option<i32>| {
        let mut scenario = PlanScenario::new(&format!("url: https://h.example.com/mcp\ndeployment: {deployment}"));
        scenario.replicas = replicas;
        scenario.plan().config.limits.servers
    };
    for (deployment, replicas, expected) in [
        ("{}", None, 2),
        ("{}", Some(7), 2),
        ("{replicas: 3}", Some(1), 3),
        ("{replicas: 0}", Some(0), 1),
        ("{autoscaling: {min: 2, max: 9}}", None, 2),
        ("{autoscaling: {min: 2, max: 9}}", Some(5), 5),
        ("{autoscaling: {min: 2, max: 9}}", Some(0), 1),
    ] {
        assert_eq!(servers(deployment, replicas), expected, "{deployment} {replicas:?}");
    }
}

#[test]
fn another_version_of_the_operator_plans_the_same() {
    // Not a part of an address such as 192.0.2.0.
    let version = Regex::new(&format!(r"(^|[^\d.]){}($|[^\d.])", regex::escape(env!("CARGO_PKG_VERSION")))).unwrap();
    assert!(version.is_match(concat!("registry/portcullis:", env!("CARGO_PKG_VERSION"))));
    let plan = PlanScenario::new(&format!("{ORIGINS}\ndeployment: {{autoscaling: {{min: 2, max: 5}}}}"))
        .with_client("bot", "scopes: [files:read]\ngrants: [client_credentials]")
        .plan();
    for planned in &plan.objects {
        let text = serde_json::to_string(&planned.object).unwrap();
        assert!(!version.is_match(&text), "{} {}: {text}", planned.kind(), planned.name());
    }
}

#[test]
fn a_route_that_is_not_permitted_or_taken_is_not_planned() {
    let gateway = "exposure: {gateway: {parentRefs: [{name: edge}]}}";
    let url = "url: https://mcp.example.com/mcp";
    let taken = RouteProblem::HostTaken { host: "mcp.example.com".to_owned() };
    for (settings, spec, taken, problem) in [
        ("{}", "", None, None),
        ("{}", gateway, None, None),
        ("{}", "", Some(&taken), Some("another namespace")),
        ("{}", gateway, Some(&taken), Some("another namespace")),
        ("{}", "exposure: {none: {}}", Some(&taken), None),
        (r#"{"hosts": ["*.example.org"]}"#, gateway, None, Some("host mcp.example.com is not permitted")),
        (r#"{"hosts": ["*.example.org"], "namespaces": {"dev": {"hosts": ["*.example.com"]}}}"#, "", None, None),
        (r#"{"ingressClasses": ["nginx"]}"#, "", None, Some("IngressClass \"traefik\" is not permitted")),
        (r#"{"ingressClasses": ["nginx"]}"#, "exposure: {ingress: {className: nginx}}", None, None),
        (r#"{"ingressClasses": ["nginx"]}"#, gateway, None, None),
    ] {
        let mut scenario = PlanScenario::new(&format!("{url}\n{spec}"));
        scenario.cluster.exposure = settings.parse().unwrap();
        scenario.taken = taken.cloned();
        let plan = scenario.plan();
        let routes = plan.objects.iter().filter(|planned| matches!(planned.kind(), "Ingress" | "HTTPRoute")).count();
        let exposed = !spec.contains("none");
        assert_eq!(routes, usize::from(exposed && problem.is_none()), "{settings} {spec}");
        let said = plan.route_problem.map(|problem| problem.to_string()).unwrap_or_default();
        assert!(said.contains(problem.unwrap_or_default()) && said.is_empty() == problem.is_none(), "{said}");
    }
}

#[test]
fn annotations_that_are_not_permitted_are_left_out_and_named() {
    let given = "{cert-manager.io/duration: 2160h, nginx.ingress.kubernetes.io/server-snippet: 'return 200;', \
                 nginx.ingress.kubernetes.io/auth-url: 'https://evil.test'}";
    for (kind, exposure) in [
        ("Ingress", format!("{{ingress: {{className: haproxy, annotations: {given}}}}}")),
        ("HTTPRoute", format!("{{gateway: {{parentRefs: [{{name: edge}}], annotations: {given}}}}}")),
    ] {
        let mut scenario = PlanScenario::new(&format!("url: https://mcp.example.com/mcp\nexposure: {exposure}"));
        scenario.cluster.exposure = ExposureRules::default();
        let plan = scenario.plan();
        let annotations = find(&plan, kind, "agents").object.metadata.annotations.clone();
        assert_eq!(json!(annotations), json!({"cert-manager.io/duration": "2160h"}), "{kind}");
        let note = plan.annotations_note.unwrap();
        let names = "nginx.ingress.kubernetes.io/auth-url, nginx.ingress.kubernetes.io/server-snippet; remove them";
        assert!(note.contains(names), "{note}");
    }
}

#[test]
fn limits_must_fit_the_memory_limit() {
    let spec = "url: https://mcp.example.com/mcp";
    let problem = |more: &str| PlanScenario::new(&format!("{spec}\n{more}")).plan().limits_problem;
    assert_eq!(problem(""), None);
    let large = problem("limits: {maxBodySize: 64Mi}").unwrap();
    assert!(large.contains("the memory limit of 128 MiB") && large.contains("maxBodySize"), "{large}");
    let memory = |limit: &str| format!("deployment: {{resources: {{limits: {{memory: {limit}}}}}}}");
    assert_eq!(problem(&format!("limits: {{maxBodySize: 64Mi}}\n{}", memory("512Mi"))), None);
    assert!(problem(&memory("64M")).is_some());
    assert_eq!(problem("deployment: {resources: {}}"), None, "nothing limits it");
}
