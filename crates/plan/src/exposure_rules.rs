//! The allowed Ingress and HTTPRoute settings of endpoints, by namespace: a setting of the operator. Without these
//! rules, authors of `McpEndpoint`s could use all annotations of Ingresses, on every host.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The annotations that are allowed by default. They affect only the endpoint's own route: no hosts, no redirects, no
/// snippets, no references to objects of other namespaces.
const ANNOTATIONS: [&str; 42] = [
    "cert-manager.io/issuer",
    "cert-manager.io/cluster-issuer",
    "cert-manager.io/issuer-kind",
    "cert-manager.io/issuer-group",
    "cert-manager.io/duration",
    "cert-manager.io/renew-before",
    "cert-manager.io/private-key-algorithm",
    "cert-manager.io/private-key-size",
    "cert-manager.io/private-key-rotation-policy",
    "external-dns.alpha.kubernetes.io/ttl",
    "nginx.ingress.kubernetes.io/backend-protocol",
    "nginx.ingress.kubernetes.io/proxy-body-size",
    "nginx.ingress.kubernetes.io/proxy-buffer-size",
    "nginx.ingress.kubernetes.io/proxy-buffering",
    "nginx.ingress.kubernetes.io/proxy-request-buffering",
    "nginx.ingress.kubernetes.io/proxy-http-version",
    "nginx.ingress.kubernetes.io/proxy-connect-timeout",
    "nginx.ingress.kubernetes.io/proxy-read-timeout",
    "nginx.ingress.kubernetes.io/proxy-send-timeout",
    "nginx.ingress.kubernetes.io/proxy-ssl-name",
    "nginx.ingress.kubernetes.io/proxy-ssl-server-name",
    "nginx.ingress.kubernetes.io/proxy-ssl-verify",
    "nginx.ingress.kubernetes.io/proxy-ssl-verify-depth",
    "nginx.ingress.kubernetes.io/ssl-redirect",
    "nginx.ingress.kubernetes.io/force-ssl-redirect",
    "nginx.ingress.kubernetes.io/limit-connections",
    "nginx.ingress.kubernetes.io/limit-rpm",
    "nginx.ingress.kubernetes.io/limit-rps",
    "nginx.ingress.kubernetes.io/limit-burst-multiplier",
    "nginx.ingress.kubernetes.io/whitelist-source-range",
    "nginx.ingress.kubernetes.io/denylist-source-range",
    "traefik.ingress.kubernetes.io/router.entrypoints",
    "traefik.ingress.kubernetes.io/router.tls",
    "haproxy.org/timeout-server",
    "haproxy.org/timeout-tunnel",
    "haproxy.org/ssl-redirect",
    "alb.ingress.kubernetes.io/target-type",
    "alb.ingress.kubernetes.io/backend-protocol",
    "alb.ingress.kubernetes.io/healthcheck-path",
    "alb.ingress.kubernetes.io/healthcheck-port",
    "alb.ingress.kubernetes.io/healthcheck-protocol",
    "alb.ingress.kubernetes.io/success-codes",
];

/// The settings that endpoints may use. Each list of a namespace's own entry replaces the general list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Settings")]
pub struct ExposureRules {
    general: Allowed,
    shared_hosts: Vec<String>,
    namespaces: BTreeMap<String, Allowed>,
}

/// The JSON form. serde's `flatten` would accept unknown fields.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Settings {
    annotations: Option<Vec<String>>,
    ingress_classes: Option<Vec<String>>,
    hosts: Option<Vec<String>>,
    /// Hosts that endpoints of several namespaces may share.
    shared_hosts: Vec<String>,
    namespaces: BTreeMap<String, Allowed>,
}

impl From<Settings> for ExposureRules {
    fn from(settings: Settings) -> Self {
        let Settings { annotations, ingress_classes, hosts, shared_hosts, namespaces } = settings;
        Self { general: Allowed { annotations, ingress_classes, hosts }, shared_hosts, namespaces }
    }
}

/// The settings that the endpoints of a namespace may use. An absent list has the value of the general list, or the
/// default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Allowed {
    /// Names of annotations. A name that ends with `*` is a prefix.
    annotations: Option<Vec<String>>,
    /// IngressClasses; absent: every class.
    ingress_classes: Option<Vec<String>>,
    /// Hosts, or `*.` and a domain; absent: every host.
    hosts: Option<Vec<String>>,
}

/// The settings are not valid JSON of the expected form.
#[derive(Debug, thiserror::Error)]
#[error(
    "not the exposure settings; an example: {{\"hosts\": [\"*.example.com\"], \"namespaces\": {{\"dev\": {{\"annotations\": [\"example.com/*\"]}}}}}}"
)]
pub struct ExposureRulesError(#[from] serde_json::Error);

impl std::str::FromStr for ExposureRules {
    type Err = ExposureRulesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(serde_json::from_str(text)?)
    }
}

impl ExposureRules {
    fn list<'a>(
        &'a self,
        namespace: &str,
        of: impl Fn(&'a Allowed) -> Option<&'a Vec<String>>,
    ) -> Option<&'a [String]> {
        let own = self.namespaces.get(namespace).and_then(&of);
        own.or_else(|| of(&self.general)).map(Vec::as_slice)
    }

    /// Whether an Ingress or HTTPRoute of the namespace may have this annotation.
    #[must_use]
    pub fn permits_annotation(&self, namespace: &str, name: &str) -> bool {
        match self.list(namespace, |allowed| allowed.annotations.as_ref()) {
            Some(list) => list.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == pattern,
            }),
            None => ANNOTATIONS.contains(&name),
        }
    }

    /// Whether an Ingress of the namespace may have this class. `None` is the cluster's default class.
    #[must_use]
    pub fn permits_class(&self, namespace: &str, class: Option<&str>) -> bool {
        let Some(list) = self.list(namespace, |allowed| allowed.ingress_classes.as_ref()) else { return true };
        class.is_some_and(|class| list.iter().any(|listed| listed == class))
    }

    /// Whether an endpoint of the namespace may use this host.
    #[must_use]
    pub fn permits_host(&self, namespace: &str, host: &str) -> bool {
        self.list(namespace, |allowed| allowed.hosts.as_ref())
            .is_none_or(|list| list.iter().any(|pattern| matches_host(pattern, host)))
    }

    /// Whether endpoints of several namespaces may use this host.
    #[must_use]
    pub fn is_shared(&self, host: &str) -> bool {
        self.shared_hosts.iter().any(|pattern| matches_host(pattern, host))
    }
}

/// Whether a host matches a pattern. `*.example.com` matches every name below `example.com`, at any depth.
fn matches_host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => {
            suffix.starts_with('.')
                && host.len() > suffix.len()
                && host.get(host.len() - suffix.len()..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        }
        None => pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_annotations_are_permitted_without_settings() {
        let rules = ExposureRules::default();
        for (name, permitted) in [
            ("cert-manager.io/cluster-issuer", true),
            ("nginx.ingress.kubernetes.io/proxy-read-timeout", true),
            ("traefik.ingress.kubernetes.io/router.entrypoints", true),
            ("nginx.ingress.kubernetes.io/configuration-snippet", false),
            ("nginx.ingress.kubernetes.io/server-snippet", false),
            ("nginx.ingress.kubernetes.io/auth-url", false),
            ("nginx.ingress.kubernetes.io/permanent-redirect", false),
            ("nginx.ingress.kubernetes.io/server-alias", false),
            ("nginx.ingress.kubernetes.io/upstream-vhost", false),
            ("nginx.ingress.kubernetes.io/proxy-ssl-secret", false),
            ("nginx.ingress.kubernetes.io/mirror-target", false),
            ("nginx.org/server-snippets", false),
            ("haproxy.org/backend-config-snippet", false),
            ("traefik.ingress.kubernetes.io/router.middlewares", false),
            ("traefik.ingress.kubernetes.io/router.priority", false),
            ("external-dns.alpha.kubernetes.io/hostname", false),
            ("external-dns.alpha.kubernetes.io/target", false),
            ("cert-manager.io/common-name", false),
            ("alb.ingress.kubernetes.io/group.name", false),
            ("kubernetes.io/ingress.class", false),
            ("example.com/team", false),
        ] {
            assert_eq!(rules.permits_annotation("dev", name), permitted, "{name}");
        }
        assert!(rules.permits_class("dev", None) && rules.permits_host("dev", "any.example.com"));
        assert!(!rules.is_shared("any.example.com"));
    }

    #[test]
    fn settings_count_by_namespace_and_list() {
        let rules: ExposureRules = r#"{
            "hosts": ["*.example.com", "mcp.example.org"], "ingressClasses": ["public"], "sharedHosts": ["one.example.com"],
            "namespaces": {"dev": {"annotations": ["example.com/*", "exact"], "hosts": ["*.dev.example.net"]}}
        }"#
        .parse()
        .unwrap();
        for (namespace, host, permitted) in [
            ("prod", "a.example.com", true),
            ("prod", "a.b.EXAMPLE.com", true),
            ("prod", "example.com", false),
            ("prod", ".example.com", false),
            ("prod", "aexample.com", false),
            ("prod", "mcp.example.org", true),
            ("prod", "192.0.2.1", false),
            ("dev", "a.example.com", false),
            ("dev", "a.dev.example.net", true),
        ] {
            assert_eq!(rules.permits_host(namespace, host), permitted, "{namespace} {host}");
        }
        for (namespace, class, permitted) in [
            ("prod", Some("public"), true),
            ("dev", Some("public"), true),
            ("dev", Some("inner"), false),
            ("dev", None, false),
        ] {
            assert_eq!(rules.permits_class(namespace, class), permitted, "{namespace} {class:?}");
        }
        for (namespace, name, permitted) in [
            ("dev", "example.com/team", true),
            ("dev", "exact", true),
            ("dev", "exactly", false),
            ("dev", "cert-manager.io/issuer", false),
            ("prod", "cert-manager.io/issuer", true),
            ("prod", "example.com/team", false),
        ] {
            assert_eq!(rules.permits_annotation(namespace, name), permitted, "{namespace} {name}");
        }
        assert!(rules.is_shared("one.example.com") && !rules.is_shared("two.example.com"));
        for wrong in ["", "5", r#"{"host": []}"#, r#"{"namespaces": {"dev": {"host": []}}}"#] {
            assert!(wrong.parse::<ExposureRules>().is_err(), "{wrong}");
        }
    }
}
