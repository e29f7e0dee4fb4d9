//! Manifests that admission takes, and their defaults.

use super::{Kind, login};
use serde_json::{Value, json};

/// A manifest that is right, and what its `spec` holds once the defaults are in.
pub struct Right {
    pub what: &'static str,
    pub kind: Kind,
    pub spec: Value,
    pub stored: Value,
}

pub fn right_manifests() -> Vec<Right> {
    let mut rows = plain_manifests();
    rows.extend(login::right_manifests());
    rows
}

#[rustfmt::skip]
fn plain_manifests() -> Vec<Right> {
    use Kind::{Client, Endpoint};
    let endpoint = |what, spec, stored| Right { what, kind: Endpoint, spec, stored };
    let client = |what, spec, stored| Right { what, kind: Client, spec, stored };
    let url = |what, url: &str| endpoint(what, json!({"url": url}), json!({"url": url}));
    vec![
        endpoint("the plainest endpoint", json!({}), json!({
            "tokens": {"accessLifetime": "15m"},
            "tools": {"allow": ["*"], "deny": []},
            "cors": {"allowedOrigins": [], "maxAge": "2h", "enforcedBy": "Auto"},
            "limits": {"requestTimeout": "2m", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": 20, "maxBodySize": "4Mi"},
            "network": {"allowedCidrs": [], "trustedProxies": [], "networkPolicy": true},
            "exposure": {},
            "deployment": {},
        })),
        endpoint("defaults beside what is set", json!({"limits": {"burst": 50}}), json!({"limits": {"burst": 50, "requestsPerSecond": 10}})),
        endpoint("what is null is left out", json!({"tokens": {"accessLifetime": null}}), json!({"tokens": {"accessLifetime": "15m"}})),
        url("plain http on localhost", "http://localhost:8080/mcp"),
        url("plain http on an IPv4 loopback address", "http://127.0.0.1:8080/mcp"),
        url("plain http on the IPv6 loopback address", "http://[::1]:8080/mcp"),
        url("an international name", "https://xn--mnchen-3ya.example.com:8443/teams/a_b/mcp"),
        endpoint("origins", json!({"cors": {"allowedOrigins": ["https://claude.ai", "https://*.example.com:8443", "http://localhost:3000", "http://[::1]"], "maxAge": "24h"}}), json!({"cors": {"maxAge": "24h", "enforcedBy": "Auto"}})),
        endpoint("networks of both families", json!({"network": {"allowedCidrs": ["160.79.104.0/21", "2607:6bc0::/48"]}}), json!({"network": {"trustedProxies": []}})),
        endpoint("an Ingress", json!({"exposure": {"ingress": {"className": "traefik", "annotations": {"a.example.com/b": "c"}, "tls": {"secretName": "mcp-tls"}}}}), json!({"exposure": {"ingress": {"className": "traefik"}}})),
        endpoint("no Ingress", json!({"exposure": {"none": {}}}), json!({"exposure": {"none": {}}})),
        endpoint("a scaler", json!({"deployment": {"autoscaling": {"min": 2, "max": 5}}}), json!({"deployment": {"autoscaling": {"min": 2, "max": 5, "targetCpu": 70}}})),
        endpoint("a budget by number", json!({"deployment": {"replicas": 3, "disruptionBudget": {"minAvailable": 2}}}), json!({"deployment": {"disruptionBudget": {"minAvailable": 2}}})),
        endpoint("a budget by share, and resources", json!({"deployment": {"disruptionBudget": {"minAvailable": "50%"}, "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "256Mi"}}}}), json!({"deployment": {"disruptionBudget": {"minAvailable": "50%"}}})),
        client("the plainest client", json!({}), json!({"preset": "claude", "redirectUris": []})),
        client("a client of no preset", json!({"preset": null, "redirectUris": ["https://agent.example.com/callback?tenant=a", "http://127.0.0.1/callback", "http://[::1]:8080/", "agent://callback", "com.example.agent:/callback"]}), json!({"preset": "custom"})),
        client("an unattended client", json!({"preset": "custom", "grants": ["client_credentials"]}), json!({"grants": ["client_credentials"]})),
        client("a rotation", json!({"secret": {"rotation": {"interval": "2160h"}}}), json!({"secret": {"rotation": {"interval": "2160h", "overlap": "30m"}}})),
        client("a secret of somebody else's", json!({"existingSecret": {"name": "mine"}}), json!({"existingSecret": {"name": "mine", "key": "client-secret"}})),
        client("a Public client", json!({"preset": "cursor", "type": "Public"}), json!({"type": "Public"})),
        client("a preset with a secret of its own", json!({"preset": "cursor", "type": "Confidential", "secret": {}}), json!({"type": "Confidential"})),
    ]
}
