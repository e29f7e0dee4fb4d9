//! Selects the component that answers CORS (ADR 13), and builds the rules for a component in front of the servers: a
//! Traefik Middleware, ingress-nginx annotations, or the filter of an HTTPRoute. Only one component answers CORS.
//!
//! Without allowed origins, no rules are built.

use crate::{
    ClusterFacts, CorsEnforcer, OptionalKind,
    backend::{Controller, Implementation},
    metadata::{Component, Owner},
};
use kube::core::DynamicObject;
use portcullis_api::{McpEndpointSpec, endpoint::CorsEnforcement};
use portcullis_config::cors::{ALLOWED_HEADERS, ALLOWED_METHODS, EXPOSED_HEADERS};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MIDDLEWARES_ANNOTATION: &str = "traefik.ingress.kubernetes.io/router.middlewares";

/// The component that answers CORS, and the reason if it is an unexpected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cors {
    pub(super) enforcer: CorsEnforcer,
    pub(super) note: Option<String>,
}

impl Cors {
    pub(super) fn decide(spec: &McpEndpointSpec, controller: &Controller<'_>, cluster: &ClusterFacts) -> Self {
        let by = |enforcer| Self { enforcer, note: None };
        let server_since = |why: String| Self {
            enforcer: CorsEnforcer::Server,
            note: Some(format!("the servers answer CORS, since {why}")),
        };
        let enforced_by = spec.cors.enforced_by;
        let origins = &spec.cors.allowed_origins;
        if enforced_by == CorsEnforcement::Server || origins.is_empty() || spec.exposure.none.is_some() {
            return by(CorsEnforcer::Server);
        }
        if spec.exposure.gateway.is_some() {
            return match (enforced_by, origins.iter().find(|origin| origin.contains('['))) {
                // Support for the CORS filter is optional and cannot be detected; some Gateways without it answer 500.
                (CorsEnforcement::Auto | CorsEnforcement::Server, _) => by(CorsEnforcer::Server),
                (CorsEnforcement::Gateway, None) => by(CorsEnforcer::Gateway),
                (CorsEnforcement::Gateway, Some(origin)) => server_since(format!(
                    "the CORS filter of the Gateway API has no IPv6 addresses such as that of {origin}"
                )),
            };
        }
        let Some(class) = controller.class else {
            return server_since("the cluster has no default IngressClass".to_owned());
        };
        match (controller.implementation(), controller.name) {
            (Implementation::Traefik, _) if cluster.optional.contains(&OptionalKind::Middleware) => {
                by(CorsEnforcer::Traefik)
            }
            (Implementation::Traefik, _) => {
                server_since("Traefik's Middleware kind (traefik.io/v1alpha1) is not installed".to_owned())
            }
            (Implementation::IngressNginx, _) => Self {
                enforcer: CorsEnforcer::IngressNginx,
                note: origins.iter().any(|origin| origin.contains('*')).then(|| {
                    "with ingress-nginx a wildcard origin stands for one label only; set enforcedBy: Server for more"
                        .to_owned()
                }),
            },
            (Implementation::Unknown, Some(name)) => {
                server_since(format!("{name}, the controller of IngressClass {class:?}, is not known to"))
            }
            (Implementation::Unknown, None) => server_since(format!("there is no IngressClass {class:?}")),
        }
    }

    /// The annotations of the Ingress: those of the manifest, and those that CORS requires.
    pub(super) fn annotate(&self, owner: &Owner<'_>, given: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut annotations = given;
        match self.enforcer {
            CorsEnforcer::Server | CorsEnforcer::Gateway => {}
            CorsEnforcer::Traefik => {
                let middleware = format!("{}-{}@kubernetescrd", owner.namespace(), middleware_name(owner));
                annotations
                    .entry(MIDDLEWARES_ANNOTATION.to_owned())
                    .and_modify(|given| *given = format!("{given},{middleware}"))
                    .or_insert(middleware);
            }
            // All of them, since the defaults of omitted ones differ from ours (20 days).
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

    /// The HTTPRoute's filter, if the Gateway answers CORS. A wildcard in an origin matches one or more labels, as
    /// here.
    pub(super) fn filter(&self, owner: &Owner<'_>) -> Option<Value> {
        (self.enforcer == CorsEnforcer::Gateway).then(|| {
            json!({
                "allowOrigins": owner.endpoint().spec.cors.allowed_origins,
                "allowMethods": ALLOWED_METHODS,
                "allowHeaders": ALLOWED_HEADERS,
                "exposeHeaders": EXPOSED_HEADERS,
                // The filter does not accept 0.
                "maxAge": max_age(owner).max(1),
            })
        })
    }

    /// Traefik's Middleware, if Traefik answers CORS.
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
            types: Some(OptionalKind::Middleware.types()),
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

/// An origin with a wildcard as a regular expression. It is anchored: Traefik would otherwise match a part of the text.
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
