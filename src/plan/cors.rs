//! Who speaks CORS (decision 13 of docs/architecture.md), and the rules for an ingress controller that does: a Traefik
//! Middleware, or ingress-nginx's annotations. Never both the controller and the server.
//!
//! With no allowed origin nobody has anything to say, so the controller gets no rules.

use super::{
    ClusterFacts, CorsEnforcer,
    metadata::{Component, Owner},
};
use crate::{
    api::{McpEndpointSpec, endpoint::CorsEnforcement},
    config::cors::{ALLOWED_HEADERS, ALLOWED_METHODS, EXPOSED_HEADERS},
};
use kube::core::{DynamicObject, TypeMeta};
use serde_json::json;
use std::collections::BTreeMap;

const TRAEFIK_CONTROLLER: &str = "traefik.io/ingress-controller";
const NGINX_CONTROLLER: &str = "k8s.io/ingress-nginx";
const MIDDLEWARES_ANNOTATION: &str = "traefik.ingress.kubernetes.io/router.middlewares";

/// Who speaks CORS, and why it is not who one might expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cors {
    pub(super) enforcer: CorsEnforcer,
    pub(super) note: Option<String>,
}

/// The IngressClass in force: the manifest's own, or the cluster's default.
pub(super) fn ingress_class<'a>(spec: &'a McpEndpointSpec, cluster: &'a ClusterFacts) -> Option<&'a str> {
    let given = spec.exposure.ingress.as_ref().and_then(|ingress| ingress.class_name.as_deref());
    given.or(cluster.default_ingress_class.as_deref())
}

impl Cors {
    pub(super) fn decide(spec: &McpEndpointSpec, cluster: &ClusterFacts) -> Self {
        let by = |enforcer| Self { enforcer, note: None };
        let server_since = |note| Self { enforcer: CorsEnforcer::Server, note: Some(note) };
        if spec.cors.enforced_by == CorsEnforcement::Server
            || spec.cors.allowed_origins.is_empty()
            || spec.exposure.none.is_some()
        {
            return by(CorsEnforcer::Server);
        }
        let Some(class) = ingress_class(spec, cluster) else {
            return server_since("the servers answer CORS, since the cluster has no default IngressClass".to_owned());
        };
        match cluster.ingress_classes.get(class).map(String::as_str) {
            Some(TRAEFIK_CONTROLLER) if cluster.traefik_middlewares => by(CorsEnforcer::Traefik),
            Some(TRAEFIK_CONTROLLER) => server_since(
                "the servers answer CORS, since Traefik's Middleware kind (traefik.io/v1alpha1) is not installed"
                    .to_owned(),
            ),
            Some(NGINX_CONTROLLER) => Self {
                enforcer: CorsEnforcer::IngressNginx,
                note: spec.cors.allowed_origins.iter().any(|origin| origin.contains('*')).then(|| {
                    "with ingress-nginx a wildcard origin stands for one label only; set enforcedBy: Server for more"
                        .to_owned()
                }),
            },
            Some(controller) => server_since(format!(
                "the servers answer CORS, since {controller}, the controller of IngressClass {class:?}, is not known to"
            )),
            None => server_since(format!("the servers answer CORS, since there is no IngressClass {class:?}")),
        }
    }

    /// The annotations that the Ingress needs, beside the user's own.
    pub(super) fn annotate(&self, owner: &Owner<'_>, given: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut annotations = given;
        match self.enforcer {
            CorsEnforcer::Server => {}
            CorsEnforcer::Traefik => {
                let middleware = format!("{}-{}@kubernetescrd", owner.namespace(), middleware_name(owner));
                annotations
                    .entry(MIDDLEWARES_ANNOTATION.to_owned())
                    .and_modify(|given| *given = format!("{given},{middleware}"))
                    .or_insert(middleware);
            }
            // Every one: the defaults of those left out are other than ours (20 days).
            CorsEnforcer::IngressNginx => annotations.extend(
                [
                    ("enable-cors", "true".to_owned()),
                    ("cors-allow-origin", owner.endpoint().spec.cors.allowed_origins.join(", ")),
                    ("cors-allow-methods", ALLOWED_METHODS.join(", ")),
                    ("cors-allow-headers", ALLOWED_HEADERS.join(", ")),
                    ("cors-expose-headers", EXPOSED_HEADERS.join(", ")),
                    ("cors-allow-credentials", "false".to_owned()),
                    ("cors-max-age", max_age(owner).to_string()),
                ]
                .map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), value)),
            ),
        }
        annotations
    }

    /// Traefik's Middleware, where Traefik speaks CORS.
    pub(super) fn middleware(&self, owner: &Owner<'_>) -> Option<DynamicObject> {
        if self.enforcer != CorsEnforcer::Traefik {
            return None;
        }
        let (patterns, origins): (Vec<&String>, Vec<&String>) =
            owner.endpoint().spec.cors.allowed_origins.iter().partition(|origin| origin.contains('*'));
        let patterns: Vec<String> = patterns.into_iter().map(|origin| origin_regex(origin)).collect();
        let mut headers = json!({
            "accessControlAllowMethods": ALLOWED_METHODS,
            "accessControlAllowHeaders": ALLOWED_HEADERS,
            "accessControlExposeHeaders": EXPOSED_HEADERS,
            "accessControlMaxAge": max_age(owner),
            "addVaryHeader": true,
        });
        if !origins.is_empty() {
            headers["accessControlAllowOriginList"] = json!(origins);
        }
        if !patterns.is_empty() {
            headers["accessControlAllowOriginListRegex"] = json!(patterns);
        }
        Some(DynamicObject {
            types: Some(TypeMeta { api_version: "traefik.io/v1alpha1".to_owned(), kind: "Middleware".to_owned() }),
            metadata: owner.metadata(middleware_name(owner), Component::Server),
            data: json!({"spec": {"headers": headers}}),
        })
    }
}

fn middleware_name(owner: &Owner<'_>) -> String {
    owner.named("cors")
}

fn max_age(owner: &Owner<'_>) -> u64 {
    owner.endpoint().spec.cors.max_age.as_duration().as_secs()
}

/// An origin with a wildcard as a regular expression, which Traefik would otherwise look for anywhere in the text.
fn origin_regex(origin: &str) -> String {
    format!("^{}$", regex::escape(origin).replace(r"\*", "[a-z0-9-]+([.][a-z0-9-]+)*"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn a_wildcard_stands_for_one_or_more_labels_and_nothing_else() {
        let pattern = Regex::new(&origin_regex("https://*.my-site.example.com:8443")).unwrap();
        for origin in ["https://a.my-site.example.com:8443", "https://a-1.b.my-site.example.com:8443"] {
            assert!(pattern.is_match(origin), "{origin}");
        }
        for origin in [
            "https://my-site.example.com:8443",
            "https://.my-site.example.com:8443",
            "https://a..my-site.example.com:8443",
            "https://a.my-site.example.com",
            "https://a.my-site.example.com:8443.evil.example",
            "https://a.my-siteXexample.com:8443",
            "https://evil.example/https://a.my-site.example.com:8443",
            "http://a.my-site.example.com:8443",
            "https://evil.example#.my-site.example.com:8443",
        ] {
            assert!(!pattern.is_match(origin), "{origin}");
        }
    }
}
